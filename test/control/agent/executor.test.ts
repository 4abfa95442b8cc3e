import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Journal } from '../../../src/control/agent/journal.ts';
import type { SimulatedFault } from '../../../src/control/agent/config.ts';
import type { AgentRequest, Done } from '../../../src/control/protocol.ts';
import { codeOf, leaseOp, makeImage, makeRig, opId, refOf, scratch, start, vmOf } from './rig.ts';
import type { Rig } from './rig.ts';

const LEASE = 'i-0123456789abcdef0';
let tmp: ReturnType<typeof scratch>;
beforeEach(() => { tmp = scratch(); });
afterEach(() => tmp.remove());

const noSpace = (): Error => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
const made = (rig: Rig): string[] => readdirSync(join(rig.dir, 'vms'));

describe('the life of a VM', () => {
  it('starts, pauses, resumes, reboots and ends, with its phases stamped in order', async () => {
    const rig = await makeRig(tmp.dir);
    const request = start(LEASE, 1, makeImage(tmp.dir));
    const done = await rig.ask(request);
    expect(vmOf(done)).toMatchObject({ lease: LEASE, generation: 1, state: 'running', memoryMb: 64, reach: null });
    expect(rig.phases(request.id)).toEqual(['propagate-begun', 'propagated', 'start-begun', 'started']);
    const stamps = ['received', 'propagate-begun', 'propagated', 'start-begun', 'started', 'finished'] as const;
    const times = stamps.map((phase) => done.stamps[phase] ?? NaN);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(vmOf(await rig.ask(leaseOp('pause', LEASE, 2))).state).toBe('paused');
    expect(codeOf(await rig.ask(leaseOp('reboot', LEASE, 3)))).toBe('WrongState');
    expect(vmOf(await rig.ask(leaseOp('resume', LEASE, 4))).state).toBe('running');
    expect(vmOf(await rig.ask(leaseOp('reboot', LEASE, 5))).state).toBe('running');
    const console = await rig.ask({ op: 'console', id: opId(), lease: LEASE, maxBytes: 4096, deadlineMs: 60_000 });
    const text = console.ok && 'console' in console.result ? Buffer.from(console.result.console, 'base64').toString() : '';
    expect(text.split('\r\n').filter((line) => line.includes('nimbus-workspace guest') && line.includes(LEASE))).toHaveLength(2);
    expect(vmOf(await rig.ask(leaseOp('remove', LEASE, 6)))).toMatchObject({ state: 'removed', generation: 6, pid: null });
    expect(made(rig)).toEqual([]);
  });

  it('removes what is not there, and answers so', async () => {
    const rig = await makeRig(tmp.dir);
    expect(vmOf(await rig.ask(leaseOp('remove', LEASE, 4)))).toMatchObject({ state: 'removed', generation: 4 });
    expect(codeOf(await rig.ask(start(LEASE, 3, makeImage(tmp.dir))))).toBe('StaleGeneration');
  });

  it('propagates, then starts what was propagated, and unpropagates only what does not run', async () => {
    const rig = await makeRig(tmp.dir);
    const image = makeImage(tmp.dir);
    const begin = start(LEASE, 1, image);
    expect(vmOf(await rig.ask({ ...begin, op: 'propagate' } as AgentRequest)).state).toBe('propagated');
    expect(vmOf(await rig.ask(start(LEASE, 2, image))).state).toBe('running');
    expect(codeOf(await rig.ask(leaseOp('unpropagate', LEASE, 3)))).toBe('WrongState');
    await rig.ask(leaseOp('remove', LEASE, 4));
    await rig.ask({ ...start(LEASE, 5, image), op: 'propagate' } as AgentRequest);
    expect(vmOf(await rig.ask(leaseOp('unpropagate', LEASE, 6))).state).toBe('removed');
    expect(made(rig)).toEqual([]);
  });

  it('needs a VM for what is done to one', async () => {
    const rig = await makeRig(tmp.dir);
    for (const op of ['pause', 'resume', 'reboot'] as const) expect(codeOf(await rig.ask(leaseOp(op, LEASE, 1)))).toBe('NoSuchVm');
    expect(codeOf(await rig.ask({ op: 'info', id: opId(), lease: 'i-2', deadlineMs: 60_000 }))).toBe('NoSuchVm');
  });

  it('tells when a VM ends by itself, and says why in the list', async () => {
    const rig = await makeRig(tmp.dir, { simulated: { exits: [{ lease: LEASE, afterMs: 1 }] } });
    await rig.ask(start(LEASE, 1, makeImage(tmp.dir)));
    await expect.poll(() => rig.events).toMatchObject([{ kind: 'vm-exited', lease: LEASE, generation: 1 }]);
    const list = await rig.ask({ op: 'list', id: opId(), deadlineMs: 60_000 });
    expect(list).toMatchObject({ ok: true, result: { vms: [{ lease: LEASE, state: 'stopped', reason: expect.stringContaining('powered off') }] } });
  });

  it('starts 64 at once', async () => {
    const rig = await makeRig(tmp.dir);
    const image = makeImage(tmp.dir);
    const dones = await Promise.all(Array.from({ length: 64 }, (_, i) => rig.ask(start(`i-${i}`, 1, image))));
    expect(dones.map(codeOf)).toEqual(dones.map(() => 'ok'));
    expect(rig.records.live().filter((r) => r.state === 'running')).toHaveLength(64);
  });
});

