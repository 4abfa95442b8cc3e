/** A VM that is serialized, through the executor: what its record says, what the next agent makes of it, what is refused. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Driver } from '../../../src/control/agent/driver.ts';
import { Journal } from '../../../src/control/agent/journal.ts';
import type { LeaseRecord } from '../../../src/control/agent/records.ts';
import type { VmState } from '../../../src/control/protocol.ts';
import { codeOf, leaseOp, makeImage, makeRig, opId, scratch, start, vmOf, type Rig } from './rig.ts';

const LEASE = 'i-1';
let tmp: ReturnType<typeof scratch>;
beforeEach(() => { tmp = scratch(); });
afterEach(() => {
  vi.restoreAllMocks();
  tmp.remove();
});

const banners = async (rig: Rig): Promise<number> => (await rig.driver.console(rig.vms.place(LEASE), 4096)).bytes.toString().split('\r\n').length - 1;

/** An agent that dies at that call of the driver: before it has an effect, or after. */
const dyingAt = (method: 'save' | 'restore', when: 'before' | 'after') => (driver: Driver): Driver => {
  const { memory } = driver;
  if (memory === undefined) throw new Error('the driver keeps no memory');
  const never = new Promise<never>(() => undefined);
  const dies = <A extends unknown[]>(real: (...args: A) => Promise<unknown>) => async (...args: A): Promise<never> => {
    if (when === 'after') await real(...args);
    return never;
  };
  return Object.assign(driver, { memory: { ...memory, [method]: dies((memory[method] as (...args: unknown[]) => Promise<unknown>)) } });
};

describe('a VM', () => {
  it('is serialized, goes on when it is started, and either may be asked for again', async () => {
    const image = makeImage(tmp.dir);
    const rig = await makeRig(tmp.dir);
    await rig.ask(start(LEASE, 1, image));
    expect(vmOf(await rig.ask(leaseOp('serialize', LEASE, 2)))).toMatchObject({ state: 'serialized', pid: null, reach: null });
    expect(vmOf(await rig.ask(leaseOp('serialize', LEASE, 2))).state).toBe('serialized');
    const going = start(LEASE, 3, image);
    expect(vmOf(await rig.ask(going)).state).toBe('running');
    expect(vmOf(await rig.ask({ ...going, id: opId() })).state).toBe('running');
    expect(await banners(rig)).toBe(1);
    // What is not made again is not reported so.
    expect(rig.phases(going.id)).toEqual(['start-begun', 'started']);
    expect(rig.events).toEqual([]);
  });

  it('that stands still is serialized, and runs when it is started', async () => {
    const image = makeImage(tmp.dir);
    const rig = await makeRig(tmp.dir);
    await rig.ask(start(LEASE, 1, image));
    await rig.ask(leaseOp('pause', LEASE, 2));
    expect(vmOf(await rig.ask(leaseOp('serialize', LEASE, 3))).state).toBe('serialized');
    expect(vmOf(await rig.ask(start(LEASE, 4, image))).state).toBe('running');
  });

  it('that is serialized can be removed or saved, and nothing else', async () => {
    const image = makeImage(tmp.dir);
    const rig = await makeRig(tmp.dir);
    await rig.ask(start(LEASE, 1, image));
    await rig.ask(leaseOp('serialize', LEASE, 2));
    for (const op of ['pause', 'resume', 'reboot'] as const) expect(codeOf(await rig.ask(leaseOp(op, LEASE, 3))), op).toBe('WrongState');
    const propagate = { ...start(LEASE, 3, image), op: 'propagate' as const } as Parameters<Rig['ask']>[0];
    expect(codeOf(await rig.ask(propagate))).toBe('WrongState');
    expect(vmOf(await rig.ask(leaseOp('save', LEASE, 4))).state).toBe('saved');
    expect(vmOf(await rig.ask(leaseOp('remove', LEASE, 5))).state).toBe('removed');
    expect(rig.records.live()).toEqual([]);
  });

  it('stays serialized when its disk is not saved', async () => {
    const image = makeImage(tmp.dir);
    const rig = await makeRig(tmp.dir, { simulated: { faults: [{ lease: LEASE, op: 'save' }] } });
    await rig.ask(start(LEASE, 1, image));
    await rig.ask(leaseOp('serialize', LEASE, 2));
    expect(codeOf(await rig.ask(leaseOp('save', LEASE, 3)))).toBe('DriverFailed');
    expect(vmOf(await rig.ask(start(LEASE, 4, image))).state).toBe('running');
    expect(await banners(rig)).toBe(1);
  });

  it('that cannot be serialized runs on, and its exit is still heard of', async () => {
    const image = makeImage(tmp.dir);
    const rig = await makeRig(tmp.dir, { simulated: { powerDownMs: 0, faults: [{ lease: LEASE, op: 'serialize', times: 1 }] } });
    await rig.ask(start(LEASE, 1, image));
    await rig.ask(leaseOp('pause', LEASE, 2));
    expect(codeOf(await rig.ask(leaseOp('serialize', LEASE, 3)))).toBe('DriverFailed');
    expect(rig.records.get(LEASE)?.state).toBe('running');
    await rig.driver.powerDown(rig.vms.place(LEASE), 5_000);
    expect(rig.events.map((e) => e.kind)).toEqual(['vm-exited']);
  });

  it('that does not go on stays serialized, and may go on later', async () => {
    const image = makeImage(tmp.dir);
    const rig = await makeRig(tmp.dir, { simulated: { faults: [{ lease: LEASE, op: 'restore', times: 1 }] } });
    await rig.ask(start(LEASE, 1, image));
    await rig.ask(leaseOp('serialize', LEASE, 2));
    expect(codeOf(await rig.ask(start(LEASE, 3, image)))).toBe('DriverFailed');
    expect(rig.records.get(LEASE)?.state).toBe('serialized');
    expect(vmOf(await rig.ask(start(LEASE, 4, image))).state).toBe('running');
  });

  it('is not serialized beyond the deadline, and a removal does not wait for it', async () => {
    const image = makeImage(tmp.dir);
    const rig = await makeRig(tmp.dir, { simulated: { faults: [{ lease: LEASE, op: 'serialize', hang: true }] } });
    await rig.ask(start(LEASE, 1, image));
    expect(codeOf(await rig.ask(leaseOp('serialize', LEASE, 2, opId(), 50)))).toBe('DeadlineExceeded');
    expect((await rig.driver.find(rig.vms.place(LEASE)))?.state).toBe('running');
    const hanging = rig.ask(leaseOp('serialize', LEASE, 3));
    const removed = rig.ask(leaseOp('remove', LEASE, 4));
    expect(codeOf(await hanging)).toBe('StaleGeneration');
    expect(vmOf(await removed).state).toBe('removed');
  });

  it('is not serialized by a driver that cannot', async () => {
    const rig = await makeRig(tmp.dir, { simulated: { serializes: false } });
    await rig.ask(start(LEASE, 1, makeImage(tmp.dir)));
    expect(codeOf(await rig.ask(leaseOp('serialize', LEASE, 2)))).toBe('NotPermitted');
    expect(rig.records.get(LEASE)?.state).toBe('running');
  });
});

