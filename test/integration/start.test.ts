/** Starts that fail: the administrator reads what is wrong, and nothing is left but the data directory. And the ready file. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasPart } from '../parts.ts';
import { connectPrivate } from '../support/contents.ts';
import { onHungFileSystem } from '../support/hung-file-system.ts';
import { processesWith, signal } from '../support/processes.ts';
import { NIMBUS, startServe, type Serve } from '../support/serve.ts';

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'start-')); });
afterEach(() => { rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }); });

function serve(toml: string, ready = join(root, 'ready.json')): { status: number | null; said: string } {
  writeFileSync(join(root, 'nimbus.toml'), `${toml.includes('[ec2]') ? '' : '[ec2]\nlisten = "127.0.0.1:0"\n'}${toml}\n${toml.includes('[monitoring]') ? '' : '[monitoring]\nlisten = "127.0.0.1:0"\n'}[log]\nfile = ${JSON.stringify(join(root, 'service.log'))}\n`);
  const { status, stderr } = spawnSync(process.execPath, [NIMBUS, 'serve', '--config', join(root, 'nimbus.toml'), '--data', join(root, 'data'), '--ready-file', ready],
    { encoding: 'utf8', timeout: 120_000, env: { ...process.env, TMPDIR: root } });
  return { status, said: stderr };
}

function expectFailed(result: { status: number | null; said: string }, words: RegExp): void {
  expect(result.said).toMatch(/^nimbus: [^\n]+\n$/);
  expect(result.said).toMatch(words);
  expect(result.status).toBe(2);
  expect(processesWith(root)).toEqual([]);
  expect(readdirSync(root).filter((f) => !['data', 'nimbus.toml', 'service.log'].includes(f))).toEqual([]);
  if (existsSync(join(root, 'data/run'))) expect(readdirSync(join(root, 'data/run'), { recursive: true })).toEqual(['pg'].filter((d) => existsSync(join(root, 'data/run', d))));
}

describe('a start that fails', { timeout: 600_000 }, () => {
  it('because another program has the port', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    try {
      expectFailed(serve(`[ec2]\nlisten = "127.0.0.1:${port}"`), new RegExp(`ec2\\.listen = "127\\.0\\.0\\.1:${port}"\\): another program has this address and port`));
    } finally {
      other.close();
    }
  });

  it('because of the TLS files', () => {
    expect(serve('[ec2]\nlisten = "127.0.0.1:0"\ntls_certificate = "/nowhere.pem"\ntls_key = "/nowhere.pem"')).toEqual({
      status: 2, said: expect.stringMatching(/nimbus\.toml: 2 mistakes\n {2}ec2\.tls_certificate: "\/nowhere\.pem" must be a file that the service can read: no such file or directory\n {2}ec2\.tls_key: .*\n$/) as string,
    });
    writeFileSync(join(root, 'nimbus.toml.pem'), 'no certificate');
    const file = JSON.stringify(join(root, 'nimbus.toml.pem'));
    const result = serve(`[ec2]\nlisten = "127.0.0.1:0"\ntls_certificate = ${file}\ntls_key = ${file}`);
    expect(result).toEqual({ status: 2, said: expect.stringMatching(/ 2 mistakes\n {2}ec2\.tls_certificate: .* must be a certificate in PEM: .*\n {2}ec2\.tls_key: .* must be a private key in PEM/) });
    rmSync(join(root, 'nimbus.toml.pem'));
  });

  it('because no database answers, whose password is not told', () => {
    const result = serve('[database]\nurl = "postgres://nimbus:sEcReT@127.0.0.1:1/nimbus"');
    expectFailed(result, /database\.url names cannot be used: nothing answers there/);
    expect(result.said).not.toContain('sEcReT');
  });

  it('because there is no PostgreSQL', () => {
    expect(serve('[database]\nbin = "/nowhere"')).toEqual({ status: 2, said: expect.stringMatching(/one mistake\n {2}database\.bin: "\/nowhere" must be a directory with the programs postgres and initdb: no such file or directory\n$/) });
    for (const program of ['postgres', 'initdb']) writeFileSync(join(root, program), '#!/bin/sh\necho "postgres (PostgreSQL) 9.6.1"\n', { mode: 0o755 });
    const result = serve(`[database]\nbin = ${JSON.stringify(root)}`);
    for (const program of ['postgres', 'initdb']) rmSync(join(root, program));
    expectFailed(result, /needs PostgreSQL 13 or newer; tried: /);
  });

  it('because of directories that cannot be used, each with its key', () => {
    const said = (key: string, why: string): object => ({ status: 2, said: expect.stringMatching(new RegExp(`nimbus\\.toml: one mistake\\n {2}${key}: .*: ${why}\\n$`)) });
    writeFileSync(join(root, 'file'), '');
    expect(serve(`[images]\ndirectory = "${root}/file/images"`)).toEqual(said('images\\.directory', 'a part of the path is no directory'));
    // Node’s own way to make directories would never come to an end there.
    expect(serve('[images]\ndirectory = "/proc/nope"')).toEqual(said('images\\.directory', '(no such file or directory|permission denied)'));
    expect(processesWith(root)).toEqual([]);
  });

  it('because of what lies in the image directory', () => {
    const images = mkdtempSync(join(tmpdir(), 'start-images-'));
    try {
      writeFileSync(join(images, 'common'), '');
      expectFailed(serve(`[images]\ndirectory = ${JSON.stringify(images)}`), /images\.directory = ".*" cannot be used: (a file of that name is in the way|a part of the path is no directory) \(.*common/);
    } finally {
      rmSync(images, { recursive: true });
    }
  });

  it('because of a data directory where nobody can make one', () => {
    const { status, stderr } = spawnSync(process.execPath, [NIMBUS, 'serve', '--data', '/proc/nope/data'], { encoding: 'utf8', timeout: 240_000 });
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringMatching(/^nimbus: the data directory \/proc\/nope\/data cannot be used: (no such file or directory|permission denied)\n$/) });
  });

  it.each([
    ['an authority', NIMBUS, ['ca', 'init', '--dir', '/proc/nope/ca', '--name', '/O=Grid/CN=Test CA'], 1],
    ['an agent', join(NIMBUS, '../../dist/workspace-control.cjs'), ['status', '--state', '/proc/nope/state'], 3],
  ])('because of a directory that nobody can make: of %s', (_, program, argv, code) => {
    // Node’s own way to make directories would never come to an end there.
    const { status, stderr } = spawnSync(process.execPath, [program, ...argv], { encoding: 'utf8', timeout: 240_000 });
    expect({ status, stderr }).toEqual({ status: code, stderr: expect.stringMatching(/\/proc\/nope\/[\w/]+ cannot be made: .*(no such file or directory|permission denied)/) });
  });

  it('because the ready file cannot be written', () => {
    expectFailed(serve('', join(root, 'nowhere/ready.json')), /ready file .* cannot be written: no such file/);
  });
});

/** A service that is on its way, and how it ended. */
function starting(toml: string, data = join(root, 'data')): { child: ChildProcess; said: () => string; ended: Promise<unknown> } {
  const config = join(root, `${basename(data)}.toml`);
  writeFileSync(config, `[ec2]\nlisten = "127.0.0.1:0"\n[monitoring]\nlisten = "127.0.0.1:0"\n${toml}\n`);
  const child = spawn(process.execPath, [NIMBUS, 'serve', '--config', config, '--data', data], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, TMPDIR: root } });
  let said = '';
  child.stderr.on('data', (text: Buffer) => { said += text.toString(); });
  return { child, said: () => said, ended: once(child, 'close') };
}

