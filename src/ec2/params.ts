/**
 * Query parameters as a tree: `Filter.1.Name=state` is Filter → 1 → Name = "state". Strict where leniency would let two
 * readers see two requests: malformed percent-encoding, invalid UTF-8, NUL and repeated names are refused.
 */
import { Fault } from '../lease/faults.ts';

export interface ParamNode {
  value: string | undefined;
  children: Map<string, ParamNode> | undefined;
}

/** Name → decoded value, in the order sent. */
export type FlatParams = ReadonlyMap<string, string>;

export const MAX_PARAMETERS = 5000;
const MAX_NAME = 256;
const MAX_DEPTH = 8;
const NAME = /^[A-Za-z0-9_.:-]+$/;
const ASCII = /^[\x01-\x7f]*$/;

/** Reads the parts of one request (URL query, form body) into one set of parameters. */
export function parseParams(...parts: readonly Buffer[]): FlatParams {
  const params = new Map<string, string>();
  let seen = 0;
  for (const part of parts) {
    if (part.length === 0) continue;
    seen += countPairs(part);
    if (seen > MAX_PARAMETERS) {
      throw new Fault('RequestTooLarge', `The request has ${seen} parameters; at most ${MAX_PARAMETERS} are read.`);
    }
    for (const pair of text(part).split('&')) if (pair !== '') addPair(params, pair);
  }
  return params;
}

function addPair(params: Map<string, string>, pair: string): void {
  const eq = pair.indexOf('=');
  const name = decode(eq < 0 ? pair : pair.slice(0, eq));
  if (name.length > MAX_NAME || !NAME.test(name)) throw malformed('A parameter name is empty, too long or has characters that no name has.');
  if (params.has(name)) throw malformed(`The parameter ${name} is given more than once.`);
  params.set(name, eq < 0 ? '' : decode(pair.slice(eq + 1)));
}

export function paramTree(params: FlatParams): ParamNode {
  const root: ParamNode = { value: undefined, children: new Map() };
  for (const [name, value] of params) {
    let node = root;
    let depth = 0;
    for (const part of name.split('.')) {
      if (++depth > MAX_DEPTH) throw malformed(`The parameter name ${name} has more than ${MAX_DEPTH} parts.`);
      node.children ??= new Map();
      let child = node.children.get(part);
      if (child === undefined) node.children.set(part, child = { value: undefined, children: undefined });
      node = child;
    }
    node.value = value;
  }
  return root;
}

function countPairs(part: Buffer): number {
  let n = 1;
  for (let i = part.indexOf(0x26); i >= 0; i = part.indexOf(0x26, i + 1)) n++;
  return n;
}

function text(part: Buffer): string {
  const latin = part.toString('latin1');
  if (ASCII.test(latin)) return latin;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(part);
  } catch {
    throw malformed('The request is not UTF-8.');
  }
}

function decode(encoded: string): string {
  let decoded = encoded.includes('+') ? encoded.replaceAll('+', ' ') : encoded;
  if (decoded.includes('%')) {
    try {
      // decodeURIComponent refuses both malformed escapes and octets that are no UTF-8.
      decoded = decodeURIComponent(decoded);
    } catch {
      throw malformed('The request has malformed percent-encoding or octets that are not UTF-8.');
    }
  }
  if (decoded.includes('\0')) throw malformed('The request has a NUL character.');
  return decoded;
}

const malformed = (message: string): Fault => new Fault('RequestMalformed', message);
