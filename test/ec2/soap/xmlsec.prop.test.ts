/**
 * Our verification and canonical form against xmlsec's, on messages of many shapes: what xmlsec signs is believed here and means what it
 * meant; what other signers sign, xmlsec believes too; and where anything is changed, nothing is believed that xmlsec does not believe.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMessageVerifier } from '../../../src/grid/messages/verify.ts';
import { pem } from '../../../src/grid/trust/pem.ts';
import { isFault } from '../../../src/lease/faults.ts';
import { realClock } from '../../../src/platform/real.ts';
import { readMessage } from '../../../src/soap/message/envelope.ts';
import { readXml } from '../../../src/soap/xml/read.ts';
import { elementsOf, textOf, type XmlElement } from '../../../src/soap/xml/tree.ts';
import { signMessage, WSSE, WSU } from '../../grid/signer.ts';
import { hasPart } from '../../parts.ts';
import { signer } from './sign.ts';

const SOAP = 'http://schemas.xmlsoap.org/soap/envelope/';
const DSIG = 'http://www.w3.org/2000/09/xmldsig#';
const EXCLUSIVE = 'http://www.w3.org/2001/10/xml-exc-c14n#';
const WSS = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-';
const IDS = ['--id-attr:Id', `${SOAP}:Body`, '--id-attr:Id', `${WSU}:Timestamp`];
const RUNS = 60;

const by = signer();
const verifier = createMessageVerifier(realClock, { believe: () => true, skewMs: 300_000, sha1: true });
let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'xmlsec-'));
  writeFileSync(join(dir, 'key.pem'), by.key.export({ type: 'pkcs8', format: 'pem' }));
  writeFileSync(join(dir, 'cert.pem'), pem('CERTIFICATE', by.der));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function xmlsec(...args: string[]): boolean {
  return spawnSync('xmlsec1', args, { cwd: dir, encoding: 'utf8' }).status === 0;
}
function signedByXmlsec(template: string): string {
  writeFileSync(join(dir, 'template.xml'), template);
  expect(xmlsec('--sign', '--privkey-pem', 'key.pem', ...IDS, '--output', 'signed.xml', 'template.xml'), template).toBe(true);
  return readFileSync(join(dir, 'signed.xml'), 'utf8');
}
function believedByXmlsec(message: string): boolean {
  writeFileSync(join(dir, 'message.xml'), message);
  return xmlsec('--verify', '--pubkey-cert-pem', 'cert.pem', ...IDS, 'message.xml');
}
/** The body as it may be acted upon, or undefined. */
function believedHere(message: string): XmlElement | undefined {
  try {
    readXml(message);
    const found = verifier.verify(Buffer.from(message));
    return found === undefined ? undefined : readMessage(readXml(found.message)).body;
  } catch (e) {
    if (isFault(e)) return undefined;
    throw e;
  }
}

/** Names, attributes and text of everything, prefixes aside. */
function meaning(e: XmlElement): unknown {
  return [e.name, e.attributes.map((a) => [a.name, a.value]).sort(), textOf(e), elementsOf(e).map(meaning)];
}
const bodyOf = (message: string): unknown => meaning(readMessage(readXml(message)).body);

const blank = fc.constantFrom('', ' ', '\n', '\t\n  ');
const text = fc.string({ unit: fc.constantFrom('a', 'Z', '0', ' ', '\n', '\t', '&amp;', '&lt;', '&gt;', '&quot;', '&#13;', '&#x9;', 'é', '\u{1f600}', '\u2028', '\u0085', '<!-- c -->', '<![CDATA[<&]]>', "'"), maxLength: 12 });
const value = fc.string({ unit: fc.constantFrom('a', '0', ' ', '&amp;', '&lt;', '&#13;', '&#10;', '&#9;', '&quot;', 'é', '>', "'"), maxLength: 8 });
const PREFIXES = ['', 'a', 'b', 'soapenv'] as const;
const SPACES = ['urn:one', 'urn:two', SOAP] as const;

/** An element that declares what it uses, and now and then more than that. */
const { element } = fc.letrec<{ element: string }>((tie) => ({
  element: fc.record({
    prefix: fc.constantFrom(...PREFIXES), space: fc.constantFrom(...SPACES), more: fc.option(fc.constantFrom(...PREFIXES.slice(1))),
    attributes: fc.uniqueArray(fc.tuple(fc.constantFrom('x', 'y', 'xml:lang', 'q:x', 'Z'), value), { selector: ([n]) => n, maxLength: 4 }),
    gap: fc.constantFrom(' ', '\n', '  '), inner: fc.array(fc.oneof({ depthSize: 'small' }, text, tie('element')), { maxLength: 3 }),
  }).map(({ prefix, space, more, attributes, gap, inner }) => {
    const name = prefix === '' ? 'e' : `${prefix}:e`;
    const declared = [`xmlns${prefix === '' ? '' : `:${prefix}`}="${space}"`, ...(more === null || more === prefix ? [] : [`xmlns:${more}="urn:unused"`]), ...(attributes.some(([n]) => n.startsWith('q:')) ? ['xmlns:q="urn:q"'] : [])];
    return `<${name}${[...attributes.map(([n, v]) => `${n}="${v}"`), ...declared].map((a) => gap + a).join('')}>${inner.join('')}</${name}>`;
  }),
}));