describe.skipIf(!hasPart('fuse'))('a start on a file system that does not answer', { timeout: 600_000 }, () => {
  it('is given up with the key of the directory: the data directory, one in it, that of images, that of the log', async () => {
    const hung = join(root, 'hung');
    mkdirSync(join(root, 'data3'));
    symlinkSync(hung, join(root, 'data3/nodes'));
    await onHungFileSystem(hung, async () => {
      await Promise.all([
        ['the data directory --data', `${hung}/data`, `${hung}/data`, ''],
        ['the directory nodes in --data', `${root}/data3/nodes`, join(root, 'data3'), ''],
        ['images.directory', `${hung}/images`, join(root, 'data1'), `[images]\ndirectory = "${hung}/images"`],
        ['log.file', `${hung}/log/service.log`, join(root, 'data2'), `[log]\nfile = "${hung}/log/service.log"`],
      ].map(async ([what = '', path = '', data, toml = '']) => {
        const { child, said, ended } = starting(toml, data);
        await ended;
        expect([child.exitCode, said()]).toEqual([2, `nimbus: ${what} = "${path}" does not answer: its file system has let 20 s pass; see that it can be listed (is its server there?), then start again\n`]);
      }));
      // Whoever hangs in a call goes a moment after it was killed.
      await expect.poll(() => processesWith(root), { message: 'what asked has gone with it', timeout: 60_000 }).toEqual([]);
    });
  });

  it('goes on without the local node whose directory it is, which comes when it answers; and ends when it is told to', async () => {
    for (const dir of ['data/keys', 'data/nodes']) mkdirSync(join(root, dir), { recursive: true, mode: 0o700 });
    const nodes = '[[local_nodes]]\nname = "here"\ndriver = "simulated"\n[[local_nodes]]\nname = "away"\ndriver = "simulated"\n';
    const seen = async (service: Serve): Promise<Record<string, unknown>> =>
      Object.fromEntries((await service.admin<Array<{ name: string; reachable: boolean; lastError: string | null }>>('node', 'list')).map((n) => [n.name, n.reachable ? 'up' : n.lastError]));
    const away = join(root, 'data/nodes/away');
    try {
      await onHungFileSystem(away, async () => {
        const service = await startServe(nodes, root, [], true);
        // What a node that was not heard of says may be written just after the start.
        await expect.poll(() => seen(service), { interval: 100, timeout: 60_000 }).toEqual({ here: 'up', away: `the file system of ${away} does not answer; see that it can be listed (is its server there?)` });
        expect(await service.stop({ keep: true })).toBe(0);
        await expect.poll(() => processesWith(root), { timeout: 60_000 }).toEqual([]);
        const again = await startServe(nodes, root, [], true);
        spawnSync('umount', ['--lazy', away]);
        await expect.poll(() => seen(again), { interval: 100, timeout: 120_000 }).toEqual({ here: 'up', away: 'up' });
        expect(await again.stop({ keep: true })).toBe(0);
      });
    } finally {
      for (const { pid } of processesWith(root)) signal(pid, 'SIGKILL');
    }
  });

  it('ends when it is told to', async () => {
    const hung = join(root, 'hung');
    await onHungFileSystem(hung, async () => {
      const { child, said, ended } = starting(`[images]\ndirectory = "${hung}/images"`);
      await expect.poll(() => processesWith(root).length, { interval: 20 }).toBe(2);
      child.kill('SIGTERM');
      await ended;
      expect([child.exitCode, said()]).toEqual([0, '']);
      await expect.poll(() => processesWith(root), { timeout: 60_000 }).toEqual([]);
    });
  });
});

