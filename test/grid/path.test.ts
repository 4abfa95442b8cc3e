/** Chains of certificates: who they speak for, and each way in which they are not believed. */
import { describe, expect, test } from 'vitest';
import { readCrl } from '../../src/grid/certificates/crl.ts';
import { readSigningPolicy } from '../../src/grid/certificates/signing-policy.ts';
import { authority, basic, certificate, crl, draftProxy, ecKeys, extension, keyUsage, LANGUAGE, oid, proxy, rfcProxy, rsaKeys, seq, tlv, user, utf8, yes } from './make.ts';
import { trusting, validate, verdict } from './trusting.ts';

const HOUR = 3_600_000;
const root = authority('O=Grid,CN=Root');
const alice = user(root, 'O=Grid,OU=Lab,CN=Alice');
const ALICE = '/O=Grid/OU=Lab/CN=Alice';
const trust = trusting(root);

describe('end entities', () => {
  test('one that an authority of the site signed speaks for itself', () => {
    expect(validate([alice], trust)).toMatchObject({ identity: ALICE, proxies: 0, limited: false });
  });

  test('the authority may be presented too, and certificates that are nobody’s here', () => {
    const other = authority('O=Other,CN=Root');
    expect(verdict([alice, other, root], trust)).toBe(ALICE);
  });

  test('names are equal whatever their kind of string, case and spaces', () => {
    const odd = user({ ...root, subject: [['O', tlv(0x13, Buffer.from('GRID'))], ['CN', utf8('  root ')]] }, 'O=Grid,CN=Odd');
    expect(verdict([odd], trust)).toBe('/O=Grid/CN=Odd');
  });

  test.each([
    ['of nobody’s authority', () => [user(authority('O=Grid,CN=Other'), 'O=Grid,CN=A')], 'UnknownAuthority'],
    ['of another key than the authority’s', () => [user({ ...root, keys: ecKeys() }, 'O=Grid,CN=A')], 'UnknownAuthority'],
    ['signed by itself', () => [certificate({ subject: 'O=Grid,CN=A' })], 'SelfSigned'],
    ['an authority that nobody knows, alone', () => [authority('O=Grid,CN=Mine')], 'SelfSigned'],
    ['the authority itself', () => [root], 'AuthorityAsUser'],
    ['an authority below', () => [authority('O=Grid,CN=Sub', { by: root })], 'AuthorityAsUser'],
    ['expired', () => [user(root, 'O=Grid,CN=A', { until: Date.now() - 61_000 })], 'Expired'],
    ['not yet valid', () => [user(root, 'O=Grid,CN=A', { from: Date.now() + 62_000 })], 'NotYetValid'],
    ['one that may not sign', () => [user(root, 'O=Grid,CN=A', { extensions: [keyUsage(2)] })], 'KeyUsage'],
    ['a server’s', () => [user(root, 'O=Grid,CN=A', { extensions: [extension('2.5.29.37', seq(oid('1.3.6.1.5.5.7.3.1')))] })], 'KeyUsage'],
    ['a server’s as Netscape said it', () => [user(root, 'O=Grid,CN=A', { extensions: [extension('2.16.840.1.113730.1.1', tlv(3, Buffer.from([6, 0x40])))] })], 'KeyUsage'],
    ['with a critical extension that nobody knows', () => [user(root, 'O=Grid,CN=A', { extensions: [extension('1.2.3.4', yes, true)] })], 'ExtensionUnknown'],
    ['with a short key', () => [user(root, 'O=Grid,CN=A', { keys: rsaKeys(512) })], 'WeakKey'],
    ['signed with SHA-1', () => [user(root, 'O=Grid,CN=A', { digest: 'sha1' })], 'WeakSignature'],
    ['with a name that looks like another', () => [user(root, 'O=Grid,CN=x/CN=Alice')], 'NameAmbiguous'],
    ['with a name that looks escaped', () => [user(root, 'O=Grid,CN=\\xC3\\xA9')], 'NameAmbiguous'],
    ['without a name', () => [user(root, [])], 'NameAmbiguous'],
    ['signed by a user', () => [user(alice, 'O=Grid,CN=Mallory'), alice], 'NotAnAuthority'],
    ['more certificates than anybody has', () => Array.from({ length: 17 }, () => alice), 'ChainTooLong'],
    ['nothing', () => [], 'Unreadable'],
  ] as const)('%s', (_what, made, reason) => expect(verdict(made(), trust)).toBe(reason));

  test('clocks may differ by the skew', () => {
    expect(verdict([user(root, 'O=Grid,CN=A', { until: Date.now() - 50_000 })], trust)).toBe('/O=Grid/CN=A');
    expect(verdict([user(root, 'O=Grid,CN=A', { from: Date.now() + 50_000 })], trust)).toBe('/O=Grid/CN=A');
  });

  test('SHA-1 counts where the site says so, MD5 nowhere', () => {
    const rsa = authority('O=Grid,CN=Old', { keys: rsaKeys(1024), digest: 'sha1' });
    expect(verdict([user(rsa, 'O=Grid,CN=A', { digest: 'sha1' })], trusting(rsa), { sha1: true })).toBe('/O=Grid/CN=A');
    expect(verdict([user(rsa, 'O=Grid,CN=A', { digest: 'md5' })], trusting(rsa), { sha1: true })).toBe('WeakSignature');
  });

  test('what is for servers may sign messages', () => {
    const server = user(root, 'O=Grid,CN=host/h', { extensions: [extension('2.5.29.37', seq(oid('1.3.6.1.5.5.7.3.1')))] });
    expect(verdict([server], trust, { use: 'message' })).toBe('/O=Grid/CN=host/h');
  });

  test('an altered byte anywhere is refused, or nothing of it changes who it is', () => {
    for (let at = 0; at < alice.der.length; at += 1) {
      const der = Buffer.from(alice.der);
      der[at] = (der[at] ?? 0) ^ 1;
      let said: string;
      try { said = verdict([{ ...alice, der }], trust); } catch { said = 'unreadable'; }
      expect(said, `byte ${at}`).not.toBe(ALICE);
    }
  });
});

