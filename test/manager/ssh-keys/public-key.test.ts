import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isFault } from '../../../src/lease/faults.ts';
import { importedFingerprint } from '../../../src/manager/ssh-keys/fingerprint.ts';
import { openSshLine, parsePublicKey } from '../../../src/manager/ssh-keys/public-key.ts';
import * as keys from './fixtures.ts';

const parse = (text: string) => parsePublicKey(Buffer.from(text, 'latin1'));
const RSA_DER = Buffer.from(keys.RSA_PEM.replace(/-----[^-]+-----|\s/g, ''), 'base64');
const reasonOf = (material: Buffer): string => {
  try {
    parsePublicKey(material);
    return 'accepted';
  } catch (e) {
    if (!isFault(e) || e.ec2 !== 'InvalidKey.Format') throw e;
    return e.reasons.join('; ');
  }
};

describe('one RSA key in every form', () => {
  test.each([
    ['an OpenSSH line', Buffer.from(keys.RSA_LINE)],
    ['a line without comment', Buffer.from(keys.RSA_LINE.split(' ').slice(0, 2).join(' '))],
    ['a line with an end of line', Buffer.from(`${keys.RSA_LINE}\r\n`)],
    ['RFC 4716', Buffer.from(keys.RSA_RFC4716)],
    ['RFC 4716 with CRLF and a continued header', Buffer.from(keys.RSA_RFC4716.replace('2048-bit', '2048\\\n-bit').replaceAll('\n', '\r\n'))],
    ['PEM', Buffer.from(keys.RSA_PEM)],
    ['PKCS#1 PEM', Buffer.from(keys.RSA_PKCS1_PEM)],
    ['DER', RSA_DER],
    ['bare base64 of DER', Buffer.from(RSA_DER.toString('base64'))],
  ])('%s', (_, material) => {
    const key = parsePublicKey(material);
    expect(openSshLine(key, 'me@here')).toBe(keys.RSA_LINE);
    expect(importedFingerprint(key)).toBe(keys.RSA_MD5);
  });
});

test.each([
  ['ed25519', keys.ED25519_LINE, keys.ED25519_SHA256], ['ecdsa', keys.ECDSA_256_LINE, keys.ECDSA_256_SHA256],
  ['ecdsa', keys.ECDSA_521_LINE, keys.ECDSA_521_SHA256],
])('%s has the fingerprint that OpenSSH gives', (type, line, fingerprint) => {
  const key = parse(line);
  expect(key.type).toBe(type);
  expect(importedFingerprint(key)).toBe(fingerprint);
  expect(openSshLine(key, line.split(' ')[2] ?? '')).toBe(line);
});

describe('refused, each with its reason', () => {
  const spki = (type: 'ed448' | 'dsa'): Buffer => (type === 'dsa'
    ? generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 }).publicKey
    : generateKeyPairSync('ed448').publicKey).export({ format: 'der', type: 'spki' });

  test.each([
    ['nothing', Buffer.alloc(0), 'the key is empty'],
    ['too much', Buffer.alloc(16 * 1024 + 1, 'A'), 'the key has 16385 bytes'],
    ['prose', Buffer.from('my key'), 'it is no OpenSSH line'],
    ['two lines', Buffer.from(`${keys.ED25519_LINE}\n${keys.ED25519_LINE}`), 'it is no OpenSSH line'],
    ['options before the key', Buffer.from(`command="x" ${keys.ED25519_LINE}`), 'it is no OpenSSH line'],
    ['another algorithm than the blob names', Buffer.from(keys.ED25519_LINE.replace('ssh-ed25519', 'ssh-rsa')), 'it is no OpenSSH line'],
    ['a cut line', Buffer.from(keys.RSA_LINE.slice(0, 200)), 'it is no OpenSSH line'],
    ['a cut block', Buffer.from(keys.RSA_RFC4716.slice(0, 200)), 'it is no OpenSSH line'],
    ['cut PEM', Buffer.from(keys.RSA_PEM.slice(0, 200)), 'it is no OpenSSH line'],
    ['a private key', Buffer.from('-----BEGIN RSA PRIVATE KEY-----\nMII'), 'this is a private key'],
    ['a short RSA key', generateKeyPairSync('rsa', { modulusLength: 512 }).publicKey.export({ format: 'der', type: 'spki' }), 'the RSA key has 512 bits'],
    ['an algorithm that SSH does not know', spki('ed448'), 'keys of type ed448 are not supported'],
    ['DSA', spki('dsa'), 'keys of type dsa are not supported'],
    ['a curve that SSH does not know', generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).publicKey.export({ format: 'der', type: 'spki' }), 'keys of type ec are not supported'],
  ])('%s', (_, material, why) => {
    expect(reasonOf(material)).toContain(why);
  });

  test('whatever bytes come, the answer is a key or InvalidKey.Format', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(reasonOf(Buffer.from(bytes))).not.toBe('accepted');
    }));
  });

  test('whatever byte of a good key is changed', () => {
    const good = Buffer.from(keys.ED25519_LINE);
    fc.assert(fc.property(fc.nat(good.length - 1), fc.nat(255), (at, byte) => {
      const changed = Buffer.from(good);
      changed[at] = byte;
      reasonOf(changed);
    }));
  });
});
