import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { operateLine, withOperateLine } from '../../../src/control/ssh/authorized-keys.ts';
import { readCertificate, refuseCertificate } from '../../../src/control/ssh/certificate.ts';
import { fingerprint, pinOf, readPin } from '../../../src/control/ssh/hostkeys.ts';
import { lookUp, matchesPattern } from '../../../src/control/ssh/known-hosts.ts';
import { operatingKey } from '../../../src/control/ssh/keys.ts';
import { shellQuote } from '../../../src/control/ssh/remote.ts';
import { trustHost } from '../../../src/control/ssh/trust.ts';
import { run, sshdSet, type Sshd, type SshdSet } from '../../fixtures/sshd.ts';
import { hasPart } from '../../parts.ts';
import { ctx } from '../client/setup.ts';

const ED = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';

describe('known_hosts', () => {
  const keysFor = (text: string, host: string, port = 22): string[] => lookUp(text, host, port).keys.map(pinOf);

  test('names, lists, patterns, negation and ports', () => {
    expect(keysFor(`node1,10.0.0.1 ${ED} comment`, 'NODE1')).toEqual([ED]);
    expect(keysFor(`*.example.org,!bad.example.org ${ED}`, 'a.example.org')).toEqual([ED]);
    expect(keysFor(`*.example.org,!bad.example.org ${ED}`, 'bad.example.org')).toEqual([]);
    expect(keysFor(`[node1]:2222 ${ED}`, 'node1', 2222)).toEqual([ED]);
    expect(keysFor(`[node1]:2222 ${ED}`, 'node1')).toEqual([]);
    expect(keysFor(`node1 ${ED}`, 'node1', 2222)).toEqual([]);
    expect(keysFor(`# node1 ${ED}\n\n@unknown node1 ${ED}\nnode1 ssh-ed25519 nonsense\nnode1`, 'node1')).toEqual([]);
  });

  test('markers', () => {
    const known = lookUp(`@cert-authority *.org ${ED}\n@revoked * ${ED}`, 'a.org', 22);
    expect([known.keys.length, known.authorities.length, known.revoked.length]).toEqual([0, 1, 1]);
  });

  test.skipIf(!hasPart('sshd'))('names that ssh-keygen hashed', async () => {
    const set = sshdSet();
    const file = join(set.dir, 'known_hosts');
    writeFileSync(file, `node1 ${ED}\n[node2]:2222 ${ED}\n`);
    run('ssh-keygen', ['-q', '-H', '-f', file]);
    const hashed = readFileSync(file, 'utf8');
    expect(hashed).toMatch(/^\|1\|/);
    expect(keysFor(hashed, 'node1')).toEqual([ED]);
    expect(keysFor(hashed, 'node2', 2222)).toEqual([ED]);
    expect(keysFor(hashed, 'node2')).toEqual([]);
    await set.close();
  });

  test('any text is read, any pattern ends', () => {
    fc.assert(fc.property(fc.string(), fc.string(), (text, host) => void lookUp(text, host, 22)));
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom('a', 'b', '*', '?'), maxLength: 12 }), fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 }), (pattern, text) => {
      const regex = new RegExp(`^${pattern.replace(/\*+/g, '.*').replace(/\?/g, '.')}$`);
      expect(matchesPattern(pattern, text)).toBe(regex.test(text));
    }));
    expect(matchesPattern('*a'.repeat(40), 'a'.repeat(2000) + 'b')).toBe(false);
  });
});

