/** Signed messages: those of real clients, and each way in which one is not believed. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { Certificate } from '../../src/grid/certificates/certificate.ts';
import { createChains } from '../../src/grid/certificates/chains.ts';
import type { PathRules, ValidPath } from '../../src/grid/certificates/types.ts';
import { createMessageVerifier, type VerifiedMessage } from '../../src/grid/messages/verify.ts';
import { pemBlocks } from '../../src/grid/trust/pem.ts';
import { isFault } from '../../src/lease/faults.ts';
import type { Clock } from '../../src/platform/context.ts';
import { readMessage } from '../../src/soap/message/envelope.ts';
import { readXml } from '../../src/soap/xml/read.ts';
import { authority, proxy, rfcProxy, rsaKeys, user } from './make.ts';
import { signMessage, WSSE, type SignOptions } from './signer.ts';
import { RULES, trusting } from './trusting.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/grid/', import.meta.url));
const at = (ms: number): Clock => ({ now: () => ms, monotonic: () => ms, after: () => ({ cancel: () => undefined }) });

/** The body of a captured message, taken out of its chunks. */
function captured(file: string): Buffer {
  const raw = readFileSync(join(FIXTURES, file));
  const head = raw.indexOf('\r\n\r\n') + 4;
  if (!/^Transfer-Encoding: chunked/mi.test(raw.subarray(0, head).toString('latin1'))) return raw.subarray(head);
  const parts: Buffer[] = [];
  for (let from = head; ;) {
    const end = raw.indexOf('\r\n', from);
    const size = Number.parseInt(raw.subarray(from, end).toString('latin1'), 16);
    if (size === 0) return Buffer.concat(parts);
    parts.push(raw.subarray(end + 2, end + 2 + size));
    from = end + 2 + size + 2;
  }
}

describe('captured', () => {
  const ca = { der: pemBlocks(readFileSync(join(FIXTURES, 'cacert.pem'), 'latin1'), 'CERTIFICATE')[0] as Buffer, subject: '', keys: rsaKeys(512) };
  const verify = (file: string, o: { now?: string; rules?: Partial<PathRules>; sha1?: boolean } = {}): VerifiedMessage<ValidPath> | undefined => {
    const clock = at(Date.parse(o.now ?? '2026-11-22T15:58:00Z'));
    const chains = createChains(clock, trusting(ca), { ...RULES, sha1: true, use: 'message', ...o.rules });
    return createMessageVerifier(clock, { believe: chains.validate, skewMs: 60_000, sha1: o.sha1 ?? true }).verify(captured(file));
  };

  test.each(['factoryrp', 'rpquery'])('the original client, with a proxy: %s', (name) => {
    const found = verify(`signed-msg-${name}-1-request.http`);
    expect(found?.signer).toMatchObject({ identity: '/O=Grid/OU=NimbusPeer/CN=Test User', proxies: 1, limited: false });
    expect(found?.message).toContain('<QueryExpression Dialect="http://www.w3.org/TR/1999/REC-xpath-19991116">/</QueryExpression>');
    expect([...(found?.message ?? '').matchAll(/<wsa:(MessageID|To|Action|From)/g)].map(([, n]) => n).sort()).toEqual(['Action', 'From', 'MessageID', 'To']);
    expect(found?.message).not.toContain('BinarySecurityToken');
    expect((found?.message ?? '').includes('>825</ns2:WorkspaceKey>')).toBe(name === 'rpquery');
  });

  test('what was signed is a message that doors read, with its addressing and its key', () => {
    const { message = '' } = verify('signed-msg-rpquery-1-request.http') ?? {};
    const read = readMessage(readXml(message));
    expect(read.addressing).toMatchObject({
      messageId: 'uuid:53ec5350-e68d-11f1-a1f4-8508b9864dfc', to: 'https://127.0.0.1:28443/wsrf/services/WorkspaceService',
      action: 'http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceProperties/QueryResourceProperties',
    });
    expect([...read.headers.keys()]).toContain('{http://www.globus.org/2008/06/workspace}WorkspaceKey');
    expect(read.body.local).toBe('QueryResourceProperties');
    expect(read.mandatory).toEqual([]);
  });

  test.each(['factoryrp', 'rpquery'])('the original service’s answer: %s', (name) => {
    expect(verify(`signed-msg-${name}-1-response.http`)?.signer.identity).toBe('/O=Grid/OU=NimbusPeer/CN=host/localhost');
  });

  test('its time is over, or has not come', () => {
    expect(() => verify('signed-msg-rpquery-1-request.http', { now: '2026-11-22T16:10:00Z' })).toThrow(/expired/);
    expect(() => verify('signed-msg-rpquery-1-request.http', { now: '2026-11-22T15:50:00Z' })).toThrow(/future/);
  });

  test('SHA-1 is a switch, for certificates and for messages', () => {
    expect(() => verify('signed-msg-rpquery-1-request.http', { rules: { sha1: false } })).toThrow(/grid.sha1_chains/);
    expect(() => verify('signed-msg-rpquery-1-request.http', { sha1: false })).toThrow(/grid.sha1_messages/);
  });

  test('any altered character of what is signed is found', () => {
    const bytes = captured('signed-msg-rpquery-1-request.http');
    const text = bytes.toString('latin1');
    const clock = at(Date.parse('2026-11-22T15:58:00Z'));
    const chains = createChains(clock, trusting(ca), { ...RULES, sha1: true, use: 'message' });
    const verifier = createMessageVerifier(clock, { believe: chains.validate, skewMs: 60_000, sha1: true });
    for (const [from, to] of [['>825<', '>826<'], ['/WorkspaceService</wsa:To>', '/WorkspaceGroupServic</wsa:To>'], ['15:56:50Z</wsu:Created>', '15:56:51Z</wsu:Created>'], ['QueryExpression Dialect', 'QueryExpression  dialect']] as const) {
      expect(text).toContain(from);
      expect(() => verifier.verify(Buffer.from(text.replaceAll(from, to), 'latin1')), from).toThrow();
    }
  });

  test.each([
    ['zeep-DescribeImages.req', '2026-11-22T14:53:00Z', 'DescribeImages'], ['node-soap-DescribeInstances.req', '2026-11-22T14:57:00Z', 'DescribeInstances'],
  ])('other clients: %s', (file, now, operation) => {
    const believe = (chain: readonly Certificate[]): string => chain.map((c) => c.subject.slash).join(' ');
    const found = createMessageVerifier(at(Date.parse(now)), { believe, skewMs: 60_000, sha1: true }).verify(captured(file));
    expect(found?.signer).toBe('/C=US/O=Test/CN=soapuser');
    expect(found?.message).toContain(`:${operation} `.replace(/^:(?=DescribeInstances)/, '<'));
  });
});

