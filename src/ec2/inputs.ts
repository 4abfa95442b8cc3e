/**
 * Shapes of request parameters. An operation lists its parameters with these; reading, checking, documentation and the
 * types that its handler sees follow from the list.
 */
import { Fault } from '../lease/faults.ts';
import type { FaultCode } from '../lease/faults.ts';
import type { ParamNode } from './params.ts';

export interface Input<T> {
  readonly type: 'string' | 'integer' | 'boolean' | 'base64' | 'list' | 'struct';
  readonly required: boolean;
  /** `path` is the name as the client wrote it, for messages. @throws Fault */
  read(node: ParamNode | undefined, path: string): T;
  readonly item?: Input<unknown>;
  readonly fields?: InputFields;
  /** Parts of `fields` that are read over. */
  readonly ignored?: readonly string[];
  /** Whatever it holds, it is refused with this sentence. */
  readonly refusal?: string;
}
export type InputFields = Readonly<Record<string, Input<unknown>>>;
export type InputOf<I> = I extends Input<infer T> ? T : never;
export type InputsOf<F extends InputFields> = { readonly [K in keyof F]: InputOf<F[K]> };

const DEFAULT_MAX_CHARS = 255;
const DEFAULT_MAX_ITEMS = 1000;
const INDEX = /^\d{1,6}$/;
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/;

export interface StringRules {
  readonly max?: number;
  readonly pattern?: RegExp;
  readonly oneOf?: readonly string[];
  /** The case of `oneOf` does not matter, as EC2 reads the names of attributes (Ansible sends `LaunchPermission`); read is the one that is meant. */
  readonly anyCase?: boolean;
  /** An empty value is a value; otherwise it is the same as none (old clients send `Name=` for nothing). */
  readonly empty?: boolean;
  readonly fault?: FaultCode;
  /** What the value must be, for the message. */
  readonly must?: string;
}

export function string(rules: StringRules = {}): Input<string | undefined> {
  const max = rules.max ?? DEFAULT_MAX_CHARS;
  return {
    type: 'string',
    required: false,
    read(node, path) {
      const written = scalar(node, path);
      if (written === undefined || (written === '' && rules.empty !== true)) return undefined;
      const value = rules.anyCase === true ? rules.oneOf?.find((o) => o.toLowerCase() === written.toLowerCase()) ?? written : written;
      const bad = value.length > max ? `must have at most ${max} characters`
        : CONTROL.test(value) ? 'must have no control characters'
        : rules.oneOf !== undefined && !rules.oneOf.includes(value) ? `must be ${rules.oneOf.length === 1 ? '' : 'one of '}${rules.oneOf.join(', ')}`
        : rules.pattern !== undefined && !rules.pattern.test(value) ? rules.must ?? 'has a form that is not allowed'
        : undefined;
      if (bad !== undefined) throw invalid(value, path, bad, rules.fault);
      return value;
    },
  };
}

export function integer(min: number, max: number): Input<number | undefined> {
  return {
    type: 'integer',
    required: false,
    read(node, path) {
      const value = scalar(node, path);
      if (value === undefined || value === '') return undefined;
      const n = /^-?\d{1,12}$/.test(value) ? Number(value) : NaN;
      if (!(n >= min && n <= max)) throw invalid(value, path, `must be a whole number from ${min} to ${max}`);
      return n;
    },
  };
}

export const boolean: Input<boolean | undefined> = {
  type: 'boolean',
  required: false,
  read(node, path) {
    const value = scalar(node, path)?.toLowerCase();
    if (value === undefined || value === '') return undefined;
    if (value === 'true' || value === '1') return true;
    if (value === 'false' || value === '0') return false;
    throw invalid(value, path, 'must be true or false');
  },
};

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Line breaks are allowed: fog and VM::EC2 end their base64 with one, others wrap it. */
export function base64(maxBytes: number, fault: FaultCode): Input<Buffer | undefined> {
  return {
    type: 'base64',
    required: false,
    read(node, path) {
      const value = scalar(node, path);
      if (value === undefined || value === '') return undefined;
      const packed = value.replace(/[\r\n\t]/g, '');
      if (packed.length % 4 !== 0 || !BASE64.test(packed)) throw new Fault(fault, `The value of ${path} is not base64.`);
      const bytes = Buffer.from(packed, 'base64');
      if (bytes.length > maxBytes) throw new Fault(fault, `The value of ${path} has ${bytes.length} bytes; at most ${maxBytes} are allowed.`);
      return bytes;
    },
  };
}

