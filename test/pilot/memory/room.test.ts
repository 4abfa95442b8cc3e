/** Pilots on a node: places, shares, crashes at every point, and guests that are a slot's own. */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { isOwn } from '../../../src/pilot/program/guests.ts';
import { createMechanism } from '../../../src/pilot/program/memory/index.ts';
import { readMemInfo } from '../../../src/pilot/program/memory/none.ts';
import { recoverNode } from '../../../src/pilot/program/recover.ts';
import { Room } from '../../../src/pilot/program/room.ts';
import { planReduce, planRestore } from '../../../src/pilot/program/shares.ts';
import { listSlots, writeNodeState } from '../../../src/pilot/program/state.ts';
import type { HostTarget, MemoryMechanism, NodeSettings } from '../../../src/pilot/program/types.ts';
import { FakeXl, settingsIn, testContext as ctx, within } from './fake-xl.ts';
import type { XlState } from './fake-xl.ts';

const uid = process.getuid?.() ?? 0;
const slotOf = (i: number): string => `sl-00000000000${i}`;
let dir: string;
beforeEach(() => { dir = mkdtempSync(join(tmpdir(), 'room-')); });

const enter = (settings: NodeSettings, i: number, mechanism = createMechanism(settings, ctx)): Promise<Room> =>
  Room.enter({ ctx, settings, mechanism, slot: slotOf(i), host: 'node1', pilot: '0123456789abcdef' }, within(20_000));

/** As SIGKILL leaves it: the place free, the state on disk, its process gone. */
async function crash(room: Room): Promise<void> {
  const [found] = listSlots(join(room.dir, '..'), uid).filter((s) => s.dir === room.dir);
  if (found?.state != null) writeNodeState(room.dir, { ...found.state, startTicks: '1' });
  await room.abandon();
}

function xen(given: Partial<XlState> = {}): { xl: FakeXl; settings: NodeSettings } {
  const xl = new FakeXl(dir, given);
  return { xl, settings: settingsIn(dir, { mechanism: 'xl' }) };
}

describe('a pilot on a node', () => {
  it('takes memory, gives it back and leaves nothing', async () => {
    const { xl, settings } = xen();
    const room = await enter(settings, 1);
    expect(await room.reduce(512, within(20_000))).toBe(512);
    room.stage('reserved');
    expect(listSlots(settings.stateBase, uid)[0]?.state).toMatchObject({ stage: 'reserved', pid: process.pid, target: { mb: 512, beforeMb: 2007, afterMb: 1495 } });
    await expect(room.leave()).rejects.toThrow('only when its memory is back');
    expect(await room.restore(within(20_000))).toEqual([]);
    expect(await room.restore(within(20_000))).toEqual([]);
    await room.leave();
    expect(xl.state().dom0.target).toBe(2007);
    expect(readdirSync(settings.stateBase)).toEqual([]);
    await (await enter(settings, 2)).leave();
  });

  it('is refused below minmem, and nothing is changed', async () => {
    const { xl, settings } = xen();
    const room = await enter(settings, 1);
    await expect(room.reduce(1800, within(20_000))).rejects.toMatchObject({ exit: 4, message: '1800 MB would leave the host 207 MB, and it keeps at least 256 (minmem); it has 2007 MB without pilots' });
    expect(xl.calls().some((c) => c.startsWith('mem-set'))).toBe(false);
    await room.restore(within(20_000));
    await room.leave();
  });

  it('is refused beside another one, whose slot is named', async () => {
    const { settings } = xen();
    const first = await enter(settings, 1);
    await expect(enter(settings, 2)).rejects.toMatchObject({ exit: 4, message: expect.stringContaining(`slot ${slotOf(1)} on node1 (process ${process.pid}`) as string });
    await first.leave();
  });

  it('leaves memory alone where bubble_mem is no', async () => {
    const { xl, settings } = xen();
    const room = await enter({ ...settings, bubble: false }, 1);
    expect(await room.reduce(1024, within(20_000))).toBe(1024);
    await room.restore(within(20_000));
    await room.leave();
    expect(xl.calls().some((c) => c.startsWith('mem-set'))).toBe(false);
  });

  it('ends its own guests and nobody else\'s, and gives memory back beside it', async () => {
    const guests = [
      { id: 1, name: slotOf(1), mb: 100 }, { id: 2, name: `${slotOf(1)}-web`, mb: 100 }, { id: 3, name: `nimbus-${slotOf(1)}.0`, mb: 100 },
      { id: 4, name: 'nimbus-i-0123456789abcdef0', mb: 100 }, { id: 5, name: 'wrksp-17', mb: 50 },
      { id: 6, name: slotOf(2), mb: 10 }, { id: 7, name: 'nimbus-i-ffffffffffffffff0', mb: 10 }, { id: 8, name: 'wrksp-backup', mb: 10 },
    ];
    const { xl, settings } = xen({ guests, scrubMs: 300 });
    const room = await enter(settings, 1);
    await room.reduce(512, within(20_000));
    mkdirSync(join(room.dir, 'control/vms/i-0123456789abcdef0'), { recursive: true });
    expect(await room.restore(within(20_000))).toEqual(guests.slice(0, 5).map((g) => g.name));
    await room.leave();
    expect(xl.state().guests.map((g) => g.id)).toEqual([6, 7, 8]);
    expect(xl.state().dom0.target).toBe(2007);
  });

  it('gives memory back though a guest does not end, and says which', async () => {
    const { xl, settings } = xen({ guests: [{ id: 1, name: slotOf(1), mb: 100, immortal: true }], totalMb: 4096 });
    const room = await enter(settings, 1);
    await room.reduce(512, within(20_000));
    await expect(room.restore(within(20_000))).rejects.toThrow(`guest ${slotOf(1)} (1) was not ended`);
    expect(xl.state().dom0.target).toBe(2007);
    await room.leave();
  });

  it('begins after what a dead pilot of the account left was given back', async () => {
    const { xl, settings } = xen();
    const dead = await enter(settings, 1);
    await dead.reduce(512, within(20_000));
    await crash(dead);
    const room = await enter(settings, 2);
    expect(xl.state().dom0.target).toBe(2007);
    await room.reduce(1024, within(20_000));
    expect(xl.state().dom0.target).toBe(983);
    await room.restore(within(20_000));
    await room.leave();
  });

  it('does not take the directory of a slot that another pilot has', async () => {
    const { settings } = xen();
    const shared = { ...settings, pilotsPerNode: 2 };
    const first = await enter(shared, 1);
    await expect(enter(shared, 1)).rejects.toThrow(`slot ${slotOf(1)} has something on this node already: process ${process.pid}`);
    await first.leave();
  });
});

