import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generatePair, type NewKeyPair } from '../../../src/manager/ssh-keys/generate.ts';
import { openSshLine } from '../../../src/manager/ssh-keys/public-key.ts';
import { realRandom } from '../../../src/platform/real.ts';
import { hasPart } from '../../parts.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'keys-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const privateFile = (pair: NewKeyPair): string => {
  const file = join(dir, pair.key.type);
  writeFileSync(file, `${pair.material}\n`, { mode: 0o600 });
  return file;
};
const run = (program: string, ...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync(program, args);
  if (status !== 0) throw new Error(`${program}: ${stderr.toString()}`);
  return stdout.toString('latin1').trim();
};

describe.each(['rsa', 'ed25519'] as const)('%s', (type) => {
  test('the private half is one that an SSH client reads, and fits the public half', async () => {
    const pair = await generatePair(type, realRandom, 'my key');
    const parsed = ssh2.utils.parseKey(pair.material);
    if (parsed instanceof Error) throw parsed;
    expect(parsed.isPrivateKey()).toBe(true);
    expect(parsed.getPublicSSH().equals(pair.key.blob)).toBe(true);
    const signature = parsed.sign('text');
    expect(parsed.verify('text', signature as Buffer)).toBe(true);
  });

  test.skipIf(!hasPart('sshd'))('ssh-keygen reads it', async () => {
    const pair = await generatePair(type, realRandom, 'my key');
    const line = run('ssh-keygen', '-y', '-f', privateFile(pair));
    expect(line.split(' ').slice(0, 2).join(' ')).toBe(openSshLine(pair.key, '').trim());
  });
});

test('RSA material is PKCS#1 PEM, ed25519 material is OpenSSH', async () => {
  expect((await generatePair('rsa', realRandom, '')).material).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n[^]*\n-----END RSA PRIVATE KEY-----$/);
  expect((await generatePair('ed25519', realRandom, 'k')).material).toMatch(/^-----BEGIN OPENSSH PRIVATE KEY-----\n[^]*\n-----END OPENSSH PRIVATE KEY-----\n$/);
});

test.skipIf(!hasPart('openssl'))('the fingerprint of a new RSA pair is what the EC2 user guide computes with openssl', async () => {
  const pair = await generatePair('rsa', realRandom, '');
  const der = join(dir, 'der');
  run('openssl', 'pkcs8', '-in', privateFile(pair), '-inform', 'PEM', '-outform', 'DER', '-topk8', '-nocrypt', '-out', der);
  expect(run('openssl', 'dgst', '-sha1', '-c', der)).toMatch(new RegExp(`= ${pair.fingerprint}$`));
});