const NOW = Math.floor(Date.now() / 1000) * 1000;
const root = authority('O=Grid,CN=Root');
const alice = user(root, 'O=Grid,CN=Alice', { keys: rsaKeys(2048) });
const ALICE = '/O=Grid/CN=Alice';
const p = proxy(alice, '1', [rfcProxy()], { keys: rsaKeys(2048) });
const sign = (o: Partial<SignOptions> = {}): string => signMessage({ key: alice.keys.privateKey, chain: [alice.der], now: NOW, body: '<m:do xmlns:m="urn:m">this</m:do>', ...o });

function check(text: string, now = NOW, sha1 = true): VerifiedMessage<ValidPath> | undefined {
  const chains = createChains(at(now), trusting(root), { ...RULES, use: 'message' });
  return createMessageVerifier(at(now), { believe: chains.validate, skewMs: 60_000, sha1 }).verify(Buffer.from(text));
}
function verdict(text: string, now = NOW, sha1 = true): string {
  try {
    return check(text, now, sha1)?.signer.identity ?? 'unsigned';
  } catch (e) {
    if (isFault(e)) return e.reasons[0] ?? e.code;
    throw e;
  }
}

describe('made here', () => {
  test('by a user, and by a proxy with its chain', () => {
    expect(verdict(sign())).toBe(ALICE);
    expect(verdict(sign({ key: p.keys.privateKey, chain: [p.der, alice.der] }))).toBe(ALICE);
    expect(verdict(sign({ digest: 'sha1' }))).toBe(ALICE);
  });

  test('without a signature they are nobody’s', () => {
    expect(verdict('<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body/></soapenv:Envelope>')).toBe('unsigned');
    expect(verdict('<a>http://www.w3.org/2000/09/xmldsig#</a>')).toBe('unsigned');
  });

  test('what is not signed is not there', () => {
    const header = (id: string): string => `<h:${id} xmlns:h="urn:h" wsu:Id="${id}">x</h:${id}>`;
    const found = check(sign({ headers: [{ xml: header('signed'), id: 'signed' }, { xml: header('unsigned'), id: 'unsigned' }], parts: ['timestamp', 'body', 'signed'] }));
    expect(found?.message).toContain('<h:signed');
    expect(found?.message).not.toContain('unsigned');
    expect(found?.message).not.toContain('Timestamp');
  });

  test('prefixes that only values use keep their one meaning', () => {
    const { message = '' } = check(sign({ body: '<q xmlns="urn:q" xmlns:v="urn:v" xmlns:w="urn:1">v:name<e xmlns:w="urn:2">w:name</e></q>' })) ?? {};
    expect(message).toMatch(/^<soapenv:Envelope [^>]*xmlns:v="urn:v"/);
    expect(message).not.toContain('xmlns:w=');
    expect(message).toContain('<q xmlns="urn:q">v:name<e>w:name</e></q>');
  });

  test('the same message has the same id, another has another', () => {
    const one = sign();
    expect(check(one)?.id).toEqual(check(one.replace('</ds:SignatureValue>', '\n</ds:SignatureValue>'))?.id);
    expect(check(one)?.id).not.toEqual(check(sign({ body: '<m:do xmlns:m="urn:m">that</m:do>' }))?.id);
    expect(check(one)?.id).not.toEqual(check(sign({ key: p.keys.privateKey, chain: [p.der, alice.der] }))?.id);
  });

  test.each([
    ['a stranger', { chain: [user(authority('O=x'), 'O=Grid,CN=Alice', { keys: alice.keys }).der] }, 'UnknownAuthority'],
    ['a chain without its user', { key: p.keys.privateKey, chain: [p.der] }, 'UnknownAuthority'],
    ['another key', { key: p.keys.privateKey }, 'BadSignature'],
    ['a token of another kind', { valueType: 'X509SubjectKeyIdentifier' }, 'TokenUnreadable'],
    ['a token that is none', { chain: [Buffer.from('0102', 'hex')] }, 'TokenUnreadable'],
    ['a path of nothing', { chain: [], valueType: 'X509PKIPathv1' }, 'TokenUnreadable'],
    ['no signed body', { parts: ['timestamp'] }, 'BodyUnsigned'],
    ['no signed timestamp', { parts: ['body'] }, 'TimestampUnsigned'],
    ['a canonical form with ancestors', { transforms: ['http://www.w3.org/TR/2001/REC-xml-c14n-20010315'] }, 'Algorithm'],
    ['comments in the canonical form', { transforms: ['http://www.w3.org/2001/10/xml-exc-c14n#WithComments'] }, 'Algorithm'],
    ['a SignedInfo in the older form', { canonical: 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315' }, 'Algorithm'],
    ['a timestamp without Created', { timestamp: '' }, 'TimestampMalformed'],
    ['a timestamp with two', { timestamp: `<wsu:Created>${new Date(NOW).toISOString()}</wsu:Created>`.repeat(2) }, 'TimestampMalformed'],
    ['a timestamp without a zone', { timestamp: '<wsu:Created>2026-11-22T10:00:00</wsu:Created>' }, 'TimestampMalformed'],
    ['a timestamp of no time', { timestamp: '<wsu:Created>2026-13-22T10:00:00Z</wsu:Created>' }, 'TimestampMalformed'],
    ['a time that is over', { now: NOW - 400_000 }, 'RequestExpired'],
    ['a time to come', { now: NOW + 70_000 }, 'RequestExpired'],
    ['no Expires, an hour later', { timestamp: `<wsu:Created>${new Date(NOW - 3_700_000).toISOString()}</wsu:Created>` }, 'RequestExpired'],
    ['an Expires of next year', { timestamp: `<wsu:Created>${new Date(NOW - 3_700_000).toISOString()}</wsu:Created><wsu:Expires>${new Date(NOW + 3e10).toISOString()}</wsu:Expires>` }, 'RequestExpired'],
  ] as ReadonlyArray<readonly [string, Partial<SignOptions>, string]>)('%s', (_what, o, reason) => expect(verdict(sign(o))).toBe(reason));

  test('SHA-1 where it is switched off', () => expect(verdict(sign({ digest: 'sha1' }), NOW, false)).toBe('Algorithm'));
});

describe('wrapping', () => {
  const EVIL = '<m:do xmlns:m="urn:m">something else</m:do>';
  const one = sign({ headers: [{ xml: '<h:to xmlns:h="urn:h" wsu:Id="to">x</h:to>', id: 'to' }] });
  const part = (pattern: RegExp): string => pattern.exec(one)?.[0] ?? '';
  const body = part(/<soapenv:Body.*<\/soapenv:Body>/s);
  const timestamp = part(/<wsu:Timestamp.*<\/wsu:Timestamp>/s);
  const signature = part(/<ds:Signature .*<\/ds:Signature>/s);
  const security = part(/<wsse:Security .*<\/wsse:Security>/s);
  const token = part(/<wsse:BinarySecurityToken.*<\/wsse:BinarySecurityToken>/s);
  const put = (what: string, instead: string): string => {
    expect(what).not.toBe('');
    expect(one.split(what)).toHaveLength(2);
    return one.replace(what, () => instead);
  };
  const evil = (id: string): string => `<soapenv:Body${id}>${EVIL}</soapenv:Body>`;
  const inHeader = (what: string): string => one.replace('</soapenv:Header>', () => `${what}</soapenv:Header>`);

  test('the message itself is good', () => expect(verdict(one)).toBe(ALICE));

  test.each([
    ['the signed body in a header block, another in its place', put(body, evil('')).replace('</soapenv:Header>', `<w>${body}</w></soapenv:Header>`), 'BodyUnsigned'],
    ['… with the same identifier', put(body, evil(' wsu:Id="body"')).replace('</soapenv:Header>', `<w>${body}</w></soapenv:Header>`), 'IdNotUnique'],
    ['… with another identifier', put(body, evil(' wsu:Id="other"')).replace('</soapenv:Header>', `<w>${body}</w></soapenv:Header>`), 'BodyUnsigned'],
    ['… with the same identifier, of no namespace', put(body, evil(' Id="body"')).replace('</soapenv:Header>', `<w>${body}</w></soapenv:Header>`), 'IdNotUnique'],
    ['… with the same identifier, written otherwise', put(body, evil(' ID="body"')).replace('</soapenv:Header>', `<w>${body}</w></soapenv:Header>`), 'IdNotUnique'],
    ['… with the same identifier, of a namespace of the attacker', put(body, `<soapenv:Body xmlns:x="urn:x" x:id="body">${EVIL}</soapenv:Body>`).replace('</soapenv:Header>', `<w>${body}</w></soapenv:Header>`), 'IdNotUnique'],
    ['the signed body within the new one', put(body, `<soapenv:Body>${EVIL}${body}</soapenv:Body>`), 'BodyUnsigned'],
    ['two bodies', put(body, `${evil('')}${body}`), 'Envelope'],
    ['two bodies, the signed one first', put(body, `${body}${evil('')}`), 'Envelope'],
    ['the signed body behind the envelope’s, in another element', put(body, `${evil('')}<w>${body}</w>`), 'Envelope'],
    ['the body beside the header in an element', put(body, `<w>${body}</w>`), 'Envelope'],
    ['a body before the header', one.replace('<soapenv:Header>', `${evil('')}<soapenv:Header>`), 'Envelope'],
    ['another envelope around it', `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Header>${one}</soapenv:Header>${evil('')}</soapenv:Envelope>`, 'SignaturePlace'],
    ['an envelope of another namespace', one.replaceAll('http://schemas.xmlsoap.org/soap/envelope/', 'urn:other'), 'Envelope'],
    ['a second header', one.replace('</soapenv:Header>', `</soapenv:Header><soapenv:Header/>`), 'Envelope'],
    ['two signatures', put(signature, `${signature}${signature}`), 'SignatureCount'],
    ['a second signature in the body', one.replace('</soapenv:Body>', `${signature}</soapenv:Body>`), 'SignatureCount'],
    ['the signature in the body', put(signature, '').replace('</soapenv:Body>', `${signature}</soapenv:Body>`), 'SignaturePlace'],
    ['the signature deeper in the header', put(signature, `<w>${signature}</w>`), 'SignaturePlace'],
    ['the signature in the header without a block of security', put(security, signature), 'SignaturePlace'],
    ['two blocks of security', inHeader(`<wsse:Security xmlns:wsse="${WSSE}"/>`), 'SignaturePlace'],
    ['another timestamp, the signed one in a wrapper', put(timestamp, `<wsu:Timestamp><wsu:Created>${new Date(NOW).toISOString()}</wsu:Created></wsu:Timestamp><w>${timestamp}</w>`), 'TimestampUnsigned'],
    ['two timestamps', put(timestamp, `${timestamp}<wsu:Timestamp/>`), 'TimestampUnsigned'],
    ['no timestamp', put(timestamp, ''), 'TimestampUnsigned'],
    ['a second token with the same identifier', put(token, `${token}${token}`), 'IdNotUnique'],
    ['the token elsewhere', inHeader(`<w>${token}</w>`).replace(token, ''), 'TokenMissing'],
    ['no token', put(token, ''), 'TokenMissing'],
    ['a certificate in the signature instead of a token', one.replace(/<wsse:SecurityTokenReference.*<\/wsse:SecurityTokenReference>/s, '<ds:X509Data><ds:X509Certificate>AA</ds:X509Certificate></ds:X509Data>'), 'TokenMissing'],
    ['an object in the signature', one.replace('</ds:Signature>', `<ds:Object>${body}</ds:Object></ds:Signature>`), 'SignatureShape'],
    ['an empty object in the signature', one.replace('</ds:Signature>', '<ds:Object/></ds:Signature>'), 'SignatureShape'],
    ['two SignedInfo', one.replace('<ds:SignedInfo>', '<ds:SignedInfo/><ds:SignedInfo>'), 'SignatureShape'],
    ['a method hidden before the right one', one.replace('<ds:SignedInfo>', '<ds:SignedInfo><ds:SignatureMethod Algorithm="http://www.w3.org/2000/09/xmldsig#hmac-sha1"/>'), 'SignatureShape'],
    ['HMAC with the public key', one.replace('http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', 'http://www.w3.org/2000/09/xmldsig#hmac-sha1'), 'Algorithm'],
    ['a reference to everything', one.replace('URI="#body"', 'URI=""'), 'Reference'],
    ['a reference to another place', one.replace('URI="#body"', 'URI="http://h/body"'), 'Reference'],
    ['a reference by an expression', one.replace('URI="#body"', 'URI="#xpointer(/)"'), 'Reference'],
    ['a reference with a quote', one.replace('URI="#body"', `URI="#body' or '1'='1"`), 'Reference'],
    ['a digest of what is there now, as a comment before the right one', one.replace(/(URI="#body".*?<ds:DigestValue>)/s, `$1<!--${createHash('sha256').update(evil(' wsu:Id="body"')).digest('base64')}-->`).replace('>this<', '>that<'), 'BadSignature'],
    ['a body that has two identifiers', one.replace('<soapenv:Body wsu:Id="body"', '<soapenv:Body wsu:Id="body" Id="x"'), 'IdNotUnique'],
    ['a document type with an entity', `<!DOCTYPE e [<!ENTITY x "y">]>${one}`, 'Malformed'],
    ['a processing instruction', one.replace('<soapenv:Body', '<?x y?><soapenv:Body'), 'Malformed'],
    ['a namespace that is declared nowhere', one.replace('<m:do xmlns:m="urn:m">', '<m:do>'), 'BadSignature'],
    ['what is no XML', one.slice(0, -20), 'Malformed'],
    ['attributes twice', one.replace('<soapenv:Body', '<soapenv:Body a="1" a="2"'), 'Malformed'],
    ['a header block that was signed, altered', one.replace('>x</h:to>', '>y</h:to>'), 'BadSignature'],
    ['a header block that was signed, taken out', one.replace(/<h:to.*<\/h:to>/, ''), 'Reference'],
  ])('%s', (_what, text, reason) => {
    expect(text).not.toBe(one);
    expect(verdict(text)).toBe(reason);
  });

  test('a second block of a name that was signed is not there', () => {
    const { message = '' } = check(one.replace('<h:to', '<h:to xmlns:h="urn:h">evil</h:to><h:to')) ?? {};
    expect(message).toContain('>x</h:to>');
    expect(message).not.toContain('evil');
  });

  test('a comment that cuts a text in two does not', () => {
    expect(check(one.replace('>this<', '>th<!-- -->is<'))?.message).toContain('>this</m:do>');
  });

  test('too many levels, elements or references', () => {
    expect(verdict(one.replace('>this<', `>${'<a>'.repeat(100)}${'</a>'.repeat(100)}<`))).toBe('Malformed');
    expect(verdict(one.replace('>this<', `>${'<a>'.repeat(100_000)}${'</a>'.repeat(100_000)}<`))).toBe('TooLarge');
    expect(verdict(one.replace('>this<', `>${'<a/>'.repeat(5_000)}<`))).toBe('TooLarge');
    const reference = part(/<ds:Reference.*?<\/ds:Reference>/s);
    expect(verdict(one.replace(reference, reference.repeat(100)))).toBe('Reference');
  });
});
