/** The commands as an administrator types them, with and without an agent that serves the directory. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hasPart } from '../../parts.ts';
import { guestImage } from '../../../src/images/builtin/guest.ts';
import { Agent, bundle, killAgents, serveArgs } from './program.ts';
import { makeImage, scratch } from './rig.ts';

let programs: ReturnType<typeof scratch>;
let tmp: ReturnType<typeof scratch>;
let program = '';
let state = '';
beforeAll(async () => {
  programs = scratch();
  program = await bundle(programs.dir);
});
afterAll(() => programs.remove());
beforeEach(() => {
  tmp = scratch();
  state = join(tmp.dir, 'state');
});
afterEach(async () => {
  await killAgents();
  tmp.remove();
});

async function run(args: string[], driver = 'simulated'): Promise<{ code: number | string; out: string; err: string }> {
  const config = join(tmp.dir, 'config.json');
  writeFileSync(config, JSON.stringify({ simulated: { startMs: 0, stopMs: 0 } }));
  const child = new Agent(program, [...args, '--state', state, '--driver', driver, '--config', config]);
  return { code: await child.ended, out: child.output, err: child.stderr };
}
const json = async (args: string[]): Promise<unknown> => JSON.parse((await run([...args, '--json'])).out);

describe('by hand, with no agent there', () => {
  it('a VM lives from create to remove', async () => {
    const image = makeImage(tmp.dir);
    expect(await run(['create', '--name', 'web', '--memory', '128', '--image', image.path])).toMatchObject({
      code: 0, err: '', out: expect.stringMatching(/^web is running: generation 1, 128 MB, 1 core, image /),
    });
    expect(await json(['info', 'web'])).toMatchObject({ vm: { lease: 'web', state: 'running', generation: 1, memoryMb: 128 } });
    expect(await json(['pause', 'web'])).toMatchObject({ vm: { state: 'paused' } });
    expect(await json(['unpause', 'web'])).toMatchObject({ vm: { state: 'running' } });
    expect((await run(['reboot', 'web'])).code).toBe(0);
    expect((await run(['console', 'web'])).out).toContain('nimbus-workspace guest web');
    expect((await run(['list'])).out).toMatch(/^NAME +STATE.*\nweb +running +1 +128 +1 /);
    expect(await json(['remove', 'web'])).toMatchObject({ vm: { state: 'removed' } });
    expect(await json(['list'])).toEqual({ vms: [] });
    expect(await run(['create', 'web', '--memory', '1', '--image', image.path, '--generation', '0'])).toMatchObject({ code: 4, err: expect.stringContaining('StaleGeneration') });
    expect(await json(['create', 'web', '--memory', '1', '--image', image.path])).toMatchObject({ vm: { generation: 2 } });
  });

  it('propagates and unpropagates', async () => {
    const image = makeImage(tmp.dir);
    expect(await json(['propagate', 'web', '--memory', '1', '--image', image.path])).toMatchObject({ vm: { state: 'propagated' } });
    expect(await json(['unpropagate', 'web'])).toMatchObject({ vm: { state: 'removed' } });
  });

  it('says what is wrong, with the exit codes of the original', async () => {
    expect(await run(['reboot', 'nothing'])).toMatchObject({ code: 4, err: expect.stringContaining('NoSuchVm') });
    expect(await json(['info', 'nobody'])).toEqual({ error: { code: 'NoSuchVm', message: expect.any(String) } });
    expect(await run(['dance'])).toMatchObject({ code: 1, err: expect.stringContaining('unknown command dance') });
    expect(await run(['info'])).toMatchObject({ code: 1, err: expect.stringContaining('--name') });
    expect(await run(['info', '../x'])).toMatchObject({ code: 1, err: expect.stringContaining('lease') });
    expect(await run(['create', 'web', '--memory', 'much', '--image', 'x'])).toMatchObject({ code: 1, err: expect.stringContaining('--memory') });
    expect(await run(['create', 'web', '--memory', '1', '--image', '/nonexistent'])).toMatchObject({ code: 1, err: expect.stringContaining('/nonexistent') });
    expect(await run(['list', '--colour'])).toMatchObject({ code: 1 });
    state = join(tmp.dir, 'config.json', 'below a file');
    expect(await run(['list'])).toMatchObject({ code: 3 });
  });

  it('explains itself', async () => {
    const help = await run(['help']);
    expect(help).toMatchObject({ code: 0, err: '' });
    for (const word of ['create', 'propagate', 'unpropagate', 'remove', 'info', 'list', 'pause', 'unpause', 'reboot', 'console', 'status', 'serve', 'Examples:']) expect(help.out).toContain(word);
    expect((await run(['version'])).out).toBe('1.0.0\n');
  });
});

describe('by hand, beside a service', () => {
  it('passes through the agent that serves, and leaves it alone', async () => {
    const agent = new Agent(program, serveArgs(state));
    await agent.open();
    const image = makeImage(tmp.dir);
    expect((await run(['create', 'web', '--memory', '64', '--image', image.path])).code).toBe(0);
    const list = await agent.ask({ op: 'list', id: 'l', deadlineMs: 60_000 });
    expect(list).toMatchObject({ ok: true, result: { vms: [{ lease: 'web', state: 'running' }] } });
    expect(await agent.leave()).toBe(0);
  });

  it('an agent that hangs is named, with how to end it, to commands and to services', async () => {
    const agent = new Agent(program, serveArgs(state));
    await agent.open();
    agent.child.kill('SIGSTOP');
    const said = expect.stringMatching(new RegExp(`the agent that holds .*state \\(pid ${agent.child.pid}\\) has said nothing for 5 s; if it hangs, end it, VMs run on: kill -9 ${agent.child.pid}\n`)) as string;
    const other = new Agent(program, serveArgs(state));
    expect(await run(['list'])).toMatchObject({ code: 3, err: said });
    expect([await other.ended, other.stderr]).toEqual([3, said]);
    await agent.kill();
    expect((await run(['list'])).code).toBe(0);
  }, 60_000);

  it('a socket that was removed under an agent is there again', async () => {
    const agent = new Agent(program, serveArgs(state));
    await agent.open();
    rmSync(join(state, 'agent.sock'));
    expect(await run(['list'])).toMatchObject({ code: 0 });
    await expect.poll(() => statSync(join(state, 'agent.sock')).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(state, 'agent.log'), 'utf8')).toContain('the socket was removed, and is there again');
    expect(await agent.leave()).toBe(0);
  });
});

/** Empty when the process has ended, also when its new parent has not noticed yet. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

describe.skipIf(!hasPart('qemu'))('by hand, with QEMU', () => {
  it('a real VM outlives every command and ends with remove', async () => {
    const image = join(tmp.dir, 'guest.img');
    writeFileSync(image, guestImage());
    const qemu = async (...args: string[]): Promise<string> => {
      const { code, out, err } = await run([...args, '--json'], 'qemu');
      if (code !== 0) throw new Error(err);
      return out;
    };
    const key = join(tmp.dir, 'key.pub');
    writeFileSync(key, '# mine\nssh-ed25519 AAAA me\n');
    const created = JSON.parse(await qemu('create', 'real', '--memory', '32', '--image', image, '--public-key', key)) as { vm: { pid: number } };
    try {
      expect(readFileSync(join(state, 'vms', 'real', 'seed', 'meta-data'), 'utf8')).toContain('- "ssh-ed25519 AAAA me"');
      await expect.poll(async () => Buffer.from((JSON.parse(await qemu('console', 'real')) as { console: string }).console, 'base64').toString(), { timeout: 60_000 })
        .toContain('nimbus-workspace guest real');
      expect(JSON.parse(await qemu('pause', 'real'))).toMatchObject({ vm: { state: 'paused', pid: created.vm.pid } });
    } finally {
      await qemu('remove', 'real');
    }
    expect(commandOf(created.vm.pid)).not.toContain('qemu');
  });
});

describe('the bundle', () => {
  it('is one file that needs nothing but Node', () => {
    const text = readFileSync(program, 'utf8');
    const needed = [...text.matchAll(/\brequire\("([^"]+)"\)/g)].map((m) => m[1] ?? '');
    expect(needed.length).toBeGreaterThan(5);
    for (const name of needed) expect(name.startsWith('node:') && (builtinModules.includes(name.slice(5)) || name === 'node:sea')).toBe(true);
    expect(text).not.toMatch(/\bimport\(/);
    const elsewhere = spawnSync(process.execPath, [program, 'version'], { cwd: '/', env: {}, encoding: 'utf8' });
    expect(elsewhere).toMatchObject({ status: 0, stdout: '1.0.0\n', stderr: '' });
  });
});