describe('host certificates', () => {
  test('any bytes are read or refused', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void readCertificate(Buffer.from(bytes))));
  });

  describe.skipIf(!hasPart('sshd'))('made by ssh-keygen', () => {
    let set: SshdSet;
    beforeAll(() => { set = sshdSet(); });
    afterAll(() => set.close());
    const NOW = Date.UTC(2026, 5, 1);
    const key = (name: string, type: string): string => {
      const file = join(set.dir, name);
      run('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', file]);
      return file;
    };
    const blobOf = (file: string): Buffer => Buffer.from(readFileSync(file, 'utf8').split(' ')[1] ?? '', 'base64');
    const certify = (ca: string, host: string, args: readonly string[]): Buffer => {
      run('ssh-keygen', ['-q', '-s', ca, '-I', 'id', ...args, `${host}.pub`]);
      return blobOf(`${host}-cert.pub`);
    };

    test.each(['ed25519', 'ecdsa', 'rsa'])('signed by an %s authority is accepted for its host, in its time, and for nothing else', (type) => {
      const [ca, host, other] = [key(`ca-${type}`, type), key(`host-${type}`, type), key(`other-${type}`, 'ed25519')];
      const authority = blobOf(`${ca}.pub`);
      const blob = certify(ca, host, ['-h', '-n', 'node1,*.cluster', '-V', '20260101:20270101']);
      const cert = readCertificate(blob);
      if (cert === undefined) throw new Error('not read');
      expect(cert.key.equals(blobOf(`${host}.pub`))).toBe(true);
      expect(refuseCertificate(cert, 'node1', [authority], NOW)).toBeUndefined();
      expect(refuseCertificate(cert, 'N7.cluster', [authority], NOW)).toBeUndefined();
      expect(refuseCertificate(cert, 'node2', [authority], NOW)).toMatch(/is for node1, \*\.cluster, not for node2/);
      expect(refuseCertificate(cert, 'node1', [blobOf(`${other}.pub`)], NOW)).toMatch(/no authority for this host/);
      expect(refuseCertificate(cert, 'node1', [authority], Date.UTC(2028, 1))).toMatch(/has expired/);
      expect(refuseCertificate(cert, 'node1', [authority], Date.UTC(2025, 1))).toMatch(/not valid yet/);
      for (let at = 0; at < blob.length; at += 7) {
        const forged = Buffer.from(blob);
        forged[at] = (forged[at] ?? 0) ^ 1;
        const read = readCertificate(forged);
        if (read !== undefined) expect(refuseCertificate(read, 'node1', [authority], NOW)).toBeDefined();
      }
      const user = readCertificate(certify(ca, host, ['-n', 'node1']));
      expect(user === undefined || refuseCertificate(user, 'node1', [authority], NOW)).toMatch(/not a host certificate/);
    });
  });
});