describe('authorities', () => {
  const sub = authority('O=Grid,CN=Sub', { by: root });
  const bob = user(sub, 'O=Grid,CN=Bob');

  test('one between may be presented, or stand in the trust directory', () => {
    expect(verdict([bob, sub], trust)).toBe('/O=Grid/CN=Bob');
    expect(verdict([bob], trusting(root, sub))).toBe('/O=Grid/CN=Bob');
  });

  test('one whose root is not there is none', () => expect(verdict([bob], trusting(sub))).toBe('UnknownAuthority'));
  test('one that is not presented is not found', () => expect(verdict([bob], trust)).toBe('UnknownAuthority'));

  test('path lengths', () => {
    const short = authority('O=Grid,CN=Short', { pathLength: 0 });
    const below0 = authority('O=Grid,CN=Below', { by: short });
    expect(verdict([user(short, 'O=Grid,CN=A')], trusting(short))).toBe('/O=Grid/CN=A');
    expect(verdict([user(below0, 'O=Grid,CN=A'), below0], trusting(short))).toBe('PathTooLong');
    const leaf = user(short, 'O=Grid,CN=A');
    expect(verdict([proxy(leaf, '1', [rfcProxy()]), leaf], trusting(short)), 'proxies do not count').toBe('/O=Grid/CN=A');
  });

  test('a root of the first version is one, an authority between must say so', () => {
    const old = authority('O=Grid,CN=V1', { version: 1 });
    expect(verdict([user(old, 'O=Grid,CN=A')], trusting(old))).toBe('/O=Grid/CN=A');
    const silent = certificate({ subject: 'O=Grid,CN=Silent', by: root });
    expect(verdict([user(silent, 'O=Grid,CN=A'), silent], trust)).toBe('NotAnAuthority');
  });

  test('one that may not sign certificates, or has expired', () => {
    const mute = authority('O=Grid,CN=Mute', { extensions: [basic(true), keyUsage(6)] });
    expect(verdict([user(mute, 'O=Grid,CN=A')], trusting(mute))).toBe('KeyUsage');
    const gone = authority('O=Grid,CN=Gone', { until: Date.now() - HOUR });
    expect(verdict([user(gone, 'O=Grid,CN=A')], trusting(gone))).toBe('Expired');
  });

  test('of two with one name, the one that signed counts', () => {
    const renewed = authority('O=Grid,CN=Root');
    expect(verdict([user(renewed, 'O=Grid,CN=A')], trusting(root, renewed))).toBe('/O=Grid/CN=A');
    expect(verdict([alice], trusting(renewed, root))).toBe(ALICE);
  });

  test('two that signed each other lead nowhere', () => {
    const keys = ecKeys();
    const a = authority('O=Grid,CN=One', { by: { subject: 'O=Grid,CN=Two', keys } });
    const b = authority('O=Grid,CN=Two', { keys, by: a });
    expect(verdict([user(a, 'O=Grid,CN=A'), a, b], trust)).toBe('UnknownAuthority');
  });
});

