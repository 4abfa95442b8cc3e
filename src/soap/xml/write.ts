/** Writes a tree that was read, or a part of one, so that it stands by itself: with every prefix that was in scope. */
import type { Clark } from '../names.ts';
import { escapeAttribute, escapeXml } from './escape.ts';
import type { Scope, XmlElement } from './tree.ts';

/** `without` names attributes of the root that are left out, as those of a header block. */
export function writeXml(element: XmlElement, without: readonly Clark[] = []): string {
  const root = without.length === 0 ? element : { ...element, attributes: element.attributes.filter((a) => !without.includes(a.name)) };
  return write(root, inScope(element.scope));
}

const NONE: ReadonlyMap<string, string> = new Map();

/** Recursion is bounded by the reader's depth. */
function write(element: XmlElement, declared: ReadonlyMap<string, string>): string {
  const tag = element.prefix === '' ? element.local : `${element.prefix}:${element.local}`;
  let text = `<${tag}`;
  for (const [prefix, ns] of declared) text += ` xmlns${prefix === '' ? '' : `:${prefix}`}="${escapeAttribute(ns)}"`;
  for (const a of element.attributes) text += ` ${a.prefix === '' ? a.local : `${a.prefix}:${a.local}`}="${escapeAttribute(a.value)}"`;
  if (element.children.length === 0) return `${text}/>`;
  text += '>';
  for (const child of element.children) text += typeof child === 'string' ? escapeXml(child) : write(child, declarations(child.scope, element.scope));
  return `${text}</${tag}>`;
}

function declarations(scope: Scope, around: Scope): ReadonlyMap<string, string> {
  if (scope === around) return NONE;
  if (scope.parent === around) return scope.own;
  // An element that was put here from elsewhere takes all its prefixes along.
  const found = inScope(scope);
  return found.has('') ? found : found.set('', '');
}

/** The innermost meaning of each prefix. */
function inScope(scope: Scope): Map<string, string> {
  const found = new Map<string, string>();
  for (let s: Scope | undefined = scope; s !== undefined; s = s.parent) {
    for (const [prefix, ns] of s.own) if (!found.has(prefix) && prefix !== 'xml') found.set(prefix, ns);
  }
  return found;
}