/** Services that have said in the private database that they are there. */
async function joined(dataDir: string): Promise<number> {
  const client = await connectPrivate(dataDir);
  try {
    return (await client.query<{ n: number }>('SELECT count(*)::int AS n FROM process')).rows[0]?.n ?? 0;
  } finally {
    await client.end();
  }
}

it('a start whose image directory stops answering in the middle ends when it is told to, and leaves nothing', { timeout: 600_000 }, async () => {
  const images = join(root, 'images');
  mkdirSync(images);
  // Who reads it waits for somebody to write.
  spawnSync('mkfifo', [join(images, '.repository')]);
  const { child, said, ended } = starting(`[images]\ndirectory = "${images}"`);
  await expect.poll(said, { timeout: 120_000 }).toContain('"PostgreSQL runs"');
  // It has its schema and has joined: next is the directory. Before that, a slow machine could let it end in time.
  await expect.poll(() => joined(join(root, 'data')).catch(() => 0), { timeout: 60_000 }).toBe(1);
  child.kill('SIGTERM');
  await ended;
  expect([child.exitCode, child.signalCode]).toEqual([null, 'SIGTERM']);
  expect(said()).toContain('"PostgreSQL has ended"');
  expect(processesWith(root)).toEqual([]);
});

describe('the ready file', { timeout: 600_000 }, () => {
  it('of a service that was killed goes before the next one answers, and goes with the service', async () => {
    const first = await startServe('', root);
    await first.kill();
    expect(existsSync(join(root, 'ready.json'))).toBe(true);
    expect(serve('[ec2]\nlisten = "192.0.2.1:1"')).toEqual({ status: 2, said: expect.stringContaining('this machine has no such address') });
    expect(existsSync(join(root, 'ready.json'))).toBe(false);
    const second = await startServe('', root);
    expect(existsSync(join(root, 'ready.json'))).toBe(true);
    expect(await second.stop({ keep: true })).toBe(0);
    expect(existsSync(join(root, 'ready.json'))).toBe(false);
  });
});

it('a service that hangs is told within seconds, and goes on when it can', { timeout: 600_000 }, async () => {
  const service = await startServe('local_nodes = []', root);
  try {
    process.kill(service.pid, 'SIGSTOP');
    for (const command of ['status', 'doctor']) {
      const { status, stdout, stderr } = spawnSync(process.execPath, [NIMBUS, command, '--data', service.dataDir], { encoding: 'utf8', timeout: 240_000 });
      expect({ status, stdout, stderr }).toEqual({
        status: 3, stdout: '', stderr: 'nimbus: the service takes connections and does not answer: no sign of life within 8 seconds; look at its log, or end it and start it again (VMs run on)\n',
      });
    }
    process.kill(service.pid, 'SIGCONT');
    expect(await service.admin('status')).toMatchObject({ pid: service.pid });
  } finally {
    process.kill(service.pid, 'SIGCONT');
    expect(await service.stop({ keep: true })).toBe(0);
  }
});
