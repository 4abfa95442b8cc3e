/**
 * The signature itself, by `xml-crypto`. What comes back is the text that was signed, of each part: nothing else of the message is
 * acted upon.
 */
import type { KeyObject } from 'node:crypto';
import { elementsOf, idNamesOf, idsOf, isNamed, type SignedDocument } from './document.ts';
import { DSIG, ENVELOPED, EXCLUSIVE } from './names.ts';
import { distrusted } from './refusals.ts';
import { signedXml, type Element, type SignedXml } from './xml.ts';

export interface SignedParts {
  /** Canonical text, as it was signed. */
  readonly body: string;
  readonly timestamp: string;
  readonly headers: readonly string[];
}

const SIGNATURES: Readonly<Record<string, { sha1: boolean }>> = {
  [`${DSIG}rsa-sha1`]: { sha1: true }, 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256': { sha1: false }, 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512': { sha1: false },
};
const DIGESTS: Readonly<Record<string, { sha1: boolean }>> = {
  [`${DSIG}sha1`]: { sha1: true }, 'http://www.w3.org/2001/04/xmlenc#sha256': { sha1: false }, 'http://www.w3.org/2001/04/xmlenc#sha512': { sha1: false },
};
const MOST_REFERENCES = 16;

/** @throws Fault MessageRefused */
export function verifySignature(text: string, document: SignedDocument, key: KeyObject, allow: { readonly sha1: boolean }): SignedParts {
  checkShape(document.signature);
  const signed = signedXml(key);
  attempt(() => signed.loadSignature(document.signature));
  checkAlgorithm(SIGNATURES, String(signed.signatureAlgorithm), allow);
  if (signed.canonicalizationAlgorithm !== EXCLUSIVE) throw distrusted('Algorithm', 'The signature’s canonical form must be the exclusive one.');
  const targets = targetsOf(document, signed, allow);
  for (const [part, reason] of [[document.body, 'BodyUnsigned'], [document.timestamp, 'TimestampUnsigned']] as const) {
    if (!targets.includes(part)) throw distrusted(reason, `The signature does not cover the message’s ${part === document.body ? 'body' : 'timestamp'}.`);
  }
  // It looks through the whole message for each name that an identifier may have; that each is there once is known.
  signed.idAttributes = [...new Set(targets.flatMap(idNamesOf))];
  if (!attempt(() => signed.checkSignature(text))) throw distrusted('BadSignature', 'A part of the message is not as it was signed.');
  const texts = signed.getSignedReferences();
  if (texts.length !== targets.length) throw distrusted('Reference', 'Not every part that the signature names was found.');
  const textOf = (part: Element): string | undefined => texts[targets.indexOf(part)];
  return { body: textOf(document.body) ?? '', timestamp: textOf(document.timestamp) ?? '', headers: document.headers.flatMap((h) => textOf(h) ?? []) };
}

/** Nothing in it but what is read, so that nobody else finds something else there. */
function checkShape(signature: Element): void {
  const parts = elementsOf(signature);
  const known = ['SignedInfo', 'SignatureValue', 'KeyInfo'].every((local, i) => isNamed(parts[i], DSIG, local));
  const info = parts[0] === undefined ? [] : elementsOf(parts[0]);
  const inInfo = ['CanonicalizationMethod', 'SignatureMethod'].every((local, i) => isNamed(info[i], DSIG, local)) && info.slice(2).every((e) => isNamed(e, DSIG, 'Reference'));
  if (!known || parts.length !== 3 || !inInfo) throw distrusted('SignatureShape', 'The signature has other parts than SignedInfo, SignatureValue and KeyInfo, or in another order.');
}

/** The elements that the references name, in their order. */
function targetsOf(document: SignedDocument, signed: SignedXml, allow: { readonly sha1: boolean }): Element[] {
  const references = signed.getReferences();
  if (references.length > MOST_REFERENCES) throw distrusted('Reference', `A signature covers at most ${MOST_REFERENCES} parts.`);
  return references.map(({ uri = '', transforms, digestAlgorithm }) => {
    checkAlgorithm(DIGESTS, digestAlgorithm, allow);
    // The signature stands in no part that counts, so that taking it out of one changes nothing (npm soap asks for that).
    const [first, second, ...more] = transforms;
    if (more.length > 0 || (second === undefined ? first !== EXCLUSIVE : first !== ENVELOPED || second !== EXCLUSIVE)) throw distrusted('Algorithm', 'A signed part must be taken in its exclusive canonical form, and in no other way.');
    const target = uri.startsWith('#') ? document.byId.get(uri.slice(1)) : undefined;
    if (target === undefined) throw distrusted('Reference', 'The signature names a part that is not in the message.');
    if (target === null) throw distrusted('IdNotUnique', 'Several parts of the message have an identifier that the signature names.');
    // The library looks for any of them.
    if (idsOf(target).length !== 1) throw distrusted('IdNotUnique', 'A part of the message has several identifiers.');
    return target;
  });
}

function checkAlgorithm(known: Readonly<Record<string, { sha1: boolean }>>, algorithm: string, allow: { readonly sha1: boolean }): void {
  const found = Object.hasOwn(known, algorithm) ? known[algorithm] : undefined;
  if (found === undefined) throw distrusted('Algorithm', `The signature uses an algorithm that is not accepted (${algorithm.slice(0, 100)}).`);
  if (found.sha1 && !allow.sha1) throw distrusted('Algorithm', 'The signature uses SHA-1, which this service does not accept (grid.sha1_messages).');
}

/** The library says with errors of its own what is wrong with a signature. */
function attempt<T>(work: () => T): T {
  try {
    return work();
  } catch (e) {
    throw distrusted('BadSignature', `The signature is not good: ${e instanceof Error ? e.message.split(':')[0] ?? '' : String(e)}.`);
  }
}
