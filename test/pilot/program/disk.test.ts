/** Disks that are full, and logs that somebody else has prepared. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { realClock } from '../../../src/control/agent/clock.ts';
import { openLog } from '../../../src/pilot/program/log.ts';
import { hasPart } from '../../parts.ts';
import { Node, SLOT, bundlePilot } from './pilot.ts';
import { Service } from './service.ts';

const scratch = mkdtempSync(join(tmpdir(), 'pilot-bundle-'));
let program = '';
beforeAll(async () => { program = await bundlePilot(scratch); });
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let node: Node;
beforeEach(() => { node = new Node(program); });
afterEach(() => node.remove());

describe.skipIf(!hasPart('mounts'))('a full disk', () => {
  const mounts: string[] = [];
  const tiny = (): string => {
    const dir = join(node.root, `tiny${mounts.length}`);
    mkdirSync(dir);
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', dir]).status).toBe(0);
    mounts.push(dir);
    return dir;
  };
  const fill = (dir: string): void => {
    for (let i = 0; ; i += 1) {
      try {
        writeFileSync(join(dir, `fill${i}`), 'x'.repeat(4096));
      } catch {
        return;
      }
    }
  };
  afterEach(async () => {
    await Promise.all(node.pilots.map((p) => p.kill()));
    for (const dir of mounts.splice(0)) spawnSync('umount', [dir]);
  });

  it('for the log: the pilot does its work and says once what is wrong', async () => {
    const logs = tiny();
    fill(logs);
    const service = new Service(SLOT);
    await service.start();
    const pilot = node.reserve({ credentials: service.credentials, config: { logging: { logfiledir: logs } } });
    await pilot.says('the service knows');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
    expect(pilot.stderr.match(/cannot be written/g)).toHaveLength(1);
    await service.stop();
  });

  it('for the state, filled while the node is in use: everything is given back', async () => {
    const base = tiny();
    const service = new Service(SLOT);
    await service.start();
    const pilot = node.reserve({ credentials: service.credentials, grace: 60, config: { other: { statedir: base } } });
    await pilot.says('the service knows');
    fill(base);
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
    expect(existsSync(join(base, `${SLOT}.node7`))).toBe(false);
    await service.stop();
  });

  it('for the state, from the beginning: refused, and the service knows why', async () => {
    const base = tiny();
    fill(base);
    const service = new Service(SLOT);
    await service.start();
    const pilot = node.reserve({ credentials: service.credentials, config: { other: { statedir: base } } });
    expect(await pilot.ended).not.toBe(0);
    expect((await service.message('reserved')).code).not.toBe(0);
    expect((await service.message('reserved')).text).toMatch(/ENOSPC|space/i);
    await service.stop();
  });
});

describe('the log', () => {
  const open = (complaints: string[] = []): ReturnType<typeof openLog> => openLog({
    clock: realClock, level: 'info', logging: { dir: node.logs, prefix: 'p-' }, name: 'x', host: 'node7', out: null, complain: (s) => complaints.push(s),
  });

  it('is bounded', () => {
    const log = open();
    for (let i = 0; i < 5000; i += 1) log.info('a line', { i, filler: 'x'.repeat(600) });
    const sizes = ['p-x.node7.txt', 'p-x.node7.txt.1'].map((f) => statSync(join(node.logs, f)).size);
    expect(Math.max(...sizes)).toBeLessThan(600 * 1024);
    expect(readFileSync(join(node.logs, 'p-x.node7.txt'), 'utf8')).toContain('i=4999');
  });

  it('is one line an entry, whatever is in it', () => {
    open().info('name', { text: 'a\nFORGED line\r\x1b[2J' });
    open().error('two\nlines');
    const lines = readFileSync(join(node.logs, 'p-x.node7.txt'), 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines.join('')).not.toMatch(/[\x00-\x1f]/);
  });

  it('follows no link that lies in its place', () => {
    const victim = join(node.root, 'victim');
    writeFileSync(victim, 'mine');
    symlinkSync(victim, join(node.logs, 'p-x.node7.txt'));
    const complaints: string[] = [];
    open(complaints).info('hello');
    expect(readFileSync(victim, 'utf8')).toBe('mine');
    expect(complaints).toHaveLength(1);
  });
});
