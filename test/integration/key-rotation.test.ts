/** `nimbus key rotate` on real sshds under a running service: nothing is switched before every node lets the new key in. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sshdSet, type Sshd, type SshdSet } from '../fixtures/sshd.ts';
import { hasPart } from '../parts.ts';
import { NIMBUS, startServe, type Serve } from '../support/serve.ts';

describe.skipIf(!hasPart('sshd'))('the operating key', () => {
  let set: SshdSet;
  let admin: { privateFile: string; publicLine: string };
  let sshds: Sshd[];
  let serve: Serve;
  beforeAll(() => {
    set = sshdSet();
    admin = set.key('admin');
  });
  afterAll(() => set.close());
  beforeEach(async () => {
    sshds = [await set.make(), await set.make()];
    serve = await startServe('local_nodes = []\n[control]\nreconnect_max_ms = 200\n');
    for (const [i, sshd] of sshds.entries()) {
      writeFileSync(sshd.authorizedKeys, `# mine\n${admin.publicLine}\n`, { mode: 0o600 });
      await serve.admin('node', 'add', sshd.host, '--name', `n${i + 1}`, '--user', sshd.user, '--port', String(sshd.port), '--host-key', sshd.hostKey,
        '--install-key', admin.privateFile, '--memory', '512', '--cores', '2', '--driver', 'simulated');
    }
  }, 360_000);
  afterEach(async () => { await serve.stop(); });

  const key = (suffix = ''): string => join(serve.dataDir, 'keys', `operate_ed25519${suffix}`);
  const keysOn = (sshd: Sshd): string[] => readFileSync(sshd.authorizedKeys, 'utf8').split('\n').filter((l) => l.endsWith('nimbus-operate'));
  const publicKey = (): string => (readFileSync(key('.pub'), 'utf8').split(' ')[1] ?? '').trim();
  const at = (i: number): Sshd => sshds[i] as Sshd;

  interface Ran { code: number; out: Array<{ node: string; step: string; ok: boolean; reason: string | null }>; err: string }
  const rotate = (...args: string[]): Promise<Ran> => new Promise((resolve) => {
    execFile(process.execPath, [NIMBUS, 'key', 'rotate', '--install-key', admin.privateFile, '--data', serve.dataDir, '--json', ...args], { timeout: 100_000 }, (e, stdout, err) => {
      resolve({ code: e === null ? 0 : typeof e.code === 'number' ? e.code : -1, out: stdout === '' ? [] : JSON.parse(stdout) as Ran['out'], err });
    });
  });
  const reachable = async (): Promise<boolean[]> => (await serve.admin<Array<{ reachable: boolean }>>('node', 'list')).map((n) => n.reachable);
  /** The service's connections are new ones. */
  async function reconnected(): Promise<void> {
    for (const sshd of sshds) await sshd.stop();
    await expect.poll(reachable, { timeout: 60_000 }).toEqual([false, false]);
    for (const sshd of sshds) await sshd.start();
    await expect.poll(reachable, { timeout: 60_000 }).toEqual([true, true]);
  }

  it('is replaced on every node, and the service goes on with the new one', { timeout: 360_000 }, async () => {
    const [before, owner] = [publicKey(), statSync(key()).uid];
    const ran = await rotate();
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out.map((o) => `${o.node} ${o.step} ${o.ok}`)).toEqual(['n1 add true', 'n2 add true', 'n1 remove true', 'n2 remove true']);
    expect(publicKey()).not.toBe(before);
    for (const sshd of sshds) {
      expect(keysOn(sshd)).toEqual([expect.stringMatching(/^restrict,command="[^"]+ serve [^"]+" ssh-ed25519 \S+ nimbus-operate$/)]);
      expect(keysOn(sshd)[0]).toContain(publicKey());
      expect(readFileSync(sshd.authorizedKeys, 'utf8')).toContain(`# mine\n${admin.publicLine}\n`);
    }
    expect([key('.next'), key('.next.pub'), key('.old')].filter((f) => existsSync(f))).toEqual([]);
    expect([statSync(key()).mode & 0o777, statSync(key()).uid]).toEqual([0o600, owner]);
    expect((await serve.admin<{ operatingKey: string }>('key', 'show')).operatingKey).toContain(publicKey());
    await reconnected();
  });

  it('stays what it is when a node cannot be changed; the command is typed again, or leaves that node out', { timeout: 480_000 }, async () => {
    const before = publicKey();
    await at(1).stop();
    const failed = await rotate();
    expect(failed.code).toBe(1);
    expect(failed.out.map((o) => `${o.node} ${o.step} ${o.ok}`)).toEqual(['n1 add true', 'n2 add false']);
    expect(failed.out[1]?.reason).toMatch(/nothing listens on the port/);
    expect(publicKey()).toBe(before);
    expect(keysOn(at(0))).toHaveLength(2);

    expect(await rotate('--without', 'n2')).toMatchObject({ code: 0 });
    expect(keysOn(at(0))).toEqual([expect.stringContaining(publicKey())]);
    await at(1).start();
    // It knows the old key only; its administrator renews it.
    expect(keysOn(at(1))[0]).toContain(before);
    await serve.admin('node', 'upgrade', 'n2', '--install-key', admin.privateFile, '--driver', 'simulated');
    expect(keysOn(at(1))).toEqual([expect.stringContaining(publicKey())]);
    await reconnected();
    expect(await rotate('--without', 'n9')).toMatchObject({ code: 2, err: expect.stringContaining('no node over SSH is named n9') as string });
  });

  it('goes on where it was broken off after the switch: only the old key is taken away', { timeout: 360_000 }, async () => {
    const [oldKey, oldLine] = [readFileSync(key()), keysOn(at(0))[0] ?? ''];
    expect(await rotate()).toMatchObject({ code: 0 });
    const now = publicKey();
    // As it was after the switch: the old key beside the new one, and one node still lets it in.
    writeFileSync(key('.old'), oldKey, { mode: 0o600 });
    writeFileSync(at(0).authorizedKeys, `${readFileSync(at(0).authorizedKeys, 'utf8')}${oldLine}\n`);
    await at(1).stop();
    const half = await rotate();
    expect({ code: half.code, steps: half.out.map((o) => `${o.node} ${o.step} ${o.ok}`) }).toEqual({ code: 1, steps: ['n1 remove true', 'n2 remove false'] });
    expect(existsSync(key('.old'))).toBe(true);
    await at(1).start();
    const rest = await rotate();
    expect({ code: rest.code, steps: rest.out.map((o) => `${o.node} ${o.step} ${o.ok}`) }).toEqual({ code: 0, steps: ['n1 remove true', 'n2 remove true'] });
    expect(existsSync(key('.old'))).toBe(false);
    expect(publicKey()).toBe(now);
    for (const sshd of sshds) expect(keysOn(sshd)).toEqual([expect.stringContaining(now)]);
  });
});