describe('a guest\'s owner', () => {
  const slot = '0b1f6c4e-6d3a-4f0e-9d2b-5a1c3e7f9b20';
  it.each([
    [slot, true, {}], [`nimbus-${slot}`, true, {}], [`${slot}-1`, true, {}], [`${slot}.vm`, true, {}], ['wrksp-3', true, {}],
    [`x${slot}`, false, {}], [`${slot}0`, false, {}], ['wrksp-3', false, { alone: false }], ['wrksp-', false, {}], ['nimbus-a', false, {}],
    ['nimbus-a', true, { leases: ['a'] }], ['a', false, { leases: ['a'] }], ['batch', true, { slot: 'batch' }], ['batch-2', false, { slot: 'batch' }],
  ])('of %s is this slot: %s', (name, own, change) => {
    expect(isOwn({ name }, { slot, leases: [], alone: true, ...change })).toBe(own);
  });
});

const sharesOf = (targets: readonly HostTarget[]): number => targets.reduce((all, t) => all + t.mb, 0);

describe('shares of a host', () => {
  it('never leave it less than minmem, and add up to what it had', () => {
    fc.assert(fc.property(
      fc.integer({ min: 256, max: 1e6 }), fc.array(fc.record({ take: fc.boolean(), who: fc.nat(4), mb: fc.integer({ min: 1, max: 4e5 }), applied: fc.boolean() }), { maxLength: 40 }),
      (baseline, steps) => {
        let host = baseline;
        // A share that was written down and not taken: its pilot was killed in between. The next change takes it too.
        let open = false;
        const shares = new Map<number, HostTarget>();
        const others = (who: number): HostTarget[] => [...shares].filter(([w]) => w !== who).map(([, t]) => t);
        const giveBack = (who: number): void => {
          const mine = shares.get(who);
          if (mine === undefined) return;
          host = Math.max(host, planRestore(mine, others(who)).beforeMb);
          shares.delete(who);
        };
        for (const { take, who, mb, applied } of steps) {
          if (!take || shares.has(who)) giveBack(who);
          else {
            try {
              const target = planReduce(host, others(who), mb, 256);
              shares.set(who, target);
              if (applied) host = Math.min(host, target.afterMb);
              open = !applied;
            } catch {
              expect(baseline - sharesOf([...shares.values()]) - mb).toBeLessThan(256);
            }
          }
          if (!open) expect(host).toBe(baseline - sharesOf([...shares.values()]));
          expect(host).toBeGreaterThanOrEqual(Math.min(baseline, 256));
          expect(host).toBeLessThanOrEqual(baseline);
        }
        for (const who of [...shares.keys()]) giveBack(who);
        expect(host).toBe(baseline);
      },
    ));
  });
});

/** Where in a reservation a pilot is killed. */
type Death = 'before-change' | 'after-change' | null;
interface Step {
  readonly pilot: number;
  readonly mb: number;
  readonly death: Death;
}