describe('proxies', () => {
  const rfc = proxy(alice, '17', [rfcProxy()]);
  const draft = proxy(alice, '17', [draftProxy()]);
  const legacy = proxy(alice, 'proxy', []);

  test.each([['of RFC 3820', rfc], ['of its draft', draft], ['of Globus 2', legacy]])('%s speaks for its user', (_k, p) => {
    expect(validate([p, alice], trust)).toMatchObject({ identity: ALICE, proxies: 1, limited: false });
  });

  test.each([
    ['of RFC 3820', proxy(alice, '17', [rfcProxy(LANGUAGE.limited)])], ['of its draft', proxy(alice, '17', [draftProxy(LANGUAGE.limited)])], ['of Globus 2', proxy(alice, 'limited proxy', [])],
  ])('a limited one %s', (_k, p) => expect(validate([p, alice], trust)).toMatchObject({ identity: ALICE, limited: true }));

  test('what a limited one signs is limited', () => {
    const limited = proxy(alice, '1', [rfcProxy(LANGUAGE.limited)]);
    expect(validate([proxy(limited, '2', [rfcProxy()]), limited, alice], trust)).toMatchObject({ identity: ALICE, limited: true, proxies: 2 });
  });

  test('an independent one speaks for itself only, and what it signs for it', () => {
    const own = proxy(alice, '1', [rfcProxy(LANGUAGE.independent)]);
    expect(validate([own, alice], trust).identity).toBe(`${ALICE}/CN=1`);
    expect(validate([proxy(own, '2', [rfcProxy()]), own, alice], trust).identity).toBe(`${ALICE}/CN=1`);
  });

  test('the order of the others does not count', () => {
    const second = proxy(rfc, '18', [rfcProxy()]);
    expect(verdict([second, alice, root, rfc], trust)).toBe(ALICE);
  });

  test('without its signer it is nobody’s', () => expect(verdict([rfc], trust)).toBe('UnknownAuthority'));

  test.each([
    ['of another’s key', [proxy({ ...alice, keys: ecKeys() }, '1', [rfcProxy()]), alice], 'BadSignature'],
    ['of an authority', [proxy(root, '1', [rfcProxy()]), root], 'AuthorityAsUser'],
    ['with another name', [certificate({ subject: 'O=Grid,OU=Lab,CN=Bob,CN=1', by: alice, extensions: [rfcProxy()] }), alice], 'ProxyName'],
    ['with a name two longer', [certificate({ subject: 'O=Grid,OU=Lab,CN=Alice,CN=1,CN=2', by: alice, extensions: [rfcProxy()] }), alice], 'ProxyName'],
    ['with a name that is no common name', [certificate({ subject: 'O=Grid,OU=Lab,CN=Alice,OU=1', by: alice, extensions: [rfcProxy()] }), alice], 'ProxyName'],
    ['that says it is an authority', [proxy(alice, '1', [rfcProxy(), basic(true)]), alice], 'ProxyExtension'],
    ['with alternative names', [proxy(alice, '1', [rfcProxy(), extension('2.5.29.17', seq(tlv(0x82, Buffer.from('h'))))]), alice], 'ProxyExtension'],
    ['whose extension is not critical', [proxy(alice, '1', [rfcProxy(LANGUAGE.full, undefined, { critical: false })]), alice], 'ProxyExtension'],
    ['of rights that nobody knows', [proxy(alice, '1', [rfcProxy('1.2.3.4')]), alice], 'ProxyRights'],
    ['with rights in words', [proxy(alice, '1', [rfcProxy(LANGUAGE.full, undefined, { words: 'read' })]), alice], 'ProxyRights'],
    ['of another kind than its signer', [proxy(legacy, '1', [rfcProxy()]), legacy, alice], 'ProxiesMixed'],
    ['of another kind, the other way', [proxy(rfc, 'proxy', []), rfc, alice], 'ProxiesMixed'],
    ['expired', [proxy(alice, '1', [rfcProxy()], { until: Date.now() - HOUR / 2 }), alice], 'Expired'],
    ['of an expired user', [proxy(user(root, 'O=Grid,CN=G', { until: Date.now() - HOUR / 2 }), '1', [rfcProxy()])], 'UnknownAuthority'],
    ['with a short key', [proxy(alice, '1', [rfcProxy()], { keys: rsaKeys(512) }), alice], 'WeakKey'],
  ] as const)('%s', (_what, presented, reason) => expect(verdict(presented, trust)).toBe(reason));

  test('a user who may not sign has no proxies', () => {
    const mute = user(root, 'O=Grid,CN=Mute', { extensions: [keyUsage(2)] });
    expect(verdict([proxy(mute, '1', [rfcProxy()]), mute], trust)).toBe('KeyUsage');
  });

  test('path lengths of RFC and draft', () => {
    for (const make of [rfcProxy, draftProxy]) {
      const none = proxy(alice, '1', [make(LANGUAGE.full, 0)]);
      expect(verdict([none, alice], trust)).toBe(ALICE);
      expect(verdict([proxy(none, '2', [make()]), none, alice], trust)).toBe('ProxyPathLength');
      const one = proxy(alice, '1', [make(LANGUAGE.full, 1)]);
      const second = proxy(one, '2', [make()]);
      expect(verdict([second, one, alice], trust)).toBe(ALICE);
      expect(verdict([proxy(second, '3', [make(LANGUAGE.full, 9)]), second, one, alice], trust), 'what follows cannot lengthen it').toBe('ProxyPathLength');
    }
  });

  test('a user whose last name is proxy is no proxy of his organisation', () => {
    expect(verdict([user(root, 'O=Grid,CN=proxy')], trust)).toBe('/O=Grid/CN=proxy');
    const odd = authority('O=Grid');
    expect(verdict([user(odd, 'O=Grid,CN=proxy'), odd], trusting(odd)), 'where it looks like one, it is refused').toBe('AuthorityAsUser');
  });

  test('both kinds at once are unreadable', () => {
    expect(() => verdict([proxy(alice, '1', [rfcProxy(), draftProxy()]), alice], trust)).toThrow(/two kinds/);
    expect(() => verdict([proxy(alice, '1', [rfcProxy(), rfcProxy()]), alice], trust)).toThrow(/twice/);
  });

  test('is good as long as everything in it', () => {
    const until = Math.floor(Date.now() / 1000) * 1000 + 600_000;
    expect(validate([proxy(alice, '1', [rfcProxy()], { until }), alice], trust).validUntil).toBe(until + 60_000);
  });
});

