/**
 * A signed message as a document, and its parts where they must stand: `/Envelope/Header/Security/Signature`, `/Envelope/Body`.
 * Nothing is looked for by its name alone; a part that stands elsewhere too is refused (signature wrapping).
 */
import type { Fault } from '../../lease/faults.ts';
import { DSIG, SOAP, WSSE, WSU } from './names.ts';
import { distrusted } from './refusals.ts';
import { parseXml, type Attr, type Element } from './xml.ts';

export interface SignedDocument {
  readonly envelope: Element;
  /** Blocks of the header, but the one of security. */
  readonly headers: readonly Element[];
  readonly security: Element;
  readonly signature: Element;
  readonly timestamp: Element;
  readonly body: Element;
  /** By their `Id`, `ID` or `id`, of whatever namespace; null where several have it. */
  readonly byId: ReadonlyMap<string, Element | null>;
}

const MOST_DEPTH = 100;
/** Each signed part is looked for among all of them. */
const MOST_ELEMENTS = 5_000;
/** Beginnings and ends of elements, with room for comments: counted before strangers' messages are read. */
const MOST_TAGS = 3 * MOST_ELEMENTS;

/**
 * Undefined: there is no signature in it.
 * @throws Fault MessageRefused
 */
export function readSigned(text: string): SignedDocument | undefined {
  if (!text.includes(DSIG)) return undefined;
  const envelope = parse(text);
  const { signatures, byId } = walk(envelope);
  const [signature, ...others] = signatures;
  if (signature === undefined) return undefined;
  if (others.length > 0) throw distrusted('SignatureCount', `A message has one signature; this one has ${signatures.length}.`);
  return { ...partsOf(envelope, signature), byId };
}

function parse(text: string): Element {
  for (let tags = 0, at = text.indexOf('<'); at >= 0; at = text.indexOf('<', at + 1)) if ((tags += 1) > MOST_TAGS) throw tooMany();
  // Document types and instructions have no place in SOAP; entities would be read differently elsewhere.
  if (/<!(?!--|\[CDATA\[)|<\?(?!xml\s)/.test(text)) throw distrusted('Malformed', 'The message holds a document type or a processing instruction.');
  return parseXml(text, (what) => { throw distrusted('Malformed', `The message is no XML that can be read: ${what.split('\n')[0]?.slice(0, 200) ?? ''}.`); });
}

const tooMany = (): Fault => distrusted('TooLarge', `A signed message has at most ${MOST_ELEMENTS} elements.`);

/** Step by step, not in depth: what follows goes in depth. */
function walk(root: Element): { signatures: Element[]; byId: Map<string, Element | null> } {
  const signatures: Element[] = [];
  const byId = new Map<string, Element | null>();
  let nodes = 0;
  for (let level = [root], depth = 1; level.length > 0; depth += 1) {
    if (depth > MOST_DEPTH) throw distrusted('Malformed', `The message is nested more than ${MOST_DEPTH} deep.`);
    nodes += level.length;
    if (nodes > MOST_ELEMENTS) throw tooMany();
    for (const element of level) {
      if (element.namespaceURI === DSIG && element.localName === 'Signature') signatures.push(element);
      for (const id of idsOf(element)) byId.set(id, byId.has(id) ? null : element);
    }
    level = level.flatMap(elementsOf);
  }
  return { signatures, byId };
}

export const idsOf = (element: Element): string[] => idAttributesOf(element).map((a) => a.value);
export const idNamesOf = (element: Element): string[] => idAttributesOf(element).map((a) => a.localName);

function idAttributesOf(element: Element): Attr[] {
  const found: Attr[] = [];
  for (let i = 0; i < element.attributes.length; i += 1) {
    const attribute = element.attributes[i] as Attr;
    if (attribute.localName === 'Id' || attribute.localName === 'ID' || attribute.localName === 'id') found.push(attribute);
  }
  return found;
}

export function elementsOf(parent: Element): Element[] {
  const found: Element[] = [];
  for (let node = parent.firstChild; node !== null; node = node.nextSibling) if (node.nodeType === 1) found.push(node as Element);
  return found;
}

export const isNamed = (element: Element | undefined, namespace: string, local: string): element is Element =>
  element !== undefined && element.namespaceURI === namespace && element.localName === local;

function partsOf(envelope: Element, signature: Element): Omit<SignedDocument, 'byId'> {
  const soap = envelope.namespaceURI ?? '';
  const [header, body, more] = elementsOf(envelope);
  const whole = (SOAP as readonly string[]).includes(soap) && envelope.localName === 'Envelope' && isNamed(header, soap, 'Header') && isNamed(body, soap, 'Body') && more === undefined;
  if (!whole) throw distrusted('Envelope', 'A signed message is an envelope with one header and one body.');
  const blocks = elementsOf(header);
  const [security, second] = blocks.filter((b) => isNamed(b, WSSE, 'Security'));
  if (security === undefined || second !== undefined) throw distrusted('SignaturePlace', 'A signed message has one block of security in its header.');
  const inSecurity = elementsOf(security);
  if (!inSecurity.includes(signature)) throw distrusted('SignaturePlace', 'The signature is not where signatures of messages are, in the header’s block of security.');
  const [timestamp, another] = inSecurity.filter((e) => isNamed(e, WSU, 'Timestamp'));
  if (timestamp === undefined || another !== undefined) throw distrusted('TimestampUnsigned', 'A signed message has one timestamp, beside its signature.');
  return { envelope, headers: blocks.filter((b) => b !== security), security, signature, timestamp, body };
}