describe('repetition', () => {
  it('answers again what was done, without doing it again', async () => {
    const rig = await makeRig(tmp.dir);
    const request = start(LEASE, 1, makeImage(tmp.dir));
    const first = await rig.ask(request);
    expect(await rig.ask(request)).toEqual(first);
    await rig.ask(leaseOp('remove', LEASE, 2));
    expect(await rig.ask(request)).toEqual(first);
    expect(made(rig)).toEqual([]);
  });

  it('attaches to what is under way', async () => {
    let starts = 0;
    const rig = await makeRig(tmp.dir, {
      simulated: { startMs: 20 },
      wrap: (driver) => Object.assign(Object.create(driver) as typeof driver, {
        prepare: driver.prepare.bind(driver), end: driver.end.bind(driver), watch: driver.watch.bind(driver), find: driver.find.bind(driver),
        start: (...args: Parameters<typeof driver.start>) => { starts += 1; return driver.start(...args); },
      }),
    });
    const request = start(LEASE, 1, makeImage(tmp.dir));
    const [a, b, c] = await Promise.all([rig.ask(request), rig.ask(request), rig.ask(request)]);
    expect([b, c]).toEqual([a, a]);
    expect(starts).toBe(1);
  });

  it('remembers across a restart of the agent', async () => {
    const image = makeImage(tmp.dir);
    const request = start(LEASE, 3, image);
    const first = await (await makeRig(tmp.dir)).ask(request);
    const second = await makeRig(tmp.dir);
    expect(await second.ask(request)).toEqual(JSON.parse(JSON.stringify(first)));
    expect(codeOf(await second.ask(leaseOp('remove', LEASE, 2)))).toBe('StaleGeneration');
    expect(second.records.get(LEASE)?.state).toBe('running');
    await second.ask(leaseOp('remove', LEASE, 4));
    expect(codeOf(await (await makeRig(tmp.dir)).ask(start(LEASE, 3, image)))).toBe('StaleGeneration');
  });

  it('repeats a start whose image had been missing', async () => {
    const rig = await makeRig(tmp.dir);
    const image = makeImage(tmp.dir);
    const { path: _, ...without } = refOf(image);
    const request = start(LEASE, 1, without);
    expect(codeOf(await rig.ask(request))).toBe('ImageMissing');
    expect(made(rig)).toEqual([]);
    await rig.cache.ensure(image);
    expect(codeOf(await rig.ask(request))).toBe('ok');
  });

  it('repeats a remove until it succeeds', async () => {
    const rig = await makeRig(tmp.dir, { simulated: { faults: [{ lease: '', op: 'end', times: 1 }] } });
    await rig.ask(start(LEASE, 1, makeImage(tmp.dir)));
    const request = leaseOp('remove', LEASE, 2);
    expect(codeOf(await rig.ask(request))).toBe('DriverFailed');
    expect(rig.records.get(LEASE)?.state).toBe('running');
    expect(codeOf(await rig.ask(request))).toBe('ok');
  });
});