describe('revocation lists', () => {
  const taken = user(root, 'O=Grid,CN=Taken', { serial: 77 });
  const listed = (revoked: readonly number[], o?: Parameters<typeof crl>[2]) => trusting({ made: root, crl: readCrl(crl(root, revoked, o)) });

  test('what is on it is refused, and so are its proxies', () => {
    expect(verdict([taken], listed([5, 77]))).toBe('Revoked');
    expect(verdict([proxy(taken, '1', [rfcProxy()]), taken], listed([77]))).toBe('Revoked');
    expect(verdict([alice], listed([77]))).toBe(ALICE);
  });

  test('one that is out of date, of the future, or not understood, lets nobody in', () => {
    expect(verdict([alice], listed([], { from: Date.now() - 2 * HOUR, until: Date.now() - HOUR }))).toBe('CrlExpired');
    expect(verdict([alice], listed([], { from: Date.now() + HOUR }))).toBe('CrlUnusable');
    expect(verdict([alice], listed([], { extensions: [extension('2.5.29.28', seq(), true)] }))).toBe('CrlUnusable');
    expect(verdict([alice], trusting({ made: root, crl: { unusable: 'broken' } }))).toBe('CrlUnusable');
    expect(verdict([alice], listed([], { until: null }))).toBe(ALICE);
  });

  test('may be asked for', () => {
    expect(verdict([alice], trust, { crl: 'required' })).toBe('CrlMissing');
    expect(verdict([alice], listed([]), { crl: 'required' })).toBe(ALICE);
  });

  test('bounds how long a chain is good', () => {
    const until = Math.floor(Date.now() / 1000) * 1000 + 60_000;
    expect(validate([alice], listed([], { until })).validUntil).toBe(until + 60_000);
  });

  test('counts only with the authority’s signature', () => {
    expect(readCrl(crl(root, [])).signedBy(trust.authorities(readCrl(crl(root, [])).issuer)[0]!.certificate)).toBe(true);
    expect(readCrl(crl(root, [], { keys: ecKeys() })).signedBy(trust.authorities(readCrl(crl(root, [])).issuer)[0]!.certificate)).toBe(false);
  });

  test('an authority between is taken back by the one above', () => {
    const sub = authority('O=Grid,CN=Sub', { by: root, serial: 900 });
    expect(verdict([user(sub, 'O=Grid,CN=Bob'), sub], listed([900]))).toBe('Revoked');
  });
});

