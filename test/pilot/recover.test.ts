/** `--recover`: what dead pilots left is ended and given back; everything else is left alone. */
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recoverNode, scopeOfEnvironment } from '../../src/pilot/program/recover.ts';
import type { Recovery, RecoverScope } from '../../src/pilot/program/recover.ts';
import type { NodeSettings } from '../../src/pilot/program/types.ts';
import { hasPart } from '../parts.ts';
import { afterCalls, FakeXl, settingsIn, testContext as ctx, within } from './memory/fake-xl.ts';
import { endAll, leave, lives, startSleeper, startVm } from './node.ts';

const SLOT = 'sl-0123456789ab';
const OTHER = 'sl-ffffffffffff';
const TARGET = { mb: 512, beforeMb: 2007, afterMb: 1495 };
let dir: string;
let settings: NodeSettings;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'recover-'));
  settings = settingsIn(dir);
});
afterEach(endAll);

const recover = (scope: RecoverScope = {}, change: Partial<NodeSettings> = {}, everyone = false, signal = within(20_000)): Promise<Recovery> =>
  recoverNode({ ctx, settings: { ...settings, ...change }, scope, everyone }, signal);

describe('recovery of a node', () => {
  it('gives memory back, removes the directory, and has nothing to do the second time', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1495, target: 1495 } });
    const slotDir = await leave(settings.stateBase, SLOT, { mechanism: 'xl', target: TARGET });
    const { done, failures } = await recover();
    expect(failures).toEqual([]);
    expect(done).toEqual([`${SLOT} on node1: 512 MB were given back, the host has 2007 MB`, `${SLOT} on node1: its directory was removed`]);
    expect(xl.state().dom0.target).toBe(2007);
    expect(existsSync(slotDir)).toBe(false);
    const calls = xl.calls().length;
    expect(await recover()).toEqual({ done: [], failures: [] });
    expect(xl.calls()).toHaveLength(calls);
  });

  it('ends the slot\'s guests and no others', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1495, target: 1495 }, guests: [{ id: 1, name: `${SLOT}-1`, mb: 300 }, { id: 2, name: 'somebody-else', mb: 10 }], scrubMs: 200 });
    await leave(settings.stateBase, SLOT, { mechanism: 'xl', target: TARGET });
    expect((await recover()).done).toContain(`${SLOT} on node1: guest ${SLOT}-1 was ended`);
    expect(xl.state().guests.map((g) => g.id)).toEqual([2]);
  });

  it('leaves alone the slot of a pilot that lives, and reckons with its share', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1195, target: 1195 } });
    await leave(settings.stateBase, OTHER, { mechanism: 'xl', target: { mb: 300, beforeMb: 2007, afterMb: 1195 }, pid: process.pid });
    await leave(settings.stateBase, SLOT, { mechanism: 'xl', target: TARGET });
    const { done, failures } = await recover();
    expect(failures).toEqual([]);
    expect(done).toContain(`${OTHER} on node1: left alone, its pilot lives (process ${process.pid})`);
    expect(xl.state().dom0.target).toBe(1707);
    expect(readdirSync(settings.stateBase)).toEqual([`${OTHER}.node1`]);
  });

  it('says what could not be given back, keeps the state, and succeeds later', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1495, target: 1495 }, faults: [{ command: 'mem-set', status: 1, words: 'libxl: no' }] });
    const slotDir = await leave(settings.stateBase, SLOT, { mechanism: 'xl', target: TARGET });
    expect((await recover({}, {}, false, afterCalls(xl, 'mem-set', 3))).failures).toEqual([expect.stringContaining('libxl: no')]);
    expect(existsSync(join(slotDir, 'state.json'))).toBe(true);
    xl.change({ faults: [] });
    expect((await recover()).failures).toEqual([]);
    expect(xl.state().dom0.target).toBe(2007);
  });

  it('only cleans up after the node was started anew', async () => {
    const xl = new FakeXl(dir);
    const slotDir = await leave(settings.stateBase, SLOT, { mechanism: 'xl', target: TARGET, bootId: '00000000-0000-0000-0000-000000000000', pid: process.pid });
    expect((await recover()).done).toEqual([`${SLOT} on node1: the node was started anew since, and has its memory; the directory was removed`]);
    expect(xl.calls()).toEqual([]);
    expect(existsSync(slotDir)).toBe(false);
  });

  it('keeps to the slot and the node that it is told', async () => {
    await leave(settings.stateBase, SLOT);
    await leave(settings.stateBase, SLOT, { host: 'node2' });
    await leave(settings.stateBase, OTHER);
    await recover({ slot: SLOT, host: 'node2' });
    expect(readdirSync(settings.stateBase)).toEqual([`${SLOT}.node1`, `${OTHER}.node1`]);
    await recover({ slot: SLOT });
    expect(readdirSync(settings.stateBase)).toEqual([`${OTHER}.node1`]);
  });

  it('removes a directory whose pilot died before it wrote a state', async () => {
    mkdirSync(join(settings.stateBase, `${SLOT}.node1`), { recursive: true, mode: 0o700 });
    chmodSync(settings.stateBase, 0o700);
    expect((await recover()).done).toEqual([`${SLOT} on node1: its directory was removed`]);
  });

  it('refuses a state that is not of this form, leaves it alone and recovers the others', async () => {
    new FakeXl(dir, { dom0: { mb: 1495, target: 1495 } });
    const damaged = await leave(settings.stateBase, OTHER);
    writeFileSync(join(damaged, 'state.json'), '{"v":1,"slot":"../../etc","mechanism":"/tmp/evil"}');
    await leave(settings.stateBase, SLOT, { mechanism: 'xl', target: TARGET });
    const { failures } = await recover();
    expect(failures).toEqual([expect.stringContaining('not the state of this slot')]);
    expect(readdirSync(settings.stateBase)).toEqual([`${OTHER}.node1`]);
  });

  it('follows no link out of the slot\'s directory', async () => {
    const slotDir = await leave(settings.stateBase, SLOT);
    const outside = mkdtempSync(join(tmpdir(), 'outside-'));
    writeFileSync(join(outside, 'precious'), 'x');
    symlinkSync(outside, join(slotDir, 'control'));
    expect((await recover()).failures).toEqual([]);
    expect(readFileSync(join(outside, 'precious'), 'utf8')).toBe('x');
    expect(existsSync(slotDir)).toBe(false);
  });

  it('takes no base that is a link or open to others', async () => {
    await leave(settings.stateBase, SLOT);
    const link = join(dir, 'link');
    symlinkSync(settings.stateBase, link);
    expect((await recover({}, { stateBase: link })).done).toEqual([`left alone: ${link} is not a directory`]);
    chmodSync(settings.stateBase, 0o755);
    expect((await recover()).done[0]).toContain('open to other users');
    expect(existsSync(join(settings.stateBase, `${SLOT}.node1`))).toBe(true);
  });
});

