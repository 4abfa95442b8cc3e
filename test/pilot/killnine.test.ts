/** `--killnine`: everything goes, each guest is reported, and the exit code says when something stayed. */
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { killNine } from '../../src/pilot/program/killnine.ts';
import type { KillReport } from '../../src/pilot/program/killnine.ts';
import { memoryLockName, tryLock } from '../../src/pilot/program/lock.ts';
import { createMechanism } from '../../src/pilot/program/memory/index.ts';
import type { NodeSettings } from '../../src/pilot/program/types.ts';
import * as vms from '../../src/pilot/program/vms.ts';
import { hasPart } from '../parts.ts';
import { afterCalls, FakeXl, settingsIn, testContext as ctx, within } from './memory/fake-xl.ts';
import { endAll, leave, lives, startSleeper, startVm } from './node.ts';

const SLOT = 'sl-0123456789ab';
const TARGET = { mb: 512, beforeMb: 2007, afterMb: 1495 };
let dir: string;
let settings: NodeSettings;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'killnine-'));
  settings = settingsIn(dir, { mechanism: 'xl' });
  // Tests of other files have VMs on this machine at the same time: only those below this test's directory are everyone's here.
  const everyone = vms.listVms;
  vi.spyOn(vms, 'listVms').mockImplementation(async () => (await everyone()).filter((vm) => vm.dir?.startsWith(dir) === true));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await endAll();
});

const kill = (change: Partial<NodeSettings> = {}, signal = within(20_000)): Promise<KillReport> => {
  const own = { ...settings, ...change };
  return killNine({ ctx, settings: own, mechanism: createMechanism(own, ctx) }, signal);
};
const dom0 = (dom0Mb: number | null): Partial<NodeSettings> => ({ xen: { ...settings.xen, dom0Mb } });

describe('kill-nine', () => {
  it('destroys every guest, gives dom0 what it had and removes the slots', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1295, target: 1295 }, guests: [{ id: 4, name: 'a', mb: 400 }, { id: 9, name: 'b', mb: 300 }], scrubMs: 300 });
    await leave(settings.stateBase, SLOT, { mechanism: 'xl', target: TARGET });
    const { done, failures } = await kill();
    expect(failures).toEqual([]);
    expect(done).toEqual(['guest a (4) was ended', 'guest b (9) was ended', 'the host has 2007 MB', `the directory of slot ${SLOT} on node1 was removed`]);
    expect(xl.state()).toMatchObject({ guests: [], dom0: { target: 2007 } });
    expect(readdirSync(settings.stateBase)).toEqual([]);
  });

  it('goes on after one that does not end, and says which stayed and why', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1495, target: 1495 }, totalMb: 4096, guests: [{ id: 4, name: 'a', mb: 100, immortal: true }, { id: 9, name: 'b', mb: 300 }] });
    await leave(settings.stateBase, SLOT, { mechanism: 'xl', target: TARGET });
    const { done, failures } = await kill(dom0(2007));
    expect(failures).toEqual([expect.stringMatching(/^guest a \(4\) is still there: .*libxl: domain 4 does not go away/)]);
    expect(done).toEqual(['guest b (9) was ended', 'the host has 2007 MB']);
    expect(xl.state()).toMatchObject({ guests: [{ id: 4 }], dom0: { target: 2007 } });
    expect(existsSync(join(settings.stateBase, `${SLOT}.node1`))).toBe(true);
  });

  it('gives dom0 all that is free when nobody knows what it had', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1000, target: 1000 }, guests: [{ id: 4, name: 'a', mb: 1000 }] });
    expect((await kill()).failures).toEqual([]);
    expect(xl.state().dom0.target).toBeGreaterThan(1900);
    expect(xl.state().dom0.target).toBeLessThanOrEqual(2048);
  });

  it('does not call a node clean that dom0_mem was not reached on', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1000, target: 1000 }, mbPerSecond: 0 });
    expect((await kill(dom0(2007), afterCalls(xl, 'mem-set', 1))).failures).toEqual([expect.stringContaining('dom0 was not brought back to 2007 MB')]);
  });

  it('says so when the guests cannot be listed', async () => {
    const xl = new FakeXl(dir, { faults: [{ command: 'list', status: 1, words: 'xl: cannot connect' }] });
    const { failures } = await kill(dom0(2007), afterCalls(xl, 'mem-set', 1));
    expect(failures[0]).toContain('xl: cannot connect');
  });

  it('leaves memory alone while another process changes it, and says so', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1495, target: 1495 }, guests: [{ id: 4, name: 'a', mb: 100 }] });
    const lock = await tryLock(memoryLockName(settings.lockFile), 'slot x');
    try {
      expect((await kill(dom0(2007), within(8_000))).failures).toEqual(['the node\'s lock was not free in time; slot x holds it']);
      expect(xl.state()).toMatchObject({ guests: [], dom0: { target: 1495 } });
    } finally {
      await lock?.release();
    }
  });

  it('has nothing to do on a clean node', async () => {
    expect(await kill({ mechanism: 'none' })).toEqual({ done: [], failures: [] });
  });

  it('returns the shares of huge pages, and no pool that is nobody\'s', async () => {
    const pool = join(dir, 'hugepages-2048kB');
    mkdirSync(pool);
    writeFileSync(join(pool, 'nr_hugepages'), '300\n');
    writeFileSync(join(pool, 'free_hugepages'), '300\n');
    const own = { mechanism: 'hugepages', hugepages: { sizeKb: 2048, sysDir: dir } } as const;
    expect((await kill(own)).done).toEqual(['no pilot had taken memory']);
    const hostMb = await createMechanism({ ...settings, ...own }, ctx).hostMb(within(5_000));
    await leave(settings.stateBase, SLOT, { mechanism: 'hugepages', target: { mb: 200, beforeMb: hostMb + 200, afterMb: hostMb } });
    expect((await kill(own)).failures).toEqual([]);
    expect(readFileSync(join(pool, 'nr_hugepages'), 'utf8')).toBe('200\n');
  });
});

describe.skipIf(!hasPart('qemu'))('pilots and their VMs', () => {
  it('are killed with everything of theirs', async () => {
    const own = { mechanism: 'none' } as const;
    const pilot = await startSleeper(dir);
    const slotDir = await leave(settings.stateBase, SLOT, { pid: pilot });
    const vm = await startVm(slotDir, 'i-00000001');
    const { done, failures } = await kill(own);
    expect(failures).toEqual([]);
    expect(done).toEqual([
      `pilot of slot ${SLOT} on node1 was killed (process ${pilot})`, `VM i-00000001 was ended (process ${vm})`, `the directory of slot ${SLOT} on node1 was removed`,
    ]);
    expect(await Promise.all([pilot, vm].map(lives))).toEqual([false, false]);
  });

  it.skipIf(!hasPart('root'))('are not what a user\'s state calls one', async () => {
    const base = join(dir, 'workspace-pilot-61234');
    const notTheirs = await startSleeper(dir);
    const slotDir = await leave(base, SLOT, { pid: notTheirs });
    for (const path of [base, slotDir, join(slotDir, 'state.json')]) chownSync(path, 61_234, 61_234);
    chmodSync(dir, 0o711);
    const { failures } = await kill({ mechanism: 'none', stateBase: join(dir, 'workspace-pilot-0') });
    expect(failures).toEqual([expect.stringContaining(`process ${notTheirs} is user 0's and no pilot of user 61234's`)]);
    expect(await lives(notTheirs)).toBe(true);
  });
});
