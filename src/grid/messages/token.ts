/** Whose key has signed: the token that the signature refers to, beside it (X.509 token profile). One certificate, or a chain. */
import { children, readDer, TAG } from '../der.ts';
import { readCertificate, type Certificate } from '../certificates/certificate.ts';
import { MOST_CERTIFICATES } from '../certificates/path.ts';
import { elementsOf, isNamed, type SignedDocument } from './document.ts';
import { BASE64, DSIG, TOKEN_PROFILE, WSSE } from './names.ts';
import { distrusted } from './refusals.ts';
import type { Element } from './xml.ts';

export interface Token {
  readonly kind: 'certificate' | 'path';
  /** Base64, without white space. */
  readonly text: string;
}

const KINDS: Readonly<Record<string, Token['kind']>> = { [`${TOKEN_PROFILE}X509v3`]: 'certificate', [`${TOKEN_PROFILE}X509`]: 'certificate', [`${TOKEN_PROFILE}X509PKIPathv1`]: 'path' };
const MOST_TEXT = 512 * 1024;

/** @throws Fault MessageRefused */
export function findToken({ signature, security, byId }: SignedDocument): Token {
  const [reference, more] = below(below([signature], DSIG, 'KeyInfo'), WSSE, 'SecurityTokenReference').flatMap(elementsOf);
  const uri = isNamed(reference, WSSE, 'Reference') && more === undefined ? reference.getAttribute('URI') ?? '' : '';
  if (!uri.startsWith('#') || uri.length < 2) throw distrusted('TokenMissing', 'The signature does not refer to a token in the message.');
  const token = byId.get(uri.slice(1));
  if (token === null) throw distrusted('IdNotUnique', 'Several parts of the message have the identifier of its token.');
  if (!isNamed(token, WSSE, 'BinarySecurityToken') || token.parentNode !== security) throw distrusted('TokenMissing', 'The signature’s token is not beside it in the header’s block of security.');
  const kind = KINDS[token.getAttribute('ValueType') ?? ''];
  const encoding = token.getAttribute('EncodingType') ?? '';
  if (kind === undefined || (encoding !== '' && encoding !== BASE64)) throw distrusted('TokenUnreadable', 'The signature’s token is of a kind that is not known here.');
  const text = (token.textContent ?? '').replace(/\s+/g, '');
  if (text.length > MOST_TEXT || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw distrusted('TokenUnreadable', 'The signature’s token is no base64, or too long.');
  return { kind, text };
}

/** The leaf first. @throws Fault MessageRefused */
export function certificatesOf({ kind, text }: Token): Certificate[] {
  try {
    const der = Buffer.from(text, 'base64');
    if (kind === 'certificate') return [readCertificate(der)];
    // From the authority's side to the leaf (ITU-T X.509, PkiPath).
    const path = children(readDer(der, TAG.sequence));
    if (path.length === 0 || path.length > MOST_CERTIFICATES) throw new Error(`a chain has 1 to ${MOST_CERTIFICATES} certificates`);
    return path.map((c) => readCertificate(c.bytes)).reverse();
  } catch (e) {
    throw distrusted('TokenUnreadable', `The signature’s token cannot be read: ${e instanceof Error ? e.message : String(e)}.`);
  }
}

const below = (parents: readonly Element[], namespace: string, local: string): Element[] => parents.flatMap((p) => elementsOf(p).filter((e) => isNamed(e, namespace, local)));
