/** Schemas as data: what the loader makes of XSD, and what the codec works from. */
import { clark, SCHEMA, type Clark } from '../names.ts';

export type Primitive =
  | 'string' | 'normalizedString' | 'token' | 'boolean' | 'integer' | 'decimal' | 'float'
  | 'dateTime' | 'duration' | 'calendar' | 'QName' | 'base64Binary' | 'hexBinary';

export interface Facets {
  readonly enumeration?: readonly string[];
  readonly pattern?: RegExp;
  /** Of a length in characters, octets or items. */
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly min?: number;
  readonly max?: number;
  readonly minExclusive?: number;
  readonly maxExclusive?: number;
}

export interface SimpleType {
  readonly kind: 'simple';
  readonly name: Clark | undefined;
  readonly base: SimpleType | undefined;
  readonly variety: 'atomic' | 'list' | 'union';
  readonly primitive: Primitive;
  /** Types of a list's items (one) or of a union's members. */
  readonly members: readonly SimpleType[];
  /** Of this type and those it derives from. */
  readonly facets: Facets;
}

export interface AttributeDeclaration {
  readonly name: Clark;
  readonly ns: string;
  readonly local: string;
  readonly type: SimpleType;
  readonly required: boolean;
}

export interface ElementDeclaration {
  readonly name: Clark;
  readonly ns: string;
  readonly local: string;
  readonly type: Type;
  readonly nillable: boolean;
}

export interface Wildcard {
  readonly kind: 'any';
  readonly min: number;
  readonly max: number;
  /** `##any`, `##other`, or namespaces by name. */
  readonly namespace: string;
  readonly target: string;
}

export type Particle =
  | { readonly kind: 'element'; readonly min: number; readonly max: number; readonly element: ElementDeclaration }
  | { readonly kind: 'sequence' | 'choice' | 'all'; readonly min: number; readonly max: number; readonly parts: readonly Particle[] }
  | Wildcard;

/** Filled in while it may already be referred to, as types contain themselves. */
export interface ComplexType {
  readonly kind: 'complex';
  readonly name: Clark | undefined;
  base: Type | undefined;
  /** Extends its base: what the base holds comes first. A restriction says all anew. */
  extension: boolean;
  mixed: boolean;
  /** The text's type, for simple content. */
  text: SimpleType | undefined;
  particle: Particle | undefined;
  attributes: readonly AttributeDeclaration[];
  anyAttribute: boolean;
}

export type Type = SimpleType | ComplexType;

export interface Schema {
  readonly elements: ReadonlyMap<Clark, ElementDeclaration>;
  readonly types: ReadonlyMap<Clark, Type>;
  /** A prefix for each namespace, the same in all that is written. */
  readonly prefixes: ReadonlyMap<string, string>;
}

export const UNBOUNDED = Infinity;

export function emptyComplex(name: Clark | undefined): ComplexType {
  return { kind: 'complex', name, base: undefined, extension: false, mixed: false, text: undefined, particle: undefined, attributes: [], anyAttribute: false };
}

/** What the type holds with all that it extends, base first. */
export function wholeParticle(type: ComplexType): Particle | undefined {
  const inherited = type.extension && type.base?.kind === 'complex' ? wholeParticle(type.base) : undefined;
  if (inherited === undefined) return type.particle;
  return type.particle === undefined ? inherited : { kind: 'sequence', min: 1, max: 1, parts: [inherited, type.particle] };
}

export function wholeAttributes(type: ComplexType): readonly AttributeDeclaration[] {
  const inherited = type.base?.kind === 'complex' ? wholeAttributes(type.base) : [];
  return [...inherited.filter((a) => !type.attributes.some((b) => b.name === a.name)), ...type.attributes];
}

export function isMixed(type: ComplexType): boolean {
  return type.mixed || (type.extension && type.base?.kind === 'complex' && isMixed(type.base));
}

/** The type of the text of simple content. */
export function textType(type: ComplexType): SimpleType | undefined {
  if (type.text !== undefined) return type.text;
  if (type.base?.kind === 'simple') return type.base;
  return type.base === undefined ? undefined : textType(type.base);
}

export function derivesFrom(type: Type, base: Type): boolean {
  for (let t: Type | undefined = type; t !== undefined; t = t.base) if (t === base) return true;
  return false;
}

const builtin = (local: string, primitive: Primitive, base: SimpleType | undefined, facets: Facets = {}): [Clark, SimpleType] => [
  clark(SCHEMA, local),
  { kind: 'simple', name: clark(SCHEMA, local), base, variety: 'atomic', primitive, members: [], facets: { ...base?.facets, ...facets } },
];

const integer = (local: string, min?: number, max?: number): [Clark, SimpleType] => builtin(local, 'integer', undefined, {
  ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }),
});

/** `xsd:anyType`: any text, any elements, any attributes. */
export const ANY_TYPE: ComplexType = {
  ...emptyComplex(clark(SCHEMA, 'anyType')), mixed: true, anyAttribute: true,
  particle: { kind: 'sequence', min: 1, max: 1, parts: [{ kind: 'any', min: 0, max: UNBOUNDED, namespace: '##any', target: '' }] },
};

const list = (local: string, item: SimpleType): [Clark, SimpleType] => [
  clark(SCHEMA, local),
  { kind: 'simple', name: clark(SCHEMA, local), base: undefined, variety: 'list', primitive: 'string', members: [item], facets: { minLength: 1 } },
];

const TOKEN = builtin('token', 'token', undefined)[1];

/** Integers beyond what a number holds exactly are outside their type. */
export const BUILTIN: ReadonlyMap<Clark, Type> = new Map<Clark, Type>([
  [clark(SCHEMA, 'anyType'), ANY_TYPE],
  builtin('anySimpleType', 'string', undefined),
  builtin('string', 'string', undefined),
  builtin('normalizedString', 'normalizedString', undefined),
  ...['token', 'language', 'Name', 'NCName', 'NMTOKEN', 'ID', 'IDREF', 'ENTITY', 'anyURI'].map((n) => builtin(n, 'token', undefined)),
  list('NMTOKENS', TOKEN), list('IDREFS', TOKEN),
  builtin('boolean', 'boolean', undefined),
  builtin('decimal', 'decimal', undefined),
  builtin('float', 'float', undefined), builtin('double', 'float', undefined),
  integer('integer'), integer('long'), integer('nonNegativeInteger', 0), integer('positiveInteger', 1), integer('unsignedLong', 0),
  integer('nonPositiveInteger', undefined, 0), integer('negativeInteger', undefined, -1),
  integer('int', -(2 ** 31), 2 ** 31 - 1), integer('short', -32768, 32767), integer('byte', -128, 127),
  integer('unsignedInt', 0, 2 ** 32 - 1), integer('unsignedShort', 0, 65535), integer('unsignedByte', 0, 255),
  builtin('dateTime', 'dateTime', undefined), builtin('duration', 'duration', undefined),
  ...['date', 'time', 'gYear', 'gYearMonth', 'gMonth', 'gMonthDay', 'gDay'].map((n) => builtin(n, 'calendar', undefined)),
  builtin('QName', 'QName', undefined), builtin('NOTATION', 'QName', undefined),
  builtin('base64Binary', 'base64Binary', undefined), builtin('hexBinary', 'hexBinary', undefined),
]);
