/** XML as a small tree, with what values need besides names: prefixes in scope, and the prefixes as they were written. */
import { clark, XML, type Clark, type QName } from '../names.ts';

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

/** An element made here, not read: `textElement('{urn:a}Key', '12')`. */
export function makeElement(name: QName, children: readonly (XmlElement | string)[] = [], prefix = 'r'): XmlElement {
  const used = name.ns === '' ? '' : prefix;
  return {
    name: clark(name.ns, name.local), ns: name.ns, local: name.local, prefix: used, attributes: [],
    children: children.filter((c) => c !== ''),
    scope: name.ns === '' ? NO_PREFIXES : { own: new Map([[used, name.ns]]), parent: undefined },
  };
}
