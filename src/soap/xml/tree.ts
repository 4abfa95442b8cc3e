/** XML as a small tree, with what values need besides names: prefixes in scope, and the prefixes as they were written. */
import { clark, qname, XML, type Clark, type QName } from '../names.ts';

export interface XmlAttribute {
  readonly name: Clark;
  readonly ns: string;
  readonly local: string;
  readonly prefix: string;
  readonly value: string;
}

/** Prefixes in scope; elements that declare none share their parent's. The default namespace has the prefix ''. */
export interface Scope {
  readonly own: ReadonlyMap<string, string>;
  readonly parent: Scope | undefined;
}

export interface XmlElement {
  readonly name: Clark;
  readonly ns: string;
  readonly local: string;
  readonly prefix: string;
  /** Without declarations of namespaces. */
  readonly attributes: readonly XmlAttribute[];
  /** Elements and text; text beside text is joined, comments are gone. */
  readonly children: readonly (XmlElement | string)[];
  readonly scope: Scope;
}

const NO_PREFIXES: Scope = { own: new Map(), parent: undefined };

export function elementsOf(element: XmlElement): XmlElement[] {
  return element.children.filter((c) => typeof c !== 'string');
}

/** The element's own text, without that of elements in it. */
export function textOf(element: XmlElement): string {
  const [first] = element.children;
  if (element.children.length === 1 && typeof first === 'string') return first;
  return element.children.filter((c) => typeof c === 'string').join('');
}

export function attributeOf(element: XmlElement, name: Clark): string | undefined {
  return element.attributes.find((a) => a.name === name)?.value;
}

export function childOf(element: XmlElement, name: Clark): XmlElement | undefined {
  return element.children.find((c): c is XmlElement => typeof c !== 'string' && c.name === name);
}

/** Undefined for a prefix that nobody declared. */
export function namespaceOf(scope: Scope | undefined, prefix: string): string | undefined {
  if (prefix === 'xml') return XML;
  for (let s = scope; s !== undefined; s = s.parent) {
    const ns = s.own.get(prefix);
    if (ns !== undefined) return ns;
  }
  return prefix === '' ? '' : undefined;
}

/** Reads text as a qualified name where it stands; undefined when it is none, or its prefix is not declared there. */
export function resolveQName(scope: Scope, text: string): QName | undefined {
  const m = /^(?:([^\s:{}<>&"']+):)?([^\s:{}<>&"']+)$/.exec(text.trim());
  if (m === null) return undefined;
  const ns = namespaceOf(scope, m[1] ?? '');
  return ns === undefined ? undefined : { ns, local: m[2] ?? '' };
}

export interface Making {
  readonly children?: readonly (XmlElement | string)[];
  /** By name; those with a namespace get the element's own prefix or one of `prefixes`. */
  readonly attributes?: Readonly<Record<Clark, string>>;
  /** Prefixes that the text needs, by prefix. */
  readonly prefixes?: Readonly<Record<string, string>>;
}

/** An element made here, not read: `makeElement({ ns: 'urn:a', local: 'Key' }, { children: ['12'] })`. */
export function makeElement(name: QName, { children = [], attributes = {}, prefixes = {} }: Making = {}): XmlElement {
  const own = new Map(Object.entries(prefixes));
  const prefixOf = (ns: string): string => {
    if (ns === '') return '';
    const known = [...own].find(([, n]) => n === ns)?.[0];
    const prefix = known ?? `r${own.size === 0 ? '' : own.size}`;
    own.set(prefix, ns);
    return prefix;
  };
  const prefix = prefixOf(name.ns);
  return {
    name: clark(name.ns, name.local), ns: name.ns, local: name.local, prefix,
    attributes: Object.entries(attributes).map(([n, value]) => ({ name: n, ...qname(n), prefix: prefixOf(qname(n).ns), value })),
    children: children.filter((c) => c !== ''),
    scope: own.size === 0 ? NO_PREFIXES : { own, parent: undefined },
  };
}
