/**
 * DER as certificates and revocation lists have it (X.690, 10): definite lengths in their shortest form, tags of one byte.
 * Values are views of the bytes that were read, so that a list of a million revoked certificates is walked without a copy.
 */
export interface Der {
  /** Identifier octet: class, constructed or not, number. */
  readonly tag: number;
  /** With tag and length. */
  readonly bytes: Buffer;
  readonly content: Buffer;
}

export const TAG = {
  boolean: 0x01, integer: 0x02, bits: 0x03, octets: 0x04, oid: 0x06, utf8: 0x0c, printable: 0x13, teletex: 0x14, ia5: 0x16, utcTime: 0x17, time: 0x18,
  visible: 0x1a, bmp: 0x1e, sequence: 0x30, set: 0x31,
} as const;
/** Context-specific, constructed. */
export const context = (n: number): number => 0xa0 + n;

export class DerError extends Error {
  override readonly name = 'DerError';
}

/** One value, and nothing behind it. @throws DerError */
export function readDer(bytes: Buffer, tag?: number): Der {
  const value = at(bytes, 0);
  if (value.bytes.length !== bytes.length) throw new DerError('there is something behind the value');
  return tag === undefined ? value : expectTag(value, tag);
}

/** @throws DerError */
export function children(value: Der, tag?: number): Der[] {
  return [...each(tag === undefined ? value : expectTag(value, tag))];
}

/** One after the other, for what may be long. @throws DerError */
export function* each(value: Der): Generator<Der> {
  for (let from = 0; from < value.content.length;) {
    const child = at(value.content, from);
    yield child;
    from += child.bytes.length;
  }
}

export function expectTag(value: Der | undefined, tag: number): Der {
  if (value?.tag !== tag) throw new DerError(`tag ${tag.toString(16)} was expected, ${value?.tag.toString(16) ?? 'nothing'} is there`);
  return value;
}

function at(bytes: Buffer, from: number): Der {
  const tag = byte(bytes, from);
  if ((tag & 0x1f) === 0x1f) throw new DerError('the tag is longer than a byte');
  const first = byte(bytes, from + 1);
  const { length, header } = first < 0x80 ? { length: first, header: 2 } : longLength(bytes, from, first & 0x7f);
  const end = from + header + length;
  if (end > bytes.length) throw new DerError('the value is cut off');
  return { tag, bytes: bytes.subarray(from, end), content: bytes.subarray(from + header, end) };
}

function longLength(bytes: Buffer, from: number, octets: number): { length: number; header: number } {
  if (octets === 0 || octets > 4 || from + 2 + octets > bytes.length) throw new DerError('the length is not one of DER');
  const length = bytes.readUIntBE(from + 2, octets);
  if (length < 0x80 || length < 2 ** (8 * (octets - 1))) throw new DerError('the length is not in its shortest form');
  return { length, header: 2 + octets };
}

function byte(bytes: Buffer, at: number): number {
  const value = bytes[at];
  if (value === undefined) throw new DerError('the value is cut off');
  return value;
}

/** @throws DerError */
export function readOid(value: Der | undefined): string {
  const { content } = expectTag(value, TAG.oid);
  const arcs: number[] = [];
  let arc = 0;
  for (const [i, octet] of content.entries()) {
    arc = arc * 128 + (octet & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new DerError('an arc of the object identifier is too large');
    if (octet >= 0x80) {
      if (i === content.length - 1) throw new DerError('the object identifier is cut off');
      continue;
    }
    if (arcs.length > 0) arcs.push(arc);
    else arcs.push(...(arc < 80 ? [Math.floor(arc / 40), arc % 40] : [2, arc - 80]));
    arc = 0;
  }
  if (arcs.length === 0) throw new DerError('the object identifier is empty');
  return arcs.join('.');
}

/** Counts of things; none here has more than 31 bits. @throws DerError */
export function readSmallInteger(value: Der | undefined): number {
  const { content } = expectTag(value, TAG.integer);
  if (content.length === 0 || content.length > 4) throw new DerError('the number is too large');
  return content.readIntBE(0, content.length);
}

/** @throws DerError */
export function readBoolean(value: Der): boolean {
  const { content } = expectTag(value, TAG.boolean);
  if (content.length !== 1) throw new DerError('a boolean has one byte');
  return content[0] !== 0;
}

/** Numbers of the bits that are set, as named bit lists count them. @throws DerError */
export function readBits(value: Der): ReadonlySet<number> {
  const { content } = expectTag(value, TAG.bits);
  const set = new Set<number>();
  for (const [i, octet] of content.subarray(1).entries()) {
    for (let bit = 0; bit < 8; bit += 1) if ((octet & (0x80 >> bit)) !== 0) set.add(i * 8 + bit);
  }
  return set;
}

/** ms since the epoch (RFC 5280, 4.1.2.5: two digits of a year are 1950 to 2049). @throws DerError */
export function readTime(value: Der | undefined): number {
  if (value?.tag !== TAG.utcTime && value?.tag !== TAG.time) throw new DerError('a time was expected');
  const m = /^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?Z$/.exec(value.content.toString('latin1'));
  const [, year = '', ...rest] = m ?? [];
  if (m === null || (year.length === 4) !== (value.tag === TAG.time)) throw new DerError('the time is in no form that certificates have');
  const full = year.length === 4 ? year : `${Number(year) < 50 ? '20' : '19'}${year}`;
  const [month = '', day = '', hour = '', minute = '', second = '00'] = rest;
  const ms = Date.parse(`${full}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(ms)) throw new DerError('there is no such time');
  return ms;
}