describe.skipIf(!hasPart('qemu'))('VMs of dead slots', () => {
  it('are ended; those of living slots, other processes in the directory and VMs elsewhere are not', async () => {
    const dead = await leave(settings.stateBase, SLOT);
    const living = await leave(settings.stateBase, OTHER, { pid: process.pid });
    const elsewhere = join(dir, 'elsewhere');
    mkdirSync(elsewhere);
    const [mine, gone, theirs, foreign, sleeper] = await Promise.all([
      startVm(dead, 'i-00000001'), startVm(dead, 'i-00000002'), startVm(living, 'i-00000003'), startVm(elsewhere, 'i-00000004'), startSleeper(dead),
    ]);
    // Its directory was being removed when the pilot was killed.
    renameSync(join(dead, 'control/vms/i-00000002'), join(dead, 'control/i-00000002.removed'));
    const { done, failures } = await recover();
    expect(failures).toEqual([]);
    expect(done.filter((line) => line.includes('was ended')).sort()).toEqual([`i-00000001 was ended (process ${mine})`, `i-00000002 was ended (process ${gone})`].map((line) => `${SLOT} on node1: VM ${line}`).sort());
    expect(await Promise.all([mine, gone, theirs, foreign, sleeper].map(lives))).toEqual([false, false, true, true, true]);
    expect(existsSync(dead)).toBe(false);
  });

  it('are found where the way to the base leads over a link', async () => {
    mkdirSync(join(dir, 'disk'));
    symlinkSync(join(dir, 'disk'), join(dir, 'scratch'));
    const stateBase = join(dir, 'scratch', 'state');
    const slotDir = await leave(stateBase, SLOT);
    const pid = await startVm(slotDir, 'i-00000001');
    const { done, failures } = await recover({}, { stateBase });
    expect(failures).toEqual([]);
    expect(done).toContain(`${SLOT} on node1: VM i-00000001 was ended (process ${pid})`);
    expect(await lives(pid)).toBe(false);
    expect(existsSync(slotDir)).toBe(false);
  });
});