describe.skipIf(!hasPart('sshd'))('trusting a host', () => {
  let set: SshdSet;
  let sshd: Sshd;
  beforeAll(async () => {
    set = sshdSet();
    sshd = await set.make();
  });
  afterAll(() => set.close());
  const target = (s: Sshd) => ({ host: s.host, port: s.port, user: s.user });
  const name = (s: Sshd): string => `[${s.host}]:${s.port}`;
  const print = (s: Sshd): string => fingerprint(readPin(s.hostKey) ?? Buffer.alloc(0));

  test('by the key or the fingerprint that was given', async () => {
    expect(await trustHost(ctx, target(sshd), { hostKey: sshd.hostKey })).toEqual({ hostKey: sshd.hostKey, fingerprint: print(sshd), from: 'given' });
    expect((await trustHost(ctx, target(sshd), { hostKey: print(sshd) })).from).toBe('given');
    await expect(trustHost(ctx, target(sshd), { hostKey: 'SHA256:nonsense' })).rejects.toThrow(`the host shows ${print(sshd)}, but SHA256:nonsense was given`);
    await expect(trustHost(ctx, target(sshd), { hostKey: 'nonsense' })).rejects.toThrow(/neither "TYPE BASE64" nor "SHA256:…"/);
  });

  test('by known_hosts; a contradiction is refused and never asked about', async () => {
    const confirm = vi.fn(() => Promise.resolve(true));
    expect((await trustHost(ctx, target(sshd), { knownHosts: [`${name(sshd)} ${sshd.hostKey}`] })).from).toBe('known-hosts');
    await expect(trustHost(ctx, target(sshd), { knownHosts: [`${name(sshd)} ${ED}`], confirm })).rejects.toThrow(/but known_hosts has SHA256:/);
    await expect(trustHost(ctx, target(sshd), { knownHosts: [`@revoked * ${sshd.hostKey}`], confirm })).rejects.toThrow(/which known_hosts revokes/);
    await expect(trustHost(ctx, target(sshd), { knownHosts: [`@revoked * ${sshd.hostKey}`], hostKey: sshd.hostKey })).rejects.toThrow(/revokes/);
    expect(confirm).not.toHaveBeenCalled();
  });

  test('by asking, when nothing is known', async () => {
    expect((await trustHost(ctx, target(sshd), { confirm: (shown) => Promise.resolve(shown.fingerprint === print(sshd)) })).from).toBe('confirmed');
    await expect(trustHost(ctx, target(sshd), { confirm: () => Promise.resolve(false) })).rejects.toThrow(/was not confirmed/);
    await expect(trustHost(ctx, target(sshd), {})).rejects.toThrow(/nothing is known of the host; it shows SHA256:.*--host-key/);
  });

  test('by the site’s authority, which certified the key that the host shows', async () => {
    const ca = set.key('authority').privateFile;
    const certified = await set.make();
    const hostKeyFile = join(set.dir, 'node2', 'host_key');
    await certified.stop();
    run('ssh-keygen', ['-q', '-s', ca, '-I', 'node2', '-h', '-n', '127.0.0.1', '-V', '-1d:+1d', `${hostKeyFile}.pub`]);
    appendFileSync(join(set.dir, 'node2', 'sshd_config'), `HostCertificate "${hostKeyFile}-cert.pub"\n`);
    await certified.start();
    const authority = readFileSync(`${ca}.pub`, 'utf8').trim();
    expect(await trustHost(ctx, target(certified), { knownHosts: [`@cert-authority ${name(certified)} ${authority}`] })).toMatchObject({ from: 'host-ca', hostKey: certified.hostKey });
    await expect(trustHost(ctx, target(certified), { knownHosts: [`@cert-authority ${name(certified)} ${ED}`] })).rejects.toThrow(/which is no authority for this host/);
    await expect(trustHost(ctx, target(certified), { knownHosts: [`@cert-authority ${name(certified)} ${authority}\n@revoked * ${authority}`] })).rejects.toThrow(/authority of the certificate is revoked/);
    await expect(trustHost(ctx, target(sshd), { knownHosts: [`@cert-authority ${name(sshd)} ${authority}`] })).rejects.toThrow(/has no certificate for its key/);
  });

  test('a host that is not there is unreachable, which is no matter of keys', async () => {
    const gone = await set.make();
    await gone.stop();
    await expect(trustHost(ctx, target(gone), { hostKey: gone.hostKey })).rejects.toMatchObject({ kind: 'unreachable', message: expect.stringMatching(/nothing listens on the port/) as string });
  });
});

describe('words for a shell and lines of authorized_keys', () => {
  test.skipIf(!hasPart('sshd'))('any word comes through a shell as it is', () => {
    const word = fc.string().filter((s) => !/[\x00-\x1f\x7f]/.test(s));
    fc.assert(fc.property(fc.array(word, { minLength: 1, maxLength: 5 }), (words) => {
      expect(run('sh', ['-c', `printf '%s\\n' ${words.map(shellQuote).join(' ')}`])).toBe(words.map((w) => `${w}\n`).join(''));
    }), { numRuns: 30 });
    expect(() => shellQuote('a\nb')).toThrow(/control character/);
  });

  test('our line is there once, whatever was there, and nobody else’s line changes', () => {
    const line = { command: ['/usr/bin/node', '/home/o’neil "x"/a.cjs', 'serve', '--state', '/s d'], publicLine: `${ED} nimbus-operate` };
    const foreign = fc.array(fc.string({ unit: fc.constantFrom('a', 'ssh-rsa', ' ', '#', '"', 'nimbus-operate') }), { maxLength: 5 });
    fc.assert(fc.property(foreign, (lines) => {
      const before = lines.map((l) => l.trim()).filter((l) => l !== '').join('\n');
      const once = withOperateLine(before, line, '/s d');
      expect(withOperateLine(once, line, '/s d')).toBe(once);
      expect(once).toBe(`${before === '' ? '' : `${before}\n`}${operateLine(line)}\n`);
    }));
  });

  test.skipIf(!hasPart('sshd'))('the operating key is made once, 0600, and is one that OpenSSH reads', async () => {
    const set = sshdSet();
    const first = operatingKey(join(set.dir, 'keys'));
    expect(operatingKey(join(set.dir, 'keys'))).toEqual(first);
    expect(run('ssh-keygen', ['-y', '-f', first.privateFile]).split(' ').slice(0, 2)).toEqual(first.publicLine.split(' ').slice(0, 2));
    await set.close();
  });
});