describe('failure', () => {
  it('removes what a failed start had made, and remembers the failure', async () => {
    const rig = await makeRig(tmp.dir, { simulated: { faults: [{ lease: LEASE, op: 'start', times: 1 }] } });
    const request = start(LEASE, 1, makeImage(tmp.dir));
    expect(codeOf(await rig.ask(request))).toBe('DriverFailed');
    expect(made(rig)).toEqual([]);
    expect(codeOf(await rig.ask(request))).toBe('DriverFailed');
    expect(codeOf(await rig.ask(start(LEASE, 1, makeImage(tmp.dir))))).toBe('ok');
  });

  it('keeps the disk of a propagated VM whose start failed', async () => {
    const rig = await makeRig(tmp.dir, { simulated: { faults: [{ lease: LEASE, op: 'start', times: 1 }] } });
    const image = makeImage(tmp.dir);
    await rig.ask({ ...start(LEASE, 1, image), op: 'propagate' } as AgentRequest);
    expect(codeOf(await rig.ask(start(LEASE, 2, image)))).toBe('DriverFailed');
    expect(rig.records.get(LEASE)).toMatchObject({ state: 'propagated', generation: 2 });
    expect(made(rig)).toEqual([LEASE]);
  });

  it('answers at the deadline and cleans up a start that hangs', async () => {
    const faults: SimulatedFault[] = [{ lease: LEASE, op: 'start', hang: true }];
    const rig = await makeRig(tmp.dir, { simulated: { faults } });
    const image = makeImage(tmp.dir);
    expect(codeOf(await rig.ask(start(LEASE, 1, image, opId(), 30)))).toBe('DeadlineExceeded');
    faults.pop();
    await rig.executor.idle();
    expect(made(rig)).toEqual([]);
    expect(vmOf(await rig.ask(start(LEASE, 2, image))).state).toBe('running');
  });

  it('ends a start at once when a remove makes it pointless', async () => {
    const rig = await makeRig(tmp.dir, { simulated: { faults: [{ lease: LEASE, op: 'start', hang: true }] } });
    const hanging = rig.ask(start(LEASE, 1, makeImage(tmp.dir)));
    await expect.poll(() => rig.records.get(LEASE)?.state).toBe('starting');
    expect(vmOf(await rig.ask(leaseOp('remove', LEASE, 2)))).toMatchObject({ state: 'removed', generation: 2 });
    expect(codeOf(await hanging)).toBe('StaleGeneration');
    expect(made(rig)).toEqual([]);
  });

  it('refuses everything new while it retires, and finishes the rest', async () => {
    const rig = await makeRig(tmp.dir, { simulated: { startMs: 20 } });
    const image = makeImage(tmp.dir);
    const under = rig.ask(start('i-1', 1, image));
    const retired = rig.executor.retire('a newer version takes over');
    expect(codeOf(await rig.ask(start('i-2', 1, image)))).toBe('Retiring');
    expect(codeOf(await under)).toBe('ok');
    await retired;
    expect(rig.records.get('i-2')).toBeUndefined();
  });
});

