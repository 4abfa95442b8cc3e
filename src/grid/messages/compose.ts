/**
 * The message that may be acted upon: an envelope of the signed parts, and of nothing else. Prefixes that only values use
 * (`ns:currentState` as text) are not part of the exclusive form, so they are not signed; they are declared here again, each where
 * the message gives it one meaning. What an element or an attribute is called is signed.
 */
import { elementsOf, type SignedDocument } from './document.ts';
import { XMLNS } from './names.ts';
import type { SignedParts } from './signature.ts';
import type { Attr, Element } from './xml.ts';

export function composeSigned(document: SignedDocument, { headers, body }: SignedParts): string {
  const { prefix, namespaceURI } = document.envelope;
  const own = prefix ?? '';
  const name = (local: string): string => (own === '' ? `s:${local}` : `${own}:${local}`);
  const declared = new Map([...prefixesOf(document.envelope)].filter(([p]) => p !== '' && p !== own && !(own === '' && p === 's')));
  const declarations = [[own === '' ? 's' : own, namespaceURI ?? ''] as const, ...declared].map(([p, uri]) => ` xmlns:${p}="${escaped(uri)}"`).join('');
  return `<${name('Envelope')}${declarations}><${name('Header')}>${headers.join('')}</${name('Header')}>${body}</${name('Envelope')}>`;
}

/** Prefixes that have one meaning in the whole message. */
function prefixesOf(root: Element): Map<string, string> {
  const found = new Map<string, string>();
  const several = new Set<string>();
  for (let level = [root]; level.length > 0; level = level.flatMap(elementsOf)) {
    for (const element of level) {
      for (let i = 0; i < element.attributes.length; i += 1) {
        const { namespaceURI, localName, prefix, value } = element.attributes[i] as Attr;
        if (namespaceURI !== XMLNS || prefix !== 'xmlns') continue;
        if (found.has(localName) && found.get(localName) !== value) several.add(localName);
        found.set(localName, value);
      }
    }
  }
  for (const prefix of several) found.delete(prefix);
  return found;
}

const escaped = (text: string): string => text.replace(/[&<"\t\n\r]/g, (c) => `&#${c.charCodeAt(0)};`);
