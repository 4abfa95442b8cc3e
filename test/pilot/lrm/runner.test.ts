import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { commandEnvironment, localRunner } from '../../../src/pilot/lrm/runner.ts';
import { sshRunner } from '../../../src/pilot/lrm/runner-ssh.ts';
import { realClock } from '../../../src/platform/real.ts';
import { sshdSet } from '../../fixtures/sshd.ts';
import { hasPart } from '../../parts.ts';
import { testContext } from '../../support/context.ts';
import { processesWith } from '../../support/processes.ts';

const dir = mkdtempSync(join(tmpdir(), 'lrm-runner-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const here = localRunner(realClock, commandEnvironment(process.env));
const gone = (mark: string): Promise<void> => vi.waitFor(() => expect(processesWith(mark)).toEqual([]), { timeout: 60_000 });

describe('commands on this machine', () => {
  test('standard input, both outputs, the exit code', async () => {
    const ran = await here.run(['sh', '-c', 'cat; echo no >&2; exit 3'], { input: 'said\n', timeoutMs: 60_000 });
    expect(ran).toMatchObject({ code: 3, stdout: 'said\n', stderr: 'no\n', failure: null });
  });

  test('words are no shell\'s', async () => {
    expect((await here.run(['printf', '%s|', '$HOME', '`id`', 'a b'], { timeoutMs: 60_000 })).stdout).toBe('$HOME|`id`|a b|');
  });

  test('commands get what they need of the environment, not the rest', () => {
    const kept = commandEnvironment({ PATH: '/bin', SLURM_CONF: '/x', PBS_DEFAULT: 's', NIMBUS_SECRET: 'no', SQUEUE_FORMAT: 'no', PGPASSWORD: 'no', LC_ALL: 'de_DE' });
    expect(kept).toEqual({ PATH: '/bin', SLURM_CONF: '/x', PBS_DEFAULT: 's', LC_ALL: 'C' });
  });

  test('a program that is not there, and input that nobody reads', async () => {
    expect(await here.run(['/no/such/program'], { timeoutMs: 60_000 })).toMatchObject({ code: null, failure: '/no/such/program cannot be run: there is no such program' });
    expect(await here.run(['true'], { input: 'x'.repeat(1_000_000), timeoutMs: 60_000 })).toMatchObject({ code: 0 });
  });

  test('out of time: it and what it started end, even those that ignore SIGTERM', async () => {
    const mark = join(dir, 'late');
    const ran = await here.run(['sh', '-c', 'trap "" TERM; (trap "" TERM; while :; do sleep 0.1; done) & while :; do sleep 0.1; done', mark], { timeoutMs: 300 });
    expect(ran).toMatchObject({ code: null, failure: 'sh did not end within 300 ms' });
    await gone(mark);
  });

  test('endless output has an end', async () => {
    const ran = await here.run(['sh', '-c', 'yes job', join(dir, 'endless')], { timeoutMs: 60_000 });
    expect(ran).toMatchObject({ code: null, failure: 'sh said more than 64 MiB' });
    await gone(join(dir, 'endless'));
  });

  test('endless complaints are cut', async () => {
    const ran = await here.run(['sh', '-c', 'yes error | head -c 1000000 >&2; exit 1'], { timeoutMs: 30_000 });
    expect(ran.code).toBe(1);
    expect(ran.stderr.length).toBe(64 * 1024);
  });

  test('somebody who holds the output open is not waited for', async () => {
    const mark = join(dir, 'holder');
    const ran = await here.run(['sh', '-c', `sh -c 'while :; do sleep 0.1; done' ${mark} & echo done`], { timeoutMs: 30_000 });
    expect(ran).toMatchObject({ code: 0, stdout: 'done\n' });
    await gone(mark);
  });
});

describe.skipIf(!hasPart('root'))('a command that has become another account, as sudo does', () => {
  test('may not be signalled: it is given up, and left alone', async () => {
    const mark = join(dir, 'another');
    // It says too much, and hangs: by then it is the other account.
    const hangs = 'head -c 70000000 /dev/zero; exec tail -f /dev/null "$0"';
    process.seteuid?.(61_234);
    try {
      const ran = await here.run(['setpriv', '--reuid', '0', 'setpriv', '--reuid', '61235', '--clear-groups', 'sh', '-c', hangs, mark], { timeoutMs: 60_000 });
      expect(ran).toMatchObject({ code: null, failure: 'setpriv said more than 64 MiB' });
      expect(processesWith(mark)).not.toEqual([]);
    } finally {
      process.seteuid?.(0);
      for (const { pid } of processesWith(mark)) process.kill(pid, 'SIGKILL');
    }
    await gone(mark);
  });
});

describe.skipIf(!hasPart('sshd'))('commands on a login node', () => {
  test('one connection serves many commands, is opened again, and has one key', async () => {
    const set = sshdSet();
    try {
      const sshd = await set.make();
      const key = set.key('service');
      const { writeFileSync } = await import('node:fs');
      writeFileSync(sshd.authorizedKeys, `${key.publicLine}\n`, { mode: 0o600 });
      const node = { host: sshd.host, port: sshd.port, user: sshd.user, keyFile: key.privateFile, hostKey: `login.example ${sshd.hostKey} comment` };
      const runner = sshRunner(testContext(), node);
      try {
        const many = await Promise.all(Array.from({ length: 20 }, (_, i) => runner.run(['sh', '-c', 'cat; echo "$0" >&2; exit 4', `it's ${i} $HOME`], { input: `in ${i}\n`, timeoutMs: 30_000 })));
        expect(many.map((r) => [r.code, r.stdout, r.stderr, r.failure])).toEqual(many.map((_, i) => [4, `in ${i}\n`, `it's ${i} $HOME\n`, null]));

        expect(await runner.run(['/no/such/program'], { timeoutMs: 60_000 })).toMatchObject({ code: 127, failure: null });

        const mark = join(dir, 'remote');
        expect(await runner.run(['sh', '-c', 'while :; do sleep 0.1; done', mark], { timeoutMs: 1_500 })).toMatchObject({ code: null });
        await gone(mark);

        await sshd.stop();
        expect(await runner.run(['true'], { timeoutMs: 60_000 })).toMatchObject({ code: null, failure: expect.stringContaining(`${sshd.user}@127.0.0.1`) });
        await sshd.start();
        expect(await runner.run(['echo', 'again'], { timeoutMs: 60_000 })).toMatchObject({ code: 0, stdout: 'again\n' });
      } finally {
        runner.close();
      }
      const other = sshRunner(testContext(), { ...node, hostKey: readFileSync(`${key.privateFile}.pub`, 'utf8') });
      expect(await other.run(['true'], { timeoutMs: 60_000 })).toMatchObject({ code: null, failure: expect.stringContaining('host key changed') });
      other.close();
      expect(() => sshRunner(testContext(), { ...node, hostKey: '' })).toThrow(/login_node\.host_key.*ssh-keyscan/);
    } finally {
      await set.close();
    }
  });
});
