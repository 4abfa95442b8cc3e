/** Nodes that leave, and events that are followed, by the commands as they are typed, against a running service. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { processesWith } from '../support/processes.ts';
import { askAs, newUser, type Keys } from '../support/query.ts';
import { NIMBUS, startServe, type Serve } from '../support/serve.ts';

const SITE = '[simulated]\nstart_ms = 0\nstop_ms = 0\n' + ['n1', 'n2', 'n3'].map((n) => `[[local_nodes]]\nname = "${n}"\nzone = "${n}"\ndriver = "simulated"\nmemory_mb = 1024\ncores = 8\n`).join('');
const run = promisify(execFile);

let serve: Serve;
let keys: Keys;
beforeAll(async () => {
  serve = await startServe(SITE);
  keys = await newUser(serve, 'alice');
});
afterAll(async () => { expect(await serve?.stop()).toBe(0); });

interface Ran { code: number; stdout: string; stderr: string }
async function nimbus(...args: string[]): Promise<Ran> {
  return run(process.execPath, [NIMBUS, ...args, '--data', serve.dataDir], { env: { ...process.env, COLUMNS: '80' } })
    .then((r) => ({ code: 0, ...r }), (e: unknown) => e as Ran);
}
const state = async (id: string): Promise<string> => (await serve.admin<{ state: string }>('lease', 'show', id)).state;
const becomes = (id: string, what: string): Promise<void> => vi.waitFor(async () => expect(await state(id)).toBe(what), { timeout: 60_000 });

async function lease(zone: string): Promise<string> {
  const { body } = await askAs(serve, keys)({ 'Action': 'RunInstances', 'ImageId': 'nimbus-guest', 'MinCount': '1', 'MaxCount': '1', 'Placement.AvailabilityZone': zone });
  const id = /<instanceId>([^<]+)/.exec(body)?.[1] ?? '';
  await becomes(id, 'Running');
  return id;
}

describe('nodes that leave', () => {
  it('drain --wait ends when they are empty, and says of each what keeps it; nobody stops the others', async () => {
    const id = await lease('n1');
    expect(await nimbus('node', 'drain', 'n1', 'nowhere', 'n2', '--wait', '--timeout', '1s')).toMatchObject({
      code: 1,
      stdout: 'n2 takes no new leases; it holds none\n',
      stderr: `n1: it still holds 1 lease (StillInUse)\n  lease ${id} of alice is Running\n\nnowhere: No VMM node is named nowhere (NodeNotFound)\n\n`.replaceAll('\n\n', '\n'),
    });
    const waiting = nimbus('node', 'drain', 'n1', '--wait', '--timeout', '1m', '--json');
    await serve.admin('lease', 'destroy', id);
    const { code, stdout } = await waiting;
    expect({ code, report: JSON.parse(stdout) as unknown }).toMatchObject({ code: 0, report: [{ item: 'n1', ok: true, result: { name: 'n1', active: false, leases: 0 } }] });
    await serve.admin('node', 'activate', 'n1', 'n2');
  });

  it('remove refuses while leases live, unless told to end them', async () => {
    const id = await lease('n3');
    expect(await nimbus('node', 'remove', 'n3', 'nowhere')).toMatchObject({
      code: 1, stdout: '', stderr: expect.stringMatching(`^n3: VMM node n3 holds leases.* \\(NodeInUse\\)\n  lease ${id} is on it\nnowhere: .*\\(NodeNotFound\\)\n$`) as string,
    });
    expect(await state(id)).toBe('Running');
    expect(await nimbus('node', 'remove', 'n3', '--end-leases', '--why', 'rack 2 goes')).toMatchObject({ code: 0, stdout: 'n3 was removed\n', stderr: '' });
    const shown = await serve.admin<{ state: string; events: Array<{ who: string; why: string; trigger: string }> }>('lease', 'show', id);
    expect(shown).toMatchObject({ state: 'Terminated', events: expect.arrayContaining([expect.objectContaining({ trigger: 'end', who: 'admin', why: 'rack 2 goes' })]) as unknown });
    expect((await serve.admin<Array<{ name: string }>>('node', 'list')).map((n) => n.name)).toEqual(['n1', 'n2']);
  });
});

it('lease show tells who, what, why and when, and where the time went, in 80 columns', async () => {
  const id = await lease('n1');
  await nimbus('lease', 'destroy', id, '--why', 'a reason that is longer than what is left of a line of eighty columns in a table');
  await becomes(id, 'Terminated');
  const { stdout } = await nimbus('lease', 'show', id);
  expect(stdout).toMatch(/AFTER s {2}STATE +EVENT +WHO +WHY\n +0\.000 {2}Unpropagated +created +alice\n[^]*Terminated +ended +node n1\n/);
  expect(stdout.replace(/\n {20,}/g, ' ')).toMatch(/admin +a reason that is longer than what is left of a line of eighty columns in a table\n/);
  expect(stdout).toMatch(/^created   \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z$/m);
  expect(stdout).toMatch(/\nSTEP +ms +WHAT\nproc +\d[^]*total +\d/);
  expect(Math.max(...stdout.split('\n').map((l) => [...l].length))).toBeLessThanOrEqual(80);
});

describe('events', () => {
  it('in a table that fits, chosen by lease', async () => {
    const id = await lease('n2');
    const { code, stdout } = await nimbus('events', '--lease', id);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^TIME UTC +LEASE +STATE +EVENT +WHO: WHY\n\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d ${id} +Unpropagated +created +alice\n`));
    expect(Math.max(...stdout.split('\n').map((l) => [...l].length))).toBeLessThanOrEqual(80);
    await serve.admin('lease', 'destroy', id);
  });

  it('followed as JSON lines, across a restart of the service: none missed, none twice', async () => {
    const child = spawn(process.execPath, [NIMBUS, 'events', '--follow', '--json', '--last', '0', '--data', serve.dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
    const seen: Array<{ cursor: string; lease: string; to: string }> = [];
    createInterface({ input: child.stdout }).on('line', (l) => seen.push(JSON.parse(l) as (typeof seen)[number]));
    try {
      // What is made before the command has asked where to begin is the past.
      let first = '';
      await vi.waitFor(async () => {
        if (seen.length === 0) first = await lease('n2');
        expect(seen.map((e) => e.lease)).toContain(first);
      }, { timeout: 60_000 });
      await serve.stop({ keep: true });
      serve = await startServe(SITE.replace(/\[\[local_nodes\]\]\nname = "n3"[^]*/, ''), serve.root);
      const second = await lease('n2');
      await serve.admin('lease', 'destroy', second);
      await vi.waitFor(() => expect(seen.filter((e) => e.lease === second).at(-1)?.to).toBe('Terminated'), { timeout: 60_000 });
      expect(seen.filter((e) => e.lease === second).map((e) => e.to)[0]).toBe('Unpropagated');
      expect(new Set(seen.map((e) => e.cursor)).size).toBe(seen.length);
      const { events } = await serve.admin<{ events: unknown[] }>('lease', 'show', second);
      expect(seen.filter((e) => e.lease === second)).toHaveLength(events.length);
    } finally {
      child.kill('SIGINT');
      await once(child, 'exit');
    }
  });
});

