/** The Xen mechanism against a host that ballons slowly, scrubs, hangs and fails. P3, P4, P15: defects of the original. */
import { mkdtempSync, writeFileSync, chmodSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { sleep } from '../../../src/control/agent/clock.ts';
import { createXl, parseList } from '../../../src/pilot/program/memory/xl.ts';
import type { MemoryMechanism } from '../../../src/pilot/program/types.ts';
import { afterCalls, FakeXl, settingsIn, testContext as ctx, within } from './fake-xl.ts';
import type { XlState } from './fake-xl.ts';

const TARGET = { mb: 512, beforeMb: 2007, afterMb: 1495 };
let dir: string;
beforeEach(() => { dir = mkdtempSync(join(tmpdir(), 'xl-')); });

function host(given: Partial<XlState> = {}, name: 'xl' | 'xm' = 'xl'): { xl: FakeXl; mechanism: MemoryMechanism } {
  const xl = new FakeXl(dir, given, name);
  const settings = { ...settingsIn(dir), xen: { xm: xl.program, dom0Mb: null, restartXend: false }, become: [] };
  return { xl, mechanism: createXl(settings, ctx) };
}

describe('a Xen host', () => {
  it('is reduced when dom0 has gone down, not when xl says so', async () => {
    const { xl, mechanism } = host({ mbPerSecond: 2000 });
    const hostMb = await mechanism.reduce(TARGET, within(20_000));
    expect(hostMb).toBeLessThanOrEqual(1497);
    expect(xl.state().dom0.mb).toBeLessThanOrEqual(1498);
    expect(xl.calls().filter((c) => c.startsWith('mem-set'))).toEqual(['mem-set 0 1495m']);
  });

  it('is restored when dom0 has come back', async () => {
    const { xl, mechanism } = host({ dom0: { mb: 1495, target: 1495 }, mbPerSecond: 2000 });
    expect(await mechanism.restore(TARGET, within(20_000))).toBeGreaterThanOrEqual(2005);
    expect(xl.state().dom0.target).toBe(2007);
  });

  it('tells xm plain figures, as old ones take nothing else', async () => {
    const { xl, mechanism } = host({}, 'xm');
    await mechanism.reduce(TARGET, within(20_000));
    expect(xl.calls()).toContain('mem-set 0 1495');
  });

  it('P3: a change that is broken off goes back to where it began, though dom0 is still on its way down', async () => {
    const { xl, mechanism } = host({ mbPerSecond: 100 });
    const controller = new AbortController();
    const reducing = mechanism.reduce(TARGET, controller.signal);
    while (!xl.calls().some((c) => c.startsWith('mem-set'))) await sleep(ctx.clock, 5);
    controller.abort();
    await expect(reducing).rejects.toMatchObject({ name: 'PilotError', exit: 4 });
    xl.change({ mbPerSecond: 1e6 });
    await mechanism.restore(TARGET, within(20_000));
    expect(xl.state().dom0).toMatchObject({ target: 2007 });
    expect(xl.state().dom0.mb).toBeGreaterThanOrEqual(2005);
  });

  it('P4: an xl that hangs after it took effect is a failure, and its effect is undone', async () => {
    const { xl, mechanism } = host({ faults: [{ command: 'mem-set', times: 1, afterMs: 600_000, ignoreTerm: true }] });
    const controller = new AbortController();
    const reducing = mechanism.reduce(TARGET, controller.signal);
    while (xl.state().dom0.target !== 1495) await sleep(ctx.clock, 5);
    controller.abort();
    await expect(reducing).rejects.toThrow('dom0 was not brought down to 1495 MB');
    expect(await mechanism.restore(TARGET, within(20_000))).toBeGreaterThanOrEqual(2005);
    expect(xl.state().dom0.target).toBe(2007);
  });

  it('P15: memory of a guest that has just ended is waited for while it is scrubbed, and no other guest is ended for it', async () => {
    const scrubbing = [{ mb: 512, until: Date.now() + 700 }];
    const { xl, mechanism } = host({ totalMb: 2560, dom0: { mb: 1495, target: 1495 }, guests: [{ id: 7, name: 'of-somebody-else', mb: 512 }], scrubbing });
    expect(await mechanism.restore(TARGET, within(20_000))).toBeGreaterThanOrEqual(2005);
    expect(xl.state().guests).toHaveLength(1);
    expect(xl.calls().filter((c) => c.startsWith('destroy'))).toEqual([]);
  });

  it('says what xl said when it refuses to take memory, and tries again when it refuses to give it back', async () => {
    const refusing = { command: 'mem-set', status: 1, words: 'libxl: unable to set the target' } as const;
    const { xl, mechanism } = host({ faults: [refusing] });
    await expect(mechanism.reduce(TARGET, within(20_000))).rejects.toThrow('unable to set the target');
    expect(xl.calls()).toEqual(['mem-set 0 1495m']);
    xl.change({ dom0: { mb: 1495, target: 1495 }, faults: [{ ...refusing, times: 2 }] });
    expect(await mechanism.restore(TARGET, within(20_000))).toBeGreaterThanOrEqual(2005);
  });

  it('is not restored when dom0 does not come back in time', async () => {
    const { xl, mechanism } = host({ dom0: { mb: 1495, target: 1495 }, mbPerSecond: 0 });
    await expect(mechanism.restore(TARGET, afterCalls(xl, 'list', 2))).rejects.toThrow('dom0 was not brought back to 2007 MB');
  });

  it('never takes from dom0 what it has beyond the target', async () => {
    const { xl, mechanism } = host();
    expect(await mechanism.restore({ mb: 10, beforeMb: 300, afterMb: 290 }, within(20_000))).toBe(2007);
    expect(xl.state().dom0.target).toBe(2007);
  });

  it('reads host and free memory, lists guests without dom0, destroys one', async () => {
    const { xl, mechanism } = host({ dom0: { mb: 1495, target: 1495 }, guests: [{ id: 3, name: 'a', mb: 128 }, { id: 4, name: 'b', mb: 64 }] });
    expect(await mechanism.read(within(20_000))).toEqual({ hostMb: 1495, freeMb: 361 });
    const guests = await mechanism.guests(within(20_000));
    expect(guests).toEqual([{ id: '3', name: 'a', memoryMb: 128 }, { id: '4', name: 'b', memoryMb: 64 }]);
    await mechanism.destroy(guests[0] as (typeof guests)[number], within(20_000));
    expect(xl.state().guests.map((g) => g.id)).toEqual([4]);
    await expect(mechanism.destroy({ id: '--all', name: 'x', memoryMb: 1 }, within(20_000))).rejects.toThrow('no guest\'s id');
    await expect(mechanism.destroy({ id: '0', name: 'Domain-0', memoryMb: 1 }, within(20_000))).rejects.toThrow('no guest\'s id');
  });

  it('goes through sudo when told to, and finds out which rules are missing', async () => {
    const xl = new FakeXl(dir);
    const sudo = join(dir, 'sudo');
    writeFileSync(sudo, `#!/bin/sh\nprintf '%s\\n' "$*" >> ${dir}/sudo.calls\nshift\ncase "$1" in -l) case "$*" in *destroy*) exit 1;; esac; exit 0;; esac\nexec "$@"\n`);
    chmodSync(sudo, 0o755);
    const settings = { ...settingsIn(dir), xen: { xm: xl.program, dom0Mb: null, restartXend: false }, become: [sudo, '-n'] };
    const mechanism = createXl(settings, ctx);
    await mechanism.reduce(TARGET, within(20_000));
    expect(readFileSync(join(dir, 'sudo.calls'), 'utf8')).toContain(`-n ${xl.program} mem-set 0 1495m\n`);
    const wrong = (await mechanism.check()).filter((f) => !f.ok);
    expect(wrong).toEqual([{ ok: false, what: `sudo does not allow "${xl.program} destroy 1" without a password`, mend: expect.stringContaining('visudo') as string }]);
    expect(xl.state().dom0.target).toBe(1495);
  });

  it('reads names that contain anything', () => {
    const text = 'Name   ID   Mem VCPUs\tState\tTime(s)\nDomain-0  0  2007  2  r-----  12.3\n 7 8 9 evil -b---- 1.0  12  64  1  -b----  0.5\nmanaged    128  1  0.0\n\n';
    expect(parseList(text)).toEqual([{ id: '0', name: 'Domain-0', memoryMb: 2007 }, { id: '12', name: ' 7 8 9 evil -b---- 1.0', memoryMb: 64 }]);
  });
});
