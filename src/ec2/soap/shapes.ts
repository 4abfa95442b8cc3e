/**
 * How an action looks in SOAP: elements in the order of the schema, each since (and until) which of the versions it is there,
 * and whether it must be. Names are the schema's; what they are called in the table of operations follows from them, or is
 * given with `from`.
 */

export const SOAP_VERSIONS = ['2008-05-05', '2009-08-15', '2010-06-15', '2010-08-31'] as const;
export type SoapVersion = (typeof SOAP_VERSIONS)[number];
/** Short for the versions, oldest first. */
export const [V2008, V2009, V2010_06, V2010_08] = SOAP_VERSIONS;

export type LeafType = 'string' | 'int' | 'integer' | 'long' | 'double' | 'boolean' | 'dateTime';

interface When {
  readonly since?: SoapVersion;
  /** Gone from this version on. */
  readonly until?: SoapVersion;
  /** May be left out, from this version on. */
  readonly optional?: SoapVersion;
  /** Its name in the table of operations, where that is not its own with a capital (a parameter) or its own (a result). */
  readonly from?: string;
}

type Shape =
  | { readonly kind: 'leaf'; readonly type: LeafType; readonly absent?: string }
  | { readonly kind: 'struct'; readonly fields: Elements }
  /** `<xSet><item>…</item></xSet>`; one item at least until that version, or in all. */
  | { readonly kind: 'items'; readonly fields: Elements; readonly some?: SoapVersion | true }
  /** A list of single values, which Query calls by the value's name: `instancesSet/item/instanceId` is `InstanceId.N`. */
  | { readonly kind: 'ids'; readonly leaf: string; readonly some?: SoapVersion | true }
  /** User data: `<userData version="1.0" encoding="base64"><data>`, one value elsewhere. */
  | { readonly kind: 'userData'; readonly optional: SoapVersion }
  /** One of several elements. With `names`, they are empty and the one sent is the value of that parameter. */
  | { readonly kind: 'choice'; readonly of: Elements; readonly names?: string };

export type Element = Shape & When;
export type Elements = Readonly<Record<string, Element>>;

const leaf = (type: LeafType): Element => ({ kind: 'leaf', type });
export const string = leaf('string');
export const int = leaf('int');
export const integer = leaf('integer');
export const boolean = leaf('boolean');
export const dateTime = leaf('dateTime');
/** A port, which the schema wants even where a rule has none. */
export const port: Element = { kind: 'leaf', type: 'int', absent: '-1' };

export const struct = (fields: Elements): Element => ({ kind: 'struct', fields });
export const items = (fields: Elements): Element => ({ kind: 'items', fields });
export const ids = (name: string): Element => ({ kind: 'ids', leaf: name });
export const choice = (of: Elements): Element => ({ kind: 'choice', of });
/** Empty elements, of which the one sent is the parameter's value. */
export const choiceOf = (parameter: string, names: readonly string[], later: Readonly<Record<string, SoapVersion>> = {}): Element => ({
  kind: 'choice',
  of: { ...Object.fromEntries(names.map((n) => [n, struct({})])), ...Object.fromEntries(Object.entries(later).map(([n, version]) => [n, since(version, struct({}))])) },
  names: parameter,
});

/** At least one item; with a version, until that one only. */
export const some = (list: Element, until: SoapVersion | true = true): Element => ({ ...list, some: until } as Element);
export const optional = (element: Element, from: SoapVersion = V2008): Element => ({ ...element, optional: from });
export const since = (version: SoapVersion, element: Element): Element => ({ ...element, since: version });
export const until = (version: SoapVersion, element: Element): Element => ({ ...element, until: version });
export const from = (name: string, element: Element): Element => ({ ...element, from: name });

/** Shapes that many actions have. */
export const filterSet = since(V2010_08, optional(from('Filter', items({ name: string, valueSet: from('Value', ids('value')) }))));
export const tagSet = items({ key: string, value: string });
export const tagsSince2010 = since(V2010_08, optional(tagSet));
export const done: Elements = { return: boolean };

export interface SoapForm {
  readonly since: SoapVersion;
  readonly request: Elements;
  /** After the request's id, which all but the first version have. */
  readonly response: Elements;
}
export type SoapForms = Readonly<Record<string, SoapForm>>;

/** The elements of one version. */
export interface Field {
  readonly name: string;
  readonly optional: boolean;
  readonly from: string | undefined;
  readonly shape: FieldShape;
}
export type FieldShape =
  | { readonly kind: 'leaf'; readonly type: LeafType; readonly absent?: string }
  | { readonly kind: 'struct'; readonly fields: readonly Field[] }
  | { readonly kind: 'items'; readonly fields: readonly Field[]; readonly some: boolean }
  | { readonly kind: 'ids'; readonly leaf: string; readonly some: boolean }
  | { readonly kind: 'userData'; readonly optional: boolean }
  | { readonly kind: 'choice'; readonly fields: readonly Field[]; readonly names?: string };

export function fieldsAt(elements: Elements, version: SoapVersion): Field[] {
  return Object.entries(elements)
    .filter(([, e]) => (e.since ?? V2008) <= version && (e.until === undefined || version < e.until))
    .map(([name, e]) => ({ name, optional: e.optional !== undefined && e.optional <= version || e.kind === 'userData', from: e.from, shape: shapeAt(e, version) }));
}

function shapeAt(e: Element, version: SoapVersion): FieldShape {
  switch (e.kind) {
    case 'leaf': return e;
    case 'struct': return { kind: 'struct', fields: fieldsAt(e.fields, version) };
    case 'items': return { kind: 'items', fields: fieldsAt(e.fields, version), some: e.some === true || (e.some !== undefined && version < e.some) };
    case 'ids': return { kind: 'ids', leaf: e.leaf, some: e.some === true || (e.some !== undefined && version < e.some) };
    case 'userData': return { kind: 'userData', optional: e.optional <= version };
    case 'choice': return { kind: 'choice', fields: fieldsAt(e.of, version), ...(e.names === undefined ? {} : { names: e.names }) };
  }
}