const message = fc.record({
  element, blanks: fc.array(blank, { minLength: 6, maxLength: 6 }), order: fc.shuffledSubarray(['token', 'timestamp', 'signature'], { minLength: 3, maxLength: 3 }),
  sha1: fc.boolean(), prefixes: fc.option(fc.constantFrom('a', 'soapenv a', 'xsi', '#default b')), dsig: fc.constantFrom('', 'ds', 'dsig'), fraction: fc.constantFrom('', '.5', '.123', '.123456'), wrapped: fc.boolean(), nowhere: fc.constantFrom('', '<x:other xmlns:x="urn:x">h</x:other>'),
}).map((m) => {
  const p = m.dsig === '' ? '' : `${m.dsig}:`;
  const transform = `<${p}Transform Algorithm="${EXCLUSIVE}">${m.prefixes === null ? '' : `<c:InclusiveNamespaces xmlns:c="${EXCLUSIVE}" PrefixList="${m.prefixes}"/>`}</${p}Transform>`;
  const reference = (id: string): string => `<${p}Reference URI="#${id}"><${p}Transforms>${transform}</${p}Transforms><${p}DigestMethod Algorithm="${m.sha1 ? `${DSIG}sha1` : 'http://www.w3.org/2001/04/xmlenc#sha256'}"/><${p}DigestValue/></${p}Reference>`;
  const at = (ms: number): string => `${new Date(Date.now() + ms).toISOString().slice(0, 19)}${m.fraction}Z`;
  const token = by.der.toString('base64');
  const parts: Readonly<Record<string, string>> = {
    token: `<wsse:BinarySecurityToken EncodingType="${WSS}soap-message-security-1.0#Base64Binary" ValueType="${WSS}x509-token-profile-1.0#X509v3" wsu:Id="token">${m.wrapped ? (token.match(/.{1,64}/g) ?? []).join('\n') : token}</wsse:BinarySecurityToken>`,
    timestamp: `<wsu:Timestamp wsu:Id="timestamp"><wsu:Created>${at(0)}</wsu:Created>${m.blanks[0]}<wsu:Expires>${at(300_000)}</wsu:Expires></wsu:Timestamp>`,
    signature: `<${p}Signature xmlns${m.dsig === '' ? '' : `:${m.dsig}`}="${DSIG}"><${p}SignedInfo><${p}CanonicalizationMethod Algorithm="${EXCLUSIVE}">${m.prefixes === null ? '' : `<c:InclusiveNamespaces xmlns:c="${EXCLUSIVE}" PrefixList="${m.prefixes}"/>`}</${p}CanonicalizationMethod>`
      + `<${p}SignatureMethod Algorithm="${m.sha1 ? `${DSIG}rsa-sha1` : 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256'}"/>${reference('body')}${reference('timestamp')}</${p}SignedInfo><${p}SignatureValue/>`
      + `<${p}KeyInfo><wsse:SecurityTokenReference><wsse:Reference URI="#token"/></wsse:SecurityTokenReference></${p}KeyInfo></${p}Signature>`,
  };
  return `<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="${SOAP}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:a="urn:outer">${m.blanks[1]}<soapenv:Header>${m.nowhere}`
    + `<wsse:Security xmlns:wsse="${WSSE}" xmlns:wsu="${WSU}">${m.order.map((name, i) => `${m.blanks[i + 2] ?? ''}${parts[name] ?? ''}`).join('')}</wsse:Security></soapenv:Header>`
    + `<soapenv:Body xmlns:wsu="${WSU}" wsu:Id="body">${m.element}${m.blanks[5]}</soapenv:Body></soapenv:Envelope>`;
});

describe.skipIf(!hasPart('xmlsec1'))('xmlsec1', () => {
  it('signs messages of any shape: they are believed, and mean what they meant', () => {
    fc.assert(fc.property(message, (template) => {
      const signed = signedByXmlsec(template);
      const body = believedHere(signed);
      expect(body, signed).toBeDefined();
      expect(meaning(body!)).toEqual(bodyOf(template));
    }), { numRuns: RUNS });
  });

  it('believes what is signed by others, as it is believed here', () => {
    fc.assert(fc.property(element, fc.constantFrom('sha1' as const, 'sha256' as const), (body, digest) => {
      const signed = signMessage({ key: by.key, chain: [by.der], now: Date.now(), body, digest });
      expect([believedHere(signed) !== undefined, believedByXmlsec(signed)]).toEqual([true, true]);
    }), { numRuns: RUNS });
  });

  it('does not believe less than is believed here, whatever byte is changed', () => {
    let believed = 0;
    fc.assert(fc.property(message, fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), fc.constantFrom('a', '"', ' ', '<', '>', '/', '&', '1', 'é', ':', '='), fc.boolean(), (template, where, by_, instead) => {
      const signed = signedByXmlsec(template);
      const from = signed.indexOf('<soapenv:Header');
      const at = from + Math.floor(where * (signed.length - from));
      const changed = signed.slice(0, at) + by_ + signed.slice(at + (instead ? 1 : 0));
      const body = believedHere(changed);
      if (body === undefined) return;
      believed += 1;
      expect(believedByXmlsec(changed), changed).toBe(true);
      expect(meaning(body)).toEqual(bodyOf(template));
    }), { numRuns: 2 * RUNS });
    // Blanks between attributes, and what stands outside of what is signed.
    expect(believed).toBeGreaterThan(0);
  });
});