describe('signing policies', () => {
  const policy = (text: string) => trusting({ made: root, policy: readSigningPolicy(text) });
  const of = (subjects: string): string => `# names\naccess_id_CA X509 '/O=Grid/CN=Root'\npos_rights globus CA:sign\ncond_subjects globus '${subjects}'\n`;

  test('say whom an authority may sign', () => {
    expect(verdict([alice], policy(of('"/O=Grid/*"')))).toBe(ALICE);
    expect(verdict([alice], policy(of('"/O=Other/*" "/O=Grid/OU=Lab/*"')))).toBe(ALICE);
    expect(verdict([alice], policy(of('"/O=Other/*"')))).toBe('SigningPolicyRefuses');
    expect(verdict([proxy(alice, '1', [rfcProxy()]), alice], policy(of('"/O=Grid/OU=Lab/CN=Alice"'))), 'proxies are the user’s').toBe(ALICE);
  });

  test('are asked for unless the site says otherwise', () => {
    expect(verdict([alice], trust, { signingPolicy: 'required' })).toBe('SigningPolicyMissing');
    expect(verdict([alice], policy('access_id_CA X509 \'/O=Other\'\npos_rights globus CA:sign\ncond_subjects globus \'"*"\'\n')), 'one that speaks of another').toBe('SigningPolicyMissing');
    expect(verdict([alice], trusting({ made: root, policy: { unusable: 'line 3' } }))).toBe('SigningPolicyUnusable');
  });

  test('cover authorities that are presented', () => {
    const sub = authority('O=Grid,CN=Sub', { by: root });
    expect(verdict([user(sub, 'O=Grid,CN=Bob'), sub], policy(of('"/O=Grid/*"')), { signingPolicy: 'required' })).toBe('SigningPolicyMissing');
  });
});