describe('several pilots on a node', () => {
  it('end with what the host had, in whatever order they come, go, die and are recovered', async () => {
    const { totalMb } = await readMemInfo();
    const step = fc.record<Step>({ pilot: fc.nat(4), mb: fc.integer({ min: 1, max: 30 }).map((n) => n * 2), death: fc.constantFrom<Death>(null, null, null, 'after-change', 'after-change', 'before-change') });
    const batches = fc.array(fc.oneof(fc.array(step, { minLength: 1, maxLength: 5 }), fc.constant<'recover'>('recover')), { maxLength: 8 });
    await fc.assert(fc.asyncProperty(batches, fc.nat(20), async (plan, pages) => {
      const node = new Node(pages, totalMb);
      let open = false;
      for (const batch of plan) {
        if (batch === 'recover') await node.recover();
        else await Promise.all(firstOfEach(batch).map((s) => node.perform(s)));
        // A share that is on disk may not have been taken yet; nothing is taken that is not on disk.
        expect(node.hostMb()).toBeGreaterThanOrEqual(node.baselineMb - node.sharesMb());
        expect(node.hostMb()).toBeLessThanOrEqual(node.baselineMb);
        open ||= batch !== 'recover' && batch.some((s) => s.death === 'before-change');
        if (!open) expect(node.hostMb()).toBe(node.baselineMb - node.sharesMb());
      }
      await node.everyoneLeaves();
      expect(await node.recover()).toEqual([]);
      expect(node.hostMb()).toBe(node.baselineMb);
      expect(readdirSync(node.settings.stateBase)).toEqual([]);
    }), { numRuns: 25 });
  });
});

const firstOfEach = (batch: readonly Step[]): Step[] => batch.filter((s, i) => batch.findIndex((t) => t.pilot === s.pilot) === i);

/** A host whose memory is a file that stands for the kernel's pool of huge pages. */
class Node {
  readonly settings: NodeSettings;
  readonly baselineMb: number;
  readonly #file: string;
  readonly #totalMb: number;
  readonly #rooms = new Map<number, Room>();

  constructor(pages: number, totalMb: number) {
    const own = mkdtempSync(join(dir, 'node-'));
    mkdirSync(join(own, 'state'), { mode: 0o700 });
    mkdirSync(join(own, 'hugepages-2048kB'));
    this.#file = join(own, 'hugepages-2048kB', 'nr_hugepages');
    writeFileSync(this.#file, `${pages}\n`);
    writeFileSync(join(own, 'hugepages-2048kB', 'free_hugepages'), '0\n');
    this.#totalMb = totalMb;
    this.baselineMb = totalMb - pages * 2;
    this.settings = settingsIn(own, { mechanism: 'hugepages', pilotsPerNode: 5, minMb: 0, hugepages: { sizeKb: 2048, sysDir: own } });
  }

  hostMb(): number {
    return this.#totalMb - Number(readFileSync(this.#file, 'utf8')) * 2;
  }

  sharesMb(): number {
    return listSlots(this.settings.stateBase, uid).reduce((mb, { state }) => mb + (state?.target?.mb ?? 0), 0);
  }

  /** One that is there goes; else one comes, and may die on the way. */
  async perform({ pilot, mb, death }: Step): Promise<void> {
    const there = this.#rooms.get(pilot);
    this.#rooms.delete(pilot);
    if (there !== undefined) return death === null ? leave(there) : crash(there);
    const room = await enter(this.settings, pilot, dying(createMechanism(this.settings, ctx), death));
    const taken = await room.reduce(mb, within(20_000)).catch(() => null);
    if (death !== null) return crash(room);
    expect(taken).toBe(mb);
    this.#rooms.set(pilot, room);
  }

  async recover(): Promise<readonly string[]> {
    return (await recoverNode({ ctx, settings: this.settings, scope: {}, everyone: false }, within(20_000))).failures;
  }

  async everyoneLeaves(): Promise<void> {
    await Promise.all([...this.#rooms.values()].map(leave));
  }
}

async function leave(room: Room): Promise<void> {
  await room.restore(within(20_000));
  await room.leave();
}

function dying(m: MemoryMechanism, death: Death): MemoryMechanism {
  return {
    ...m, name: m.name,
    read: (signal) => m.read(signal), hostMb: (signal) => m.hostMb(signal), restore: (target, signal) => m.restore(target, signal),
    guests: (signal) => m.guests(signal), destroy: (guest, signal) => m.destroy(guest, signal), check: () => m.check(),
    reduce: async (target, signal) => {
      if (death === 'before-change') throw new Error('killed');
      const mb = await m.reduce(target, signal);
      if (death === 'after-change') throw new Error('killed');
      return mb;
    },
  };
}
