/**
 * What attackers and broken clients send. Each case begins with a good message that would end the victim's lease; each is refused with
 * the right code in bounded time, and nothing is changed.
 */
import { createHmac, createPublicKey, generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { alice, openDoor, type OpenDoor } from '../door.ts';
import { lease } from '../fake-manager.ts';
import { user as userOf, type Keys } from '../../grid/make.ts';
import type { SignOptions } from '../../grid/signer.ts';
import { fingerprintOf, register, sendSoap, signer, soapMessage, soapRoot, type Signer, type SoapReply } from './sign.ts';

const VICTIM = lease(1, alice);
const OTHER = lease(2, alice);
const V = '2010-08-31';
const by = signer();
let door: OpenDoor;

beforeAll(async () => {
  door = await openDoor({ now: Date.now() });
  register(door, by, alice);
});
afterAll(() => door.close());
beforeEach(() => {
  door.manager.mutations.length = 0;
  for (const l of [VICTIM, OTHER]) door.manager.leasesById.set(l.id, l);
  door.now += 1000;
});

const ends = (id: string): string => `<instancesSet><item><instanceId>${id}</instanceId></item></instancesSet>`;
const terminate = (o: Partial<SignOptions> = {}, as: Signer = by, id = OTHER.id): string => soapMessage(door, as, V, 'TerminateInstances', ends(id), o);
/** What the attacker wants, in place of what was signed. */
const EVIL = `<TerminateInstances xmlns="http://ec2.amazonaws.com/doc/${V}/">${ends(VICTIM.id)}</TerminateInstances>`;

const part = (text: string, name: string): string => new RegExp(`<(?:\\w+:)?${name}[ >][\\s\\S]*</(?:\\w+:)?${name}>`).exec(text)?.[0] ?? expect.fail(name);
function replaced(text: string, from: string | RegExp, to: string): string {
  const changed = text.replace(from, () => to);
  expect(changed).not.toBe(text);
  return changed;
}

async function refused(text: string | Buffer, code: string | RegExp = 'aws:Client.AuthFailure', said?: RegExp): Promise<SoapReply> {
  const answer = await sendSoap(door, text);
  expect(answer).toMatchObject({ status: 500, code: typeof code === 'string' ? code : expect.stringMatching(code), requestId: answer.headers.get('x-amzn-requestid') });
  if (said !== undefined) expect(answer.text).toMatch(said);
  expect(door.manager.mutations).toEqual([]);
  return answer;
}

it('the message that all of this begins with is good', async () => {
  expect((await sendSoap(door, terminate())).code).toBe('');
  expect(door.manager.mutations).toHaveLength(1);
});

describe('signature wrapping', () => {
  const WRAPPER = '<w:wrapper xmlns:w="urn:w">';
  const close = '</w:wrapper>';
  const evilBody = (attributes = ''): string => `<soapenv:Body${attributes}>${EVIL}</soapenv:Body>`;
  const [header, security] = ['</soapenv:Header>', '</wsse:Security>'];

  it.each<[string, (text: string, body: string) => string]>([
    ['the signed Body in a block of the header', (t, b) => replaced(replaced(t, b, evilBody()), header, WRAPPER + b + close + header)],
    ['the same, and another identifier on the new Body', (t, b) => replaced(replaced(t, b, evilBody(' wsu:Id="body2"')), header, WRAPPER + b + close + header)],
    ['the same, and the same identifier on the new Body', (t, b) => replaced(replaced(t, b, evilBody(' wsu:Id="body"')), header, WRAPPER + b + close + header)],
    ['the same, with the identifier in another case', (t, b) => replaced(replaced(t, b, evilBody(' ID="body"')), header, WRAPPER + b + close + header)],
    ['the signed Body in the block of security', (t, b) => replaced(replaced(t, b, evilBody()), security, WRAPPER + b + close + security)],
    ['the signed Body in an Object of the signature', (t, b) => replaced(replaced(t, b, evilBody()), '</ds:Signature>', `<ds:Object>${b}</ds:Object></ds:Signature>`)],
    ['the signed Body within the new one', (t, b) => replaced(t, b, `<soapenv:Body>${EVIL}${WRAPPER}${b}${close}</soapenv:Body>`)],
    ['the signed Body within the new request', (t, b) => replaced(t, b, evilBody().replace('</TerminateInstances>', `${WRAPPER}${b}${close}</TerminateInstances>`))],
    ['a second Body behind the signed one', (t, b) => replaced(t, b, b + evilBody())],
    ['a second Body in front of the signed one', (t, b) => replaced(t, b, evilBody() + b)],
    ['a Body of another namespace in front', (t, b) => replaced(t, b, `<x:Body xmlns:x="urn:x">${EVIL}</x:Body>${b}`)],
    ['the whole signed envelope in the Body of another', (t) => `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>${t}${EVIL}</soapenv:Body></soapenv:Envelope>`],
    ['the whole signed envelope in the header of another', (t) => `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Header>${t}</soapenv:Header>${evilBody()}</soapenv:Envelope>`],
    ['the block of security in another block', (t, b) => replaced(replaced(replaced(t, b, evilBody()), '<soapenv:Header>', `<soapenv:Header>${WRAPPER}`), header, `${b}${close}${header}`)],
    ['two blocks of security', (t) => replaced(t, security, `${security}<wsse:Security xmlns:wsse="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"/>`)],
    ['two blocks of security, one for another actor', (t) => replaced(t, security, `${security}<wsse:Security xmlns:wsse="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" soapenv:actor="urn:else"/>`)],
    ['two signatures', (t) => replaced(t, security, part(t, 'Signature') + security)],
    ['a header in front of Header', (t) => replaced(t, '<soapenv:Header>', `${evilBody()}<soapenv:Header>`)],
  ])('%s', async (_name, wrap) => {
    const text = terminate();
    await refused(wrap(text, part(text, 'Body')), /^aws:Client\.(?:AuthFailure|InvalidSOAPRequest|MissingAuthenticationToken)$/);
  });

  it('a new Timestamp in place of the signed one, which is elsewhere', async () => {
    const text = terminate({ now: door.now - 3_600_000 });
    const stamp = part(text, 'Timestamp');
    const fresh = stamp.replace(/wsu:Id="[^"]*"/, 'wsu:Id="fresh"').replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (t) => new Date(Date.parse(t) + 3_600_000).toISOString());
    await refused(replaced(replaced(text, stamp, fresh), header, `${WRAPPER}${stamp}${close}${header}`));
    await refused(replaced(text, stamp, `${fresh}${stamp}`), 'aws:Client.AuthFailure', /one timestamp/);
  });
});

describe('what was changed', () => {
  it('a byte of the body, of the time, of the signature, of the certificate', async () => {
    const text = terminate();
    await refused(text.replace(OTHER.id, VICTIM.id), 'aws:Client.AuthFailure');
    await refused(text.replace(/(<wsu:Expires>20)\d\d/, '$199'), 'aws:Client.AuthFailure');
    await refused(text.replace(/(<ds:SignatureValue>)(.)/, (_m, a: string, b: string) => a + (b === 'A' ? 'B' : 'A')), 'aws:Client.AuthFailure');
    await refused(text.replace(/(<ds:DigestValue>)(.)/, (_m, a: string, b: string) => a + (b === 'A' ? 'B' : 'A')), 'aws:Client.AuthFailure');
  });

  it('another user’s certificate beside the signature', async () => {
    const mallory = signer('Mallory');
    register(door, mallory, { ...alice, accountId: 9, name: 'mallory' });
    await refused(terminate({ chain: [by.der] }, mallory));
    await refused(replaced(terminate({}, mallory), mallory.der.toString('base64'), by.der.toString('base64')));
  });

  it('comments within values are no part of what is signed, nor of what is done', async () => {
    const half = OTHER.id.length - 4;
    const commented = terminate().replace(OTHER.id, `${OTHER.id.slice(0, half)}<!-- ${VICTIM.id} -->${OTHER.id.slice(half)}`);
    expect(commented).toContain('<!--');
    expect((await sendSoap(door, commented)).code).toBe('');
    expect(door.manager.mutations).toMatchObject([{ what: 'end', args: { ids: [OTHER.id] } }]);
  });

  it('processing instructions, document types and entities are refused', async () => {
    const text = terminate();
    await refused(text.replace(OTHER.id, `${OTHER.id}<?x y?>`), 'aws:Client.InvalidSOAPRequest');
    await refused(`<!DOCTYPE x [<!ENTITY a "${VICTIM.id}">]>${text.replace(OTHER.id, '&a;')}`, 'aws:Client.InvalidSOAPRequest');
    const laughs = Array.from({ length: 10 }, (_, i) => `<!ENTITY l${i} "${i === 0 ? 'ha' : `&l${i - 1};`.repeat(10)}">`).join('');
    await refused(`<!DOCTYPE x [${laughs}]>${text.replace(OTHER.id, '&l9;')}`, 'aws:Client.InvalidSOAPRequest');
  });
});

describe('what is signed', () => {
  it('the Body alone, the Timestamp alone, something else', async () => {
    await refused(terminate({ parts: ['body'] }), 'aws:Client.AuthFailure', /timestamp/);
    await refused(terminate({ parts: ['timestamp'] }), 'aws:Client.AuthFailure', /body/);
    await refused(terminate({ parts: ['timestamp', 'token'] }), 'aws:Client.AuthFailure', /body/);
  });

  it('no Timestamp, two times in it, none', async () => {
    await refused(replaced(terminate({ parts: ['body'] }), /<wsu:Timestamp[\s\S]*<\/wsu:Timestamp>/, ''), 'aws:Client.AuthFailure');
    await refused(terminate({ timestamp: '<wsu:Created>yesterday</wsu:Created>' }), 'aws:Client.AuthFailure');
    const now = `<wsu:Created>${new Date(door.now).toISOString()}</wsu:Created>`;
    await refused(terminate({ timestamp: now + now }), 'aws:Client.AuthFailure');
    await refused(terminate({ timestamp: '' }), 'aws:Client.AuthFailure');
  });

  it('nothing at all', async () => {
    await refused(`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>${EVIL}</s:Body></s:Envelope>`, 'aws:Client.MissingAuthenticationToken');
    await refused(replaced(terminate(), /<ds:Signature[\s\S]*<\/ds:Signature>/, ''), 'aws:Client.MissingAuthenticationToken');
  });

  it('too long ago, in the future, for longer than ten minutes', async () => {
    await refused(terminate({ now: door.now - 601_000 - 300_000 }), 'aws:Client.RequestExpired');
    await refused(terminate({ now: door.now + 301_000 }), 'aws:Client.RequestExpired', /future/);
    const [created, hour] = [door.now - 901_000, door.now + 3_600_000].map((t) => new Date(t).toISOString());
    await refused(terminate({ timestamp: `<wsu:Created>${created}</wsu:Created><wsu:Expires>${hour}</wsu:Expires>` }), 'aws:Client.RequestExpired');
  });
});

describe('algorithms', () => {
  const SHA256 = 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256';
  it.each([
    ['HMAC', SHA256, 'http://www.w3.org/2000/09/xmldsig#hmac-sha1'],
    ['HMAC with SHA-256', SHA256, 'http://www.w3.org/2001/04/xmldsig-more#hmac-sha256'],
    ['MD5', SHA256, 'http://www.w3.org/2001/04/xmldsig-more#rsa-md5'],
    ['DSA', SHA256, 'http://www.w3.org/2000/09/xmldsig#dsa-sha1'],
    ['no name', SHA256, ''],
    ['a digest by MD5', 'http://www.w3.org/2001/04/xmlenc#sha256', 'http://www.w3.org/2001/04/xmldsig-more#md5'],
    ['XPath', 'Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"', 'Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"'],
    ['XPath filter', 'Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"', 'Transform Algorithm="http://www.w3.org/2002/06/xmldsig-filter2"'],
    ['XSLT', 'Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"', 'Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"'],
    ['base64', 'Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"', 'Transform Algorithm="http://www.w3.org/2000/09/xmldsig#base64"'],
    ['the enveloped transform alone', 'Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"', 'Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"'],
    ['the form with comments', 'CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"', 'CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#WithComments"'],
    ['the inclusive form', 'CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"', 'CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"'],
    ['the whole document', 'Reference URI="#body"', 'Reference URI=""'],
    ['a part outside', 'Reference URI="#body"', 'Reference URI="http://127.0.0.1:1/x"'],
    ['a pointer', 'Reference URI="#body"', 'Reference URI="#xpointer(id(\'body\'))"'],
    ['a quote in a reference', 'Reference URI="#body"', 'Reference URI="#body\' or \'1\'=\'1"'],
  ])('%s', async (_name, from, to) => {
    await refused(replaced(terminate(), from, to));
  });

  it('HMAC with the certificate’s public key as its secret', async () => {
    const text = replaced(terminate(), SHA256, 'http://www.w3.org/2000/09/xmldsig#hmac-sha1');
    const mac = createHmac('sha1', by.der).update(part(text, 'SignedInfo')).digest('base64');
    await refused(text.replace(/(<ds:SignatureValue>)[^<]*/, `$1${mac}`));
  });

  it('SHA-1 where the site does not believe it', async () => {
    const strict = await openDoor({ now: Date.now(), grid: { sha1: false } });
    register(strict, by, alice);
    strict.manager.leasesById.set(OTHER.id, OTHER);
    expect(await sendSoap(strict, soapMessage(strict, by, V, 'TerminateInstances', ends(OTHER.id), { digest: 'sha1' }))).toMatchObject({ code: 'aws:Client.AuthFailure', text: expect.stringContaining('SHA-1') });
    expect((await sendSoap(strict, soapMessage(strict, by, V, 'TerminateInstances', ends(OTHER.id)))).code).toBe('');
    await strict.close();
  });
});

describe('keys', () => {
  const withKeys = (keys: Keys): Signer => {
    const { der } = userOf(soapRoot, 'O=Grid,CN=Odd', { keys });
    const made = { key: keys.privateKey, der, fingerprint: fingerprintOf(der) };
    register(door, made, alice);
    return made;
  };
  /** Signatures of these are no matter: they are turned away before. */
  const rsa = (modulusLength: number, publicExponent = 65_537): Keys => generateKeyPairSync('rsa', { modulusLength, publicExponent });

  it.each([['of 768 bits', rsa(768)], ['of 4104 bits', rsa(4104)], ['that are not RSA', generateKeyPairSync('ec', { namedCurve: 'P-256' })]])('%s are refused, also of a certificate that is known', async (_name, keys) => {
    const odd = withKeys(keys);
    await refused(replaced(terminate(), by.der.toString('base64'), odd.der.toString('base64')), 'aws:Client.AuthFailure', /key must/);
  });

  it('of 1024 bits are accepted, as old tools have them', async () => {
    expect((await sendSoap(door, terminate({ digest: 'sha1' }, withKeys(rsa(1024))))).code).toBe('');
  });

  it('with a huge exponent are refused', async () => {
    const { publicKey, privateKey } = rsa(2048);
    const { n = '' } = publicKey.export({ format: 'jwk' });
    const huge = createPublicKey({ key: { kty: 'RSA', n, e: Buffer.alloc(200, 0xff).toString('base64url') }, format: 'jwk' });
    await refused(replaced(terminate(), by.der.toString('base64'), withKeys({ publicKey: huge, privateKey }).der.toString('base64')), 'aws:Client.AuthFailure', /exponent/);
  });

  it('of a certificate whose time is over, or has not come, are refused', async () => {
    for (const [from, until] of [[-10, -1], [1, 10]] as const) {
      const keys = rsa(2048);
      const { der } = userOf(soapRoot, 'O=Grid,CN=Late', { keys, from: door.now + from * 86_400_000, until: door.now + until * 86_400_000 });
      const late = { key: keys.privateKey, der, fingerprint: fingerprintOf(der) };
      register(door, late, alice);
      await refused(terminate({}, late));
    }
  });

  it('what is no certificate is refused', async () => {
    for (const token of ['', 'AAAA', 'not base64!', signBytes('sha256', Buffer.from('x'), by.key).toString('base64')]) await refused(replaced(terminate(), by.der.toString('base64'), token));
  });
});

describe('repetitions', () => {
  const run = (): string => soapMessage(door, by, V, 'RunInstances', '<imageId>guest</imageId><minCount>1</minCount><maxCount>1</maxCount><groupSet/><instanceType>m1.small</instanceType>');
  it('of what would do something again are refused, however the signature is written', async () => {
    const text = run();
    expect((await sendSoap(door, text)).code).toBe('');
    for (const again of [text, text.replace(/(<ds:SignatureValue>.{20})/, '$1\n')]) {
      expect(await sendSoap(door, again)).toMatchObject({ code: 'aws:Client.RequestExpired', text: expect.stringContaining('received before') });
    }
    expect(door.manager.mutations).toHaveLength(1);
    door.now += 1;
    expect((await sendSoap(door, run())).code).toBe('');
  });

  it('of what does not are answered', async () => {
    const text = soapMessage(door, by, V, 'DescribeInstances', '<instancesSet/>');
    expect((await sendSoap(door, text)).code).toBe('');
    expect((await sendSoap(door, text)).code).toBe('');
  });
});

describe('sizes', () => {
  it('messages that are too large, too deep or of too many parts are refused', async () => {
    const text = terminate();
    const within = (more: string): string => replaced(text, OTHER.id, more);
    await refused(within('x'.repeat(1024 * 1024)), 'aws:Client.RequestEntityTooLarge');
    await refused(within('<a>'.repeat(50) + '</a>'.repeat(50)), 'aws:Client.RequestEntityTooLarge', /deep/);
    await refused(within('<a/>'.repeat(25_000)), 'aws:Client.RequestEntityTooLarge');
    await refused(within('<a/>'.repeat(10_000)), /RequestEntityTooLarge|AuthFailure/);
    await refused(replaced(text, '<soapenv:Body', `<soapenv:Body ${Array.from({ length: 100 }, (_, i) => `a${i}="x"`).join(' ')}`), 'aws:Client.RequestEntityTooLarge');
    await refused(replaced(text, part(text, 'Reference'), part(text, 'Reference').repeat(1) + '<ds:Reference URI="#body"/>'.repeat(100)), 'aws:Client.AuthFailure');
  });

  it('many identifiers, prefixes and long names are turned away before the dear part', async () => {
    const text = terminate();
    const many = (n: number): string => replaced(text, '</soapenv:Header>', `${Array.from({ length: n }, (_, i) => `<h:h xmlns:h="urn:${i}" wsu:Id="x${i}"/>`).join('')}</soapenv:Header>`);
    await refused(many(6_000), /RequestEntityTooLarge|AuthFailure|InvalidSOAPRequest/);
    await refused(`<${'a'.repeat(500_000)}/>`, 'aws:Client.InvalidSOAPRequest');
  });

  it('what is no XML, no UTF-8, no SOAP 1.1 is said to be so', async () => {
    await refused('<a><b></a>', 'aws:Client.InvalidSOAPRequest');
    await refused('', 'aws:Client.InvalidSOAPRequest');
    await refused(Buffer.from([0x3c, 0x61, 0x3e, 0xff, 0x3c, 0x2f, 0x61, 0x3e]), 'aws:Client.InvalidSOAPRequest');
    await refused('<Envelope/>', 'SOAP-ENV:VersionMismatch');
    await refused('<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body/></e:Envelope>', 'SOAP-ENV:VersionMismatch');
    await refused(replaced(terminate(), '</soapenv:Header>', '<x:h xmlns:x="urn:x" soapenv:mustUnderstand="1"/></soapenv:Header>'), 'SOAP-ENV:MustUnderstand');
  });
});

