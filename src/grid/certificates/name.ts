/**
 * Names of certificates, in the slash form that grid software compares (`/O=Grid/CN=Alice`), and in the form in which names
 * are equal (RFC 5280, 7.1: neither case, nor spaces, nor the kind of string count).
 */
import { children, DerError, expectTag, readOid, TAG, type Der } from '../der.ts';

export interface Attribute {
  readonly type: string;
  readonly value: string;
}
export interface Name {
  readonly der: Buffer;
  /** As OpenSSL prints names on one line. */
  readonly slash: string;
  /** Each relative name in canonical DER (the input of OpenSSL's hash); names are equal when these are. */
  readonly parts: readonly Buffer[];
  readonly key: string;
  /** Attributes of the last relative name. */
  readonly last: readonly Attribute[];
  /** Another name has the same slash form. */
  readonly ambiguous: boolean;
}

/** Short names of OpenSSL; others are written as their numbers. */
const SHORT: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN', '2.5.4.4': 'SN', '2.5.4.5': 'serialNumber', '2.5.4.6': 'C', '2.5.4.7': 'L', '2.5.4.8': 'ST', '2.5.4.9': 'street', '2.5.4.10': 'O',
  '2.5.4.11': 'OU', '2.5.4.12': 'title', '2.5.4.13': 'description', '2.5.4.41': 'name', '2.5.4.42': 'GN', '2.5.4.43': 'initials',
  '2.5.4.46': 'dnQualifier', '2.5.4.65': 'pseudonym', '0.9.2342.19200300.100.1.1': 'UID', '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress', '1.2.840.113549.1.9.2': 'unstructuredName',
};
/** What other programs call them. */
const ALIASES: Readonly<Record<string, string>> = { E: 'emailAddress', Email: 'emailAddress', EMAIL: 'emailAddress', EMAILADDRESS: 'emailAddress', USERID: 'UID', S: 'ST' };
export const COMMON_NAME = '2.5.4.3';
const MOST_PARTS = 64;

/** @throws DerError */
export function readName(value: Der | undefined): Name {
  const relative = children(expectTag(value, TAG.sequence)).map((set) => children(set, TAG.set).map(readAttribute));
  if (relative.length > MOST_PARTS) throw new DerError('the name has too many parts');
  const parts = relative.map((attributes) => sequence(0x31, attributes.map((a) => a.canonical).sort(Buffer.compare)));
  const all = relative.flat();
  return {
    der: (value as Der).bytes,
    slash: all.map((a) => `/${SHORT[a.type] ?? a.type}=${escaped(a.value)}`).join(''),
    parts,
    key: Buffer.concat(parts).toString('base64'),
    last: relative.at(-1) ?? [],
    ambiguous: all.some((a) => /\/[A-Za-z][A-Za-z0-9]*=|\/\d+(?:\.\d+)+=|\\x[0-9A-Fa-f]{2}/.test(a.value)),
  };
}

/** `child` is `parent` with one relative name more. */
export function extendsByOne(child: Name, parent: Name): boolean {
  return child.parts.length === parent.parts.length + 1 && parent.parts.every((part, i) => part.equals(child.parts[i] as Buffer));
}

/**
 * A slash form as people and files write it, in the form that `readName` gives: attribute names of other programs, characters
 * beyond ASCII. Undefined when it is none.
 */
export function normalSlash(text: string): string | undefined {
  return slashParts(text)?.map(([type, value]) => `/${type}=${escaped(value.replace(/\\x([0-9A-Fa-f]{2})/g, (_m, hex: string) => `\\x${hex.toUpperCase()}`))}`).join('');
}

/** Short names and values, first things first; undefined when the text is no name in slash form. */
export function slashParts(text: string): Array<readonly [type: string, value: string]> | undefined {
  if (text.length > 4096 || !/^\/[A-Za-z0-9.]+=/.test(text)) return undefined;
  return text.split(/\/(?=[A-Za-z][A-Za-z0-9]*=|\d+(?:\.\d+)+=)/).slice(1).map((part) => {
    const eq = part.indexOf('=');
    const type = part.slice(0, eq);
    return [ALIASES[type] ?? type, part.slice(eq + 1)];
  });
}

/** The text of a value in slash form. */
export const plainValue = (value: string): string => value.replace(/(?:\\x[0-9A-Fa-f]{2})+/g, (hex) => Buffer.from(hex.replaceAll('\\x', ''), 'hex').toString('utf8'));

/** Undefined for a short name that is not known. */
export const attributeOid = (short: string): string | undefined => Object.entries(SHORT).find(([, name]) => name === short)?.[0];

interface ReadAttribute extends Attribute {
  readonly canonical: Buffer;
}

function readAttribute(value: Der): ReadAttribute {
  const [type, string, more] = children(value, TAG.sequence);
  if (string === undefined || more !== undefined) throw new DerError('an attribute of a name is a type and a value');
  const text = textOf(string);
  // What is no text is equal when its bytes are.
  const canonical = text === undefined ? string.bytes : sequence(TAG.utf8, [Buffer.from(text.trim().replace(/[ \t\n\v\f\r]+/g, ' ').replace(/[A-Z]/g, (c) => c.toLowerCase()))]);
  return { type: readOid(type), value: text ?? `#${string.bytes.toString('hex')}`, canonical: sequence(TAG.sequence, [(type as Der).bytes, canonical]) };
}

function textOf({ tag, content }: Der): string | undefined {
  if (tag === TAG.utf8) return content.toString('utf8');
  if (tag === TAG.printable || tag === TAG.ia5 || tag === TAG.teletex || tag === TAG.visible) return content.toString('latin1');
  if (tag === TAG.bmp && content.length % 2 === 0) return Buffer.from(content).swap16().toString('utf16le');
  return undefined;
}

const escaped = (text: string): string => (/^[\x20-\x7e]*$/.test(text) ? text
  : [...Buffer.from(text)].map((c) => (c >= 0x20 && c < 0x7f ? String.fromCharCode(c) : `\\x${c.toString(16).toUpperCase().padStart(2, '0')}`)).join(''));

function sequence(tag: number, parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const n = content.length;
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : n < 0x10000 ? [0x82, n >> 8, n & 0xff] : [0x83, n >> 16, (n >> 8) & 0xff, n & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}