describe('doctor', () => {
  const findings = async (...args: string[]): Promise<{ code: number; found: Array<{ check: string; level: string; what: string }> }> => {
    const { code, stdout } = await nimbus('doctor', '--json', ...args);
    return { code, found: JSON.parse(stdout) as Array<{ check: string; level: string; what: string }> };
  };
  const about = (found: ReadonlyArray<{ check: string; level: string; what: string }>, check: string): string[] => found.filter((f) => f.check === check).map((f) => `${f.level}: ${f.what}`);

  it('looks at a service that runs, at what was planted in it, and at the same with the service down', async () => {
    expect((await findings()).code).toBe(0);
    const file = join(serve.dataDir, 'images', 'common');
    const [image = ''] = readdirSync(file);
    renameSync(join(file, image), join(serve.root, image));
    const running = await findings();
    expect([running.code, about(running.found, 'image directory')]).toEqual([1, [expect.stringMatching(/^fail: nimbus-guest \(ami-[0-9a-f]+\): its file is missing$/)]]);
    expect(about(running.found, 'VMM nodes')).toEqual(['ok: 2 of 2 answer']);
    const text = await nimbus('doctor');
    expect(Math.max(...text.stdout.split('\n').map((l) => [...l].length))).toBeLessThanOrEqual(80);

    expect(await serve.stop({ keep: true })).toBe(0);
    const down = await findings('--config', join(serve.root, 'nimbus.toml'));
    expect(down.code).toBe(1);
    expect(about(down.found, 'service')).toEqual([expect.stringMatching(/^warn: no service answers/)]);
    for (const check of ['schema', 'image directory', 'pools', 'VMM nodes', 'agents']) expect(about(down.found, check)).toEqual(about(running.found, check));
    // What it opened is closed: nothing of it runs, and the service can start.
    await vi.waitFor(() => expect(processesWith(serve.dataDir)).toEqual([]), { timeout: 60_000 });
    renameSync(join(serve.root, image), join(file, image));
    serve = await startServe(SITE.replace(/\[\[local_nodes\]\]\nname = "n3"[^]*/, ''), serve.root);
    expect((await findings()).code).toBe(0);
  });
});