describe.skipIf(!hasPart('root') || !hasPart('qemu'))('root, for the users of a node', () => {
  const account = { uid: 61_234, gid: 61_234 };
  const baseOf = (uid: number): string => join(dir, `workspace-pilot-${uid}`);
  /** What the user's pilot would have left. */
  async function ofUser(change: Parameters<typeof leave>[2] = {}): Promise<string> {
    const slotDir = await leave(baseOf(account.uid), SLOT, change);
    for (const path of [baseOf(account.uid), slotDir, join(slotDir, 'state.json')]) chownSync(path, account.uid, account.gid);
    return slotDir;
  }
  beforeEach(() => {
    chmodSync(dir, 0o711);
    settings = { ...settings, stateBase: baseOf(0) };
  });

  it('ends their VMs and removes their directories, and stays root', async () => {
    const slotDir = await ofUser();
    const pid = await startVm(slotDir, 'i-00000001', account);
    await leave(baseOf(0), OTHER);
    const { failures } = await recover({}, {}, true);
    expect(failures).toEqual([]);
    expect(await lives(pid)).toBe(false);
    expect(readdirSync(baseOf(account.uid))).toEqual([]);
    expect(readdirSync(baseOf(0))).toEqual([]);
    expect([process.geteuid?.(), process.getegid?.()]).toEqual([0, 0]);
  });

  it('ends no process of root\'s for them, whatever its name', async () => {
    const slotDir = await ofUser();
    const pid = await startVm(slotDir, 'i-00000001');
    for (const path of ['control', 'control/vms', 'control/vms/i-00000001']) chownSync(join(slotDir, path), account.uid, account.gid);
    await recover({}, {}, true);
    expect(await lives(pid)).toBe(true);
  });

  it('does with memory what sudo lets the user do, and no more', async () => {
    const xl = new FakeXl(dir, { dom0: { mb: 1495, target: 1495 } });
    const slotDir = await ofUser({ mechanism: 'xl', target: TARGET });
    expect((await recover({}, {}, true)).failures).toEqual([expect.stringContaining(`user ${account.uid} cannot have changed the memory of this host without sudo`)]);
    expect(xl.calls()).toEqual([]);
    const sudo = join(dir, 'sudo');
    writeFileSync(sudo, '#!/bin/sh\nwhile :; do case "$1" in -n|--) shift;; -u) echo "$2" >> "$0.as"; shift 2;; "$0") shift;; *) exec "$@";; esac; done\n');
    chmodSync(sudo, 0o755);
    expect((await recover({}, { sudo }, true)).failures).toEqual([]);
    expect(new Set(readFileSync(`${sudo}.as`, 'utf8').trim().split('\n'))).toEqual(new Set([`#${account.uid}`]));
    expect(xl.state().dom0.target).toBe(2007);
    expect(existsSync(slotDir)).toBe(false);
  });

  it('cannot be led out of the user\'s reach', async () => {
    const slotDir = await ofUser();
    const outside = mkdtempSync(join(tmpdir(), 'outside-'));
    chmodSync(outside, 0o700);
    mkdirSync(join(outside, 'vms', 'i-00000001'), { recursive: true });
    symlinkSync(outside, join(slotDir, 'control'));
    await recover({}, {}, true);
    expect(existsSync(join(outside, 'vms', 'i-00000001'))).toBe(true);
    expect(existsSync(slotDir)).toBe(false);
  });

  it('passes over a base that another user made', async () => {
    mkdirSync(baseOf(61_235), { mode: 0o700 });
    chownSync(baseOf(61_235), account.uid, account.gid);
    const { done, failures } = await recover({}, {}, true);
    expect(failures).toEqual([]);
    expect(done).toEqual([expect.stringMatching(/^left alone: .*workspace-pilot-61235 (?:belongs to user 61234|cannot be read)/)]);
  });

  it('leaves other accounts alone when it is one of them', async () => {
    const slotDir = await ofUser();
    await recover({}, {}, false);
    expect(existsSync(slotDir)).toBe(true);
  });
});

describe('the environment of an epilogue', () => {
  it('names slot and node where it can be believed', () => {
    expect(scopeOfEnvironment({ SLURM_JOB_NAME: SLOT, SLURMD_NODENAME: 'n1' }, 'node1')).toEqual({ slot: SLOT, host: 'node1' });
    expect(scopeOfEnvironment({ PBS_JOBNAME: SLOT }, 'node1')).toEqual({ slot: SLOT });
    expect(scopeOfEnvironment({ SLURM_JOB_NAME: 'simulation', SLURM_JOB_ID: '7' }, 'node1')).toEqual({});
    expect(scopeOfEnvironment({ SLURM_JOB_NAME: `${SLOT}\nx` }, 'node1')).toEqual({});
  });
});
