/** Values of simple types: text to value and back. */
import type { QName } from '../names.ts';
import type { Duration } from './codec.ts';
import type { Primitive, SimpleType } from './model.ts';
import { NoSuchValue, shown, wrong } from './no-such-value.ts';
import { readDateTime, readDuration, writeDateTime, writeDuration } from './time.ts';

/** Reads a prefixed name where the text stands. */
export type ResolveName = (text: string) => QName | undefined;
/** A prefixed name for what is being written. */
export type WriteName = (name: QName) => string;

/** `strict` also checks lengths, ranges of restrictions and patterns, which grid containers never did. */
export function readSimple(type: SimpleType, raw: string, resolve: ResolveName, strict: boolean): unknown {
  if (type.variety === 'union') return readUnion(type, raw, resolve, strict);
  const text = whitespace(type, raw);
  if (type.variety === 'list') {
    const [item] = type.members;
    const items = text === '' ? [] : text.split(' ').map((part) => (item === undefined ? part : readSimple(item, part, resolve, strict)));
    if (strict) checkLength(type, items.length);
    return items;
  }
  const { enumeration } = type.facets;
  if (enumeration !== undefined && type.primitive !== 'QName' && !enumeration.includes(text)) throw new NoSuchValue(`${shown(text)} is not one of ${enumeration.join(', ')}`);
  const value = READERS[type.primitive](text, resolve);
  if (typeof value === 'number' && type.primitive === 'integer') checkBuiltinRange(type, value);
  if (strict) checkFacets(type, text, value);
  return value;
}

/** @throws NoSuchValue when the value is none of the type's */
export function writeSimple(type: SimpleType, value: unknown, name: WriteName): string {
  if (type.variety === 'union') return writeUnion(type, value, name);
  if (type.variety === 'list') {
    if (!Array.isArray(value)) throw new NoSuchValue('a list is an array');
    const [item] = type.members;
    return value.map((v: unknown) => (item === undefined ? String(v) : writeSimple(item, v, name))).join(' ');
  }
  const text = WRITERS[type.primitive](value, name);
  const { enumeration } = type.facets;
  if (enumeration !== undefined && type.primitive !== 'QName' && !enumeration.includes(text)) throw new NoSuchValue(`${shown(text)} is not one of ${enumeration.join(', ')}`);
  if (typeof value === 'number' && type.primitive === 'integer') checkBuiltinRange(type, value);
  return text;
}

function readUnion(type: SimpleType, raw: string, resolve: ResolveName, strict: boolean): unknown {
  for (const member of type.members) {
    try {
      return readSimple(member, raw, resolve, true);
    } catch (e) {
      if (!(e instanceof NoSuchValue)) throw e;
    }
  }
  if (strict || type.members.length === 0) throw new NoSuchValue(`${shown(raw)} is no value of its type`);
  return raw;
}

function writeUnion(type: SimpleType, value: unknown, name: WriteName): string {
  for (const member of type.members) {
    try {
      return writeSimple(member, value, name);
    } catch (e) {
      if (!(e instanceof NoSuchValue)) throw e;
    }
  }
  throw new NoSuchValue('no member of the union has this value');
}

function whitespace(type: SimpleType, text: string): string {
  if (type.variety === 'atomic' && type.primitive === 'string') return text;
  if (type.variety === 'atomic' && type.primitive === 'normalizedString') return text.replace(/[\t\n\r]/g, ' ');
  return /^[ \t\n\r]|[ \t\n\r]$|[\t\n\r]| {2}/.test(text) ? text.replace(/[ \t\n\r]+/g, ' ').replace(/^ | $/g, '') : text;
}