/** The same input, but the request is refused without it. */
export function required<T>(input: Input<T>): Input<Exclude<T, undefined>> {
  return {
    ...input,
    required: true,
    read(node, path) {
      const value = input.read(node, path);
      if (value === undefined || (Array.isArray(value) && value.length === 0)) {
        throw new Fault('ParameterMissing', `The request must contain the parameter ${path}`);
      }
      return value as Exclude<T, undefined>;
    },
  };
}

/**
 * `Name.1`, `Name.2`, …: any index counts, also 0, with gaps or leading zeros (fog begins at 0, ElasticFox sends .01 .11
 * .21), in numeric order; a bare `Name` is an element too (libcloud).
 */
export function list<T>(item: Input<T>, max = DEFAULT_MAX_ITEMS): Input<ReadonlyArray<Exclude<T, undefined>>> {
  return {
    type: 'list',
    required: false,
    item,
    read(node, path) {
      const found: Exclude<T, undefined>[] = [];
      if (node === undefined) return found;
      const add = (n: ParamNode, p: string): void => {
        const value = item.read(n, p);
        if (value !== undefined) found.push(value as Exclude<T, undefined>);
      };
      if (node.value !== undefined) add({ value: node.value, children: undefined }, path);
      const indices = [...node.children?.keys() ?? []];
      const odd = indices.find((i) => !INDEX.test(i));
      if (odd !== undefined) throw unknown(`${path}.${odd}`);
      if (indices.length + found.length > max) throw new Fault('ParameterInvalid', `${path} has ${indices.length + found.length} elements; at most ${max} are allowed.`);
      indices.sort((a, b) => Number(a) - Number(b));
      for (const i of indices) add(node.children?.get(i) as ParamNode, `${path}.${i}`);
      return found;
    },
  };
}

/** Named parts: `Placement.AvailabilityZone`. Parts in `ignored` are read over. */
export function struct<F extends InputFields>(fields: F, ignored: readonly string[] = []): Input<InputsOf<F> | undefined> {
  const skip = new Set(ignored);
  return {
    type: 'struct',
    required: false,
    fields,
    ignored,
    read(node, path) {
      if (node === undefined) return undefined;
      if (node.value !== undefined && node.value !== '') throw unknown(path);
      return readFields(fields, node, skip, `${path}.`);
    },
  };
}

/** A parameter of EC2 for something that cannot be had here: whatever is in it, the request is refused with this sentence. */
export function unsupported(sentence: string): Input<undefined> {
  return {
    type: 'struct',
    required: false,
    refusal: sentence,
    read(node) {
      if (node !== undefined) throw new Fault('Unsupported', sentence);
      return undefined;
    },
  };
}

/** A parameter that may only say what holds anyway: another value is refused with this sentence. */
export function unsupportedWhen(refused: string, sentence: string): Input<undefined> {
  return {
    type: 'string',
    required: false,
    read(node, path) {
      if (scalar(node, path)?.toLowerCase() === refused) throw new Fault('Unsupported', sentence);
      return undefined;
    },
  };
}

/** Reads every field of `fields`; a child that is neither a field nor in `ignored` is UnknownParameter. */
export function readFields<F extends InputFields>(fields: F, node: ParamNode, ignored: ReadonlySet<string>, prefix: string): InputsOf<F> {
  for (const name of node.children?.keys() ?? []) {
    if (!Object.hasOwn(fields, name) && !ignored.has(name)) throw unknown(prefix + name);
  }
  const values: Record<string, unknown> = {};
  for (const [name, input] of Object.entries(fields)) values[name] = input.read(node.children?.get(name), prefix + name);
  return values as InputsOf<F>;
}

function scalar(node: ParamNode | undefined, path: string): string | undefined {
  const child = node?.children?.keys().next().value;
  if (child !== undefined) throw unknown(`${path}.${child}`);
  return node?.value;
}

const MAX_SHOWN = 100;
/** A client's text for a message: never long, never with line breaks or control characters. */
export function shown(text: string): string {
  const clean = text.replace(/[\x00-\x1f\x7f]/g, '?');
  return clean.length > MAX_SHOWN ? `${clean.slice(0, MAX_SHOWN)}…` : clean;
}

function invalid(value: string, path: string, must: string, fault: FaultCode = 'ParameterInvalid'): Fault {
  return new Fault(fault, fault === 'ParameterInvalid'
    ? `Value (${shown(value)}) for parameter ${path} is invalid: it ${must}.`
    : `Invalid id: "${shown(value)}" (${path} ${must})`);
}

const unknown = (path: string): Fault => new Fault('ParameterUnknown', `The parameter ${shown(path)} is not recognized`);