describe('restart of the agent', () => {
  it('finds its VMs, and notes which are gone', async () => {
    const image = makeImage(tmp.dir);
    const before = await makeRig(tmp.dir);
    for (const lease of ['i-1', 'i-2', 'i-3']) await before.ask(start(lease, 1, image));
    await before.ask(leaseOp('pause', 'i-2', 2));
    await before.driver.end(before.vms.place('i-3'));
    const after = await makeRig(tmp.dir);
    const states = after.records.live().map((r) => [r.lease, r.state]).sort();
    expect(states).toEqual([['i-1', 'running'], ['i-2', 'paused'], ['i-3', 'stopped']]);
    expect(after.records.get('i-3')?.reason).toContain('ended');
  });

  it('has no VM again whose removal was answered, though the first attempt met a full disk', async () => {
    const before = await makeRig(tmp.dir);
    await before.ask(start(LEASE, 1, makeImage(tmp.dir)));
    const request = leaseOp('remove', LEASE, 2);
    const full = vi.spyOn(Journal.prototype, 'append').mockImplementation(() => { throw noSpace(); });
    expect(codeOf(await before.ask(request))).toBe('DiskFull');
    full.mockRestore();
    expect(codeOf(await before.ask(request))).toBe('ok');
    const after = await makeRig(tmp.dir);
    expect(await after.driver.find(after.vms.place(LEASE))).toBeNull();
  });

  it('has a VM that powered off while the disk was full off as well', async () => {
    const before = await makeRig(tmp.dir, { simulated: { exits: [{ lease: LEASE, afterMs: 1 }] } });
    const { append } = Journal.prototype;
    let refusals = 1;
    const full = vi.spyOn(Journal.prototype, 'append').mockImplementation(function refuseOnce(this: Journal, value) {
      if ((value as { state?: string }).state === 'off' && (refusals -= 1) >= 0) throw noSpace();
      append.call(this, value);
    });
    expect(codeOf(await before.ask(start(LEASE, 1, makeImage(tmp.dir))))).toBe('ok');
    await expect.poll(() => before.events.map((e) => e.kind), { timeout: 60_000 }).toEqual(['vm-exited']);
    full.mockRestore();
    const after = await makeRig(tmp.dir);
    expect(await after.driver.find(after.vms.place(LEASE))).toBeNull();
  });

  it('starts again what an agent left half started', async () => {
    const image = makeImage(tmp.dir);
    const before = await makeRig(tmp.dir, { simulated: { faults: [{ lease: LEASE, op: 'start', hang: true }] } });
    const request = start(LEASE, 1, image);
    void before.ask(request);
    await expect.poll(() => existsSync(join(tmp.dir, 'vms', LEASE))).toBe(true);
    const after = await makeRig(tmp.dir);
    expect(after.records.get(LEASE)).toMatchObject({ state: 'removed' });
    expect(vmOf(await after.ask(request)).state).toBe('running');
    await before.driver.end(before.vms.place(LEASE));
    await before.executor.idle();
  });
});

describe('generations', () => {
  const step = fc.record({
    op: fc.constantFrom('start', 'remove', 'pause', 'resume', 'reboot', 'restart-agent'),
    generation: fc.integer({ min: 0, max: 6 }),
    wait: fc.boolean(),
  });

  it('no sequence of requests lets a lower generation act', async () => {
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
      const { dir, remove } = scratch();
      try {
        const image = makeImage(dir);
        let rig = await makeRig(dir);
        let highest = -1;
        const asked: { generation: number; seenBefore: number; done: Promise<Done> }[] = [];
        for (const { op, generation, wait } of steps) {
          if (op === 'restart-agent') {
            await rig.executor.idle();
            rig = await makeRig(dir);
            continue;
          }
          const request = op === 'start' ? start(LEASE, generation, image) : leaseOp(op as 'remove', LEASE, generation);
          const done = rig.ask(request);
          asked.push({ generation, seenBefore: highest, done });
          highest = Math.max(highest, generation);
          if (wait) await done;
        }
        for (const { generation, seenBefore, done } of asked) {
          const answer = await done;
          if (generation < seenBefore) expect(codeOf(answer)).toBe('StaleGeneration');
          else if (answer.ok) expect(vmOf(answer).generation).toBeGreaterThanOrEqual(generation);
        }
        await rig.executor.idle();
        if (highest >= 0) expect((await makeRig(dir)).records.seen(LEASE)).toBe(highest);
      } finally {
        remove();
      }
    }), { numRuns: 60 });
  });
});
