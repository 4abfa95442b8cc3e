/** New key pairs, with the private half in the form that SSH clients read. */
import { createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { Random } from '../../platform/context.ts';
import { createdRsaFingerprint, importedFingerprint } from './fingerprint.ts';
import { publicKey, type PublicKey } from './public-key.ts';
import { sshString } from './wire.ts';

const RSA_BITS = 2048;
const generate = promisify(generateKeyPair);

export interface NewKeyPair {
  readonly key: PublicKey;
  readonly fingerprint: string;
  /** PEM. */
  readonly material: string;
}

export async function generatePair(type: 'rsa' | 'ed25519', random: Random, comment: string): Promise<NewKeyPair> {
  return type === 'rsa' ? rsaPair() : ed25519Pair(random, comment);
}

async function rsaPair(): Promise<NewKeyPair> {
  const { privateKey } = await generate('rsa', { modulusLength: RSA_BITS });
  return {
    key: publicHalf(privateKey),
    fingerprint: createdRsaFingerprint(privateKey.export({ format: 'der', type: 'pkcs8' })),
    material: privateKey.export({ format: 'pem', type: 'pkcs1' }).toString().trimEnd(),
  };
}

async function ed25519Pair(random: Random, comment: string): Promise<NewKeyPair> {
  const { privateKey } = await generate('ed25519');
  const key = publicHalf(privateKey);
  return { key, fingerprint: importedFingerprint(key), material: openSshPrivateKey(privateKey, key, random, comment) };
}

const publicHalf = (privateKey: KeyObject): PublicKey => publicKey(createPublicKey(privateKey));

/** OpenSSH source, PROTOCOL.key: unencrypted, one key, padded with 1, 2, 3 … to blocks of 8. */
function openSshPrivateKey(privateKey: KeyObject, key: PublicKey, random: Random, comment: string): string {
  const jwk = privateKey.export({ format: 'jwk' });
  const [seed, point] = [Buffer.from(jwk.d ?? '', 'base64url'), Buffer.from(jwk.x ?? '', 'base64url')];
  const check = random.bytes(4);
  const secret = Buffer.concat([
    check, check, sshString(key.algorithm), sshString(point), sshString(Buffer.concat([seed, point])), sshString(comment),
  ]);
  const padding = Buffer.from(Array.from({ length: (8 - (secret.length % 8)) % 8 }, (_, i) => i + 1));
  const body = Buffer.concat([
    Buffer.from('openssh-key-v1\0'), sshString('none'), sshString('none'), sshString(''), Buffer.of(0, 0, 0, 1),
    sshString(key.blob), sshString(Buffer.concat([secret, padding])),
  ]);
  const lines = body.toString('base64').match(/.{1,70}/g) ?? [];
  // OpenSSH refuses a file of this format whose last line has no end.
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n');
}
