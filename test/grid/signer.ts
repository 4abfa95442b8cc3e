/** Signs SOAP messages as clients do, each part of it as a test wants it. */
import { createRequire } from 'node:module';
import type { KeyObject } from 'node:crypto';
import { seq } from './make.ts';

interface Signer {
  addReference(r: { xpath: string; transforms: readonly string[]; digestAlgorithm: string }): void;
  computeSignature(xml: string, o: object): void;
  getSignedXml(): string;
}
const { SignedXml } = createRequire(import.meta.url)('xml-crypto') as { SignedXml: new (o: object) => Signer };

const WSS = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-';
export const WSSE = `${WSS}wssecurity-secext-1.0.xsd`;
export const WSU = `${WSS}wssecurity-utility-1.0.xsd`;
const PROFILE = `${WSS}x509-token-profile-1.0#`;
const EXCLUSIVE = 'http://www.w3.org/2001/10/xml-exc-c14n#';

export interface SignOptions {
  readonly key: KeyObject;
  /** The leaf first. One is sent as X509v3, several as a path. */
  readonly chain: readonly Buffer[];
  readonly now: number;
  readonly body: string;
  /** Blocks of the header, each with a `wsu:Id` if it is to be signed. */
  readonly headers?: readonly { readonly xml: string; readonly id: string }[];
  readonly digest?: 'sha1' | 'sha256';
  readonly parts?: readonly string[];
  readonly timestamp?: string;
  readonly transforms?: readonly string[];
  readonly canonical?: string;
  readonly valueType?: string;
}

const iso = (ms: number): string => new Date(ms).toISOString();

export function signMessage(o: SignOptions): string {
  const token = (o.chain.length === 1 ? o.chain[0] as Buffer : seq(...[...o.chain].reverse())).toString('base64');
  const valueType = o.valueType ?? (o.chain.length === 1 ? 'X509v3' : 'X509PKIPathv1');
  const timestamp = o.timestamp ?? `<wsu:Created>${iso(o.now)}</wsu:Created><wsu:Expires>${iso(o.now + 300_000)}</wsu:Expires>`;
  const envelope = `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:wsu="${WSU}"><soapenv:Header>`
    + `<wsse:Security xmlns:wsse="${WSSE}" soapenv:mustUnderstand="1"><wsse:BinarySecurityToken EncodingType="${WSS}soap-message-security-1.0#Base64Binary" ValueType="${PROFILE}${valueType}" wsu:Id="token">${token}</wsse:BinarySecurityToken>`
    + `<wsu:Timestamp wsu:Id="timestamp">${timestamp}</wsu:Timestamp></wsse:Security>${(o.headers ?? []).map((h) => h.xml).join('')}</soapenv:Header>`
    + `<soapenv:Body wsu:Id="body">${o.body}</soapenv:Body></soapenv:Envelope>`;
  const sha1 = o.digest === 'sha1';
  const signer = new SignedXml({
    privateKey: o.key, idMode: 'wssecurity', canonicalizationAlgorithm: o.canonical ?? EXCLUSIVE,
    signatureAlgorithm: sha1 ? 'http://www.w3.org/2000/09/xmldsig#rsa-sha1' : 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
    getKeyInfoContent: () => `<wsse:SecurityTokenReference xmlns:wsse="${WSSE}"><wsse:Reference URI="#token" ValueType="${PROFILE}${valueType}"/></wsse:SecurityTokenReference>`,
  });
  for (const id of o.parts ?? ['timestamp', 'body', ...(o.headers ?? []).map((h) => h.id)]) {
    signer.addReference({ xpath: `//*[@*[local-name(.)='Id']='${id}']`, transforms: o.transforms ?? [EXCLUSIVE], digestAlgorithm: sha1 ? 'http://www.w3.org/2000/09/xmldsig#sha1' : 'http://www.w3.org/2001/04/xmlenc#sha256' });
  }
  signer.computeSignature(envelope, { prefix: 'ds', location: { reference: "//*[local-name(.)='Security']", action: 'append' } });
  return signer.getSignedXml();
}