describe('the next agent', () => {
  it('has it serialized, with what it remembers', async () => {
    const image = makeImage(tmp.dir);
    const before = await makeRig(tmp.dir);
    await before.ask(start(LEASE, 1, image));
    const request = leaseOp('serialize', LEASE, 2);
    await before.ask(request);
    const after = await makeRig(tmp.dir);
    expect(after.records.get(LEASE)?.state).toBe('serialized');
    expect(vmOf(await after.ask(request)).state).toBe('serialized');
    expect(vmOf(await after.ask(start(LEASE, 3, image))).state).toBe('running');
    expect(await banners(after)).toBe(1);
  });

  it.each<['save' | 'restore', 'before' | 'after', VmState]>([
    ['save', 'before', 'running'], ['save', 'after', 'serialized'], ['restore', 'before', 'serialized'], ['restore', 'after', 'running'],
  ])('of one that died at “%s”, %s it was done, finds it %s, and does what is asked again', async (method, when, state) => {
    const image = makeImage(tmp.dir);
    const first = await makeRig(tmp.dir, method === 'save' ? { wrap: dyingAt('save', when) } : {});
    await first.ask(start(LEASE, 1, image));
    const [serialize, going] = [leaseOp('serialize', LEASE, 2), start(LEASE, 3, image)];
    let dying = first;
    if (method === 'restore') {
      await first.ask(serialize);
      dying = await makeRig(tmp.dir, { wrap: dyingAt('restore', when) });
    }
    void dying.ask(method === 'save' ? serialize : going);
    await expect.poll(() => dying.records.get(LEASE)?.state).toBe(method === 'save' ? 'serializing' : 'restoring');
    const after = await makeRig(tmp.dir);
    expect(after.records.get(LEASE)?.state).toBe(state);
    if (method === 'save') expect(vmOf(await after.ask(serialize)).state).toBe('serialized');
    expect(vmOf(await after.ask(going)).state).toBe('running');
    expect(await banners(after)).toBe(1);
  });

  it.each<VmState>(['starting', 'running'])('after a power cut that left “%s” as the last word of its record, has it serialized all the same', async (state) => {
    const image = makeImage(tmp.dir);
    const before = await makeRig(tmp.dir);
    await before.ask(start(LEASE, 1, image));
    await before.ask(leaseOp('serialize', LEASE, 2));
    const journal = join(tmp.dir, 'leases.journal');
    const lines = readFileSync(journal, 'utf8').trim().split('\n');
    const last = lines.findLastIndex((line) => (JSON.parse(line) as LeaseRecord).state === state);
    writeFileSync(journal, lines.slice(0, last + 1).map((line) => `${line}\n`).join(''));
    const after = await makeRig(tmp.dir);
    expect(after.records.get(LEASE)?.state).toBe('serialized');
    expect(vmOf(await after.ask(start(LEASE, 3, image))).state).toBe('running');
    expect(await banners(after)).toBe(1);
  });

  it('of a machine that loses power finds what was answered: the record is on disk before', async () => {
    const rig = await makeRig(tmp.dir);
    await rig.ask(start(LEASE, 1, makeImage(tmp.dir)));
    const order: string[] = [];
    const { append, sync } = Journal.prototype;
    vi.spyOn(Journal.prototype, 'append').mockImplementation(function noted(this: Journal, value) {
      order.push((value as LeaseRecord).state);
      append.call(this, value);
    });
    vi.spyOn(Journal.prototype, 'sync').mockImplementation(function noted(this: Journal) {
      order.push('sync');
      sync.call(this);
    });
    await rig.ask(leaseOp('serialize', LEASE, 2)).then(() => order.push('answer'));
    expect(order.slice(-3)).toEqual(['serialized', 'sync', 'answer']);
  });

  it('says of memory that is not there any more that the VM has stopped', async () => {
    const before = await makeRig(tmp.dir);
    await before.ask(start(LEASE, 1, makeImage(tmp.dir)));
    await before.ask(leaseOp('serialize', LEASE, 2));
    rmSync(`${tmp.dir}/simulated.journal`);
    const after = await makeRig(tmp.dir);
    expect(after.records.get(LEASE)).toMatchObject({ state: 'stopped', reason: 'its memory is not there any more' });
  });
});