const READERS: Readonly<Record<Primitive, (text: string, resolve: ResolveName) => unknown>> = {
  string: (text) => text,
  normalizedString: (text) => text,
  token: (text) => text,
  boolean: (text) => {
    if (text === 'true' || text === '1') return true;
    if (text === 'false' || text === '0') return false;
    throw wrong(text, 'boolean');
  },
  integer: (text) => {
    const value = /^[+-]?\d{1,20}$/.test(text) ? Number(text) : NaN;
    if (!Number.isSafeInteger(value)) throw wrong(text, 'integer, or too large');
    return value === 0 ? 0 : value;
  },
  decimal: (text) => {
    if (!/^[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})$/.test(text)) throw wrong(text, 'number');
    return Number(text);
  },
  float: (text) => {
    if (/^[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,4})?$/.test(text)) return Number(text);
    if (text === 'INF') return Infinity;
    if (text === '-INF') return -Infinity;
    if (text === 'NaN') return NaN;
    throw wrong(text, 'number');
  },
  dateTime: readDateTime,
  duration: readDuration,
  calendar: (text) => {
    if (!/^[0-9:.+Z-]{2,40}$/.test(text)) throw wrong(text, 'date or time');
    return text;
  },
  QName: (text, resolve) => {
    const name = resolve(text);
    if (name === undefined) throw wrong(text, 'name whose prefix is declared');
    return name;
  },
  base64Binary: (text) => {
    const packed = text.replaceAll(' ', '');
    if (packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(packed)) throw wrong(text, 'base64');
    return Buffer.from(packed, 'base64');
  },
  hexBinary: (text) => {
    if (text.length % 2 !== 0 || !/^[0-9A-Fa-f]*$/.test(text)) throw wrong(text, 'hexadecimal octets');
    return Buffer.from(text, 'hex');
  },
};

const ofType = <T>(kind: 'string' | 'number' | 'boolean', write: (value: T) => string) => (value: unknown): string => {
  if (typeof value !== kind) throw new NoSuchValue(`a ${kind} is expected, not ${value === null ? 'null' : typeof value}`);
  return write(value as T);
};
const octets = (encoding: 'base64' | 'hex') => (value: unknown): string => {
  if (!Buffer.isBuffer(value)) throw new NoSuchValue('octets are expected');
  return value.toString(encoding);
};
const exact = (value: string): string => value;

const WRITERS: Readonly<Record<Primitive, (value: unknown, name: WriteName) => string>> = {
  string: ofType('string', exact),
  normalizedString: ofType('string', exact),
  token: ofType('string', exact),
  boolean: ofType('boolean', String),
  integer: ofType<number>('number', (n) => {
    if (!Number.isSafeInteger(n)) throw new NoSuchValue(`${n} is no integer`);
    return String(n);
  }),
  decimal: ofType<number>('number', (n) => {
    if (!Number.isFinite(n) || /e/.test(String(n))) throw new NoSuchValue(`${n} is no decimal`);
    return String(n);
  }),
  float: ofType<number>('number', writeFloat),
  dateTime: ofType<number>('number', writeDateTime),
  duration: (value) => writeDuration(value as Duration),
  calendar: ofType('string', exact),
  QName: (value, name) => {
    if (typeof value !== 'object' || value === null) throw new NoSuchValue('a qualified name is expected');
    return name(value as QName);
  },
  base64Binary: octets('base64'),
  hexBinary: octets('hex'),
};

/** Whole numbers keep their `.0`, as grid containers write them. */
function writeFloat(n: number): string {
  if (Number.isNaN(n)) return 'NaN';
  if (!Number.isFinite(n)) return n > 0 ? 'INF' : '-INF';
  const text = Object.is(n, -0) ? '-0' : String(n);
  return /^-?\d+$/.test(text) ? `${text}.0` : text.replace('e', 'E').replace('E+', 'E');
}

/** The range of `xsd:short` and the like, which is part of the type and not a restriction of it. */
function checkBuiltinRange(type: SimpleType, value: number): void {
  let builtin = type;
  while (builtin.base !== undefined) builtin = builtin.base;
  const { min, max } = builtin.facets;
  if ((min !== undefined && value < min) || (max !== undefined && value > max)) throw new NoSuchValue(`${value} is outside ${min ?? '…'} to ${max ?? '…'}`);
}

function checkFacets(type: SimpleType, text: string, value: unknown): void {
  const { pattern, min, max, minExclusive, maxExclusive } = type.facets;
  if (pattern !== undefined && !pattern.test(text)) throw new NoSuchValue(`${shown(text)} does not match ${pattern.source}`);
  checkLength(type, Buffer.isBuffer(value) ? value.length : [...text].length);
  if (typeof value !== 'number') return;
  const outside = (min !== undefined && value < min) || (max !== undefined && value > max)
    || (minExclusive !== undefined && value <= minExclusive) || (maxExclusive !== undefined && value >= maxExclusive);
  if (outside) throw new NoSuchValue(`${value} is outside the range of its type`);
}

function checkLength(type: SimpleType, length: number): void {
  const { minLength, maxLength } = type.facets;
  if ((minLength !== undefined && length < minLength) || (maxLength !== undefined && length > maxLength)) throw new NoSuchValue(`${length} is no length of its type`);
}
