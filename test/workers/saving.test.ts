/** Fetching of saved disks from nodes that may be slow, or lie: what one node and one user can take of it. */
import { describe, expect, it } from 'vitest';
import { isFault } from '../../src/lease/faults.ts';
import type { Recorder } from '../../src/manager/recorder.ts';
import type { Db } from '../../src/store/db.ts';
import type { IntentRow } from '../../src/store/intents.ts';
import { imageBytesOfAccount } from '../../src/store/images.ts';
import { createSaver, type SaverDeps } from '../../src/workers/saving.ts';
import { manualClock } from '../control/client/manual-clock.ts';
import { testContext } from '../support/context.ts';

const MB = 2 ** 20;
const USER_MB = 100;
/** A piece of a disk. */
const PIECE = 1024;

type Taken = Parameters<Parameters<SaverDeps['repository']['take']>[2]>[0];

function world() {
  const clock = manualClock();
  /** Of slow nodes pieces come when the test says so. */
  const held: Array<{ readonly node: number; readonly go: () => void }> = [];
  const slow = new Set<number>();
  const begun: Array<{ node: number; owner: number }> = [];
  const saved: string[] = [];
  const state = { used: 0, taken: { id: 'ami-1', file: 'f', format: 'raw', sizeBytes: 512, sha256: '', diskBytes: 512 } as Taken };
  const db = { query: (s: unknown, [v]: readonly unknown[]) => Promise.resolve(s === imageBytesOfAccount ? [{ bytes: state.used }] : [{ id: Number(String(v).split('-')[1]), name: 'u', order_id: null, save_as: null }]) };
  const control = {
    ask: async (node: number, _: unknown) => {
      if (slow.has(node)) await new Promise<void>((resolve) => void held.push({ node, go: resolve }));
      return { result: { saved: Buffer.alloc(PIECE).toString('base64'), totalBytes: PIECE } };
    },
  };
  const save = createSaver({
    ctx: testContext({ clock }), db: db as unknown as Db, control: control as unknown as SaverDeps['control'], userMb: USER_MB,
    recorder: { report: ({ lease }: { lease: string }) => Promise.resolve(void saved.push(lease)) } as unknown as Recorder,
    repository: {
      diskBytes: () => Promise.resolve(MB),
      async take(owner, bytes, write) {
        begun.push({ node: Number(owner.name), owner: owner.id });
        for await (const piece of bytes) void piece;
        await write(state.taken);
      },
    },
  });
  const one = (node: number, user: number): Promise<void> => save({ lease_id: `i-${user}`, node_id: node, image_file: '', image_format: 'raw', image_size: MB, disk_mb: 1 } as IntentRow, { lease: `i-${user}`, node: '' } as never);
  /** The next piece of a disk of this node comes. */
  const piece = (node: number): void => held.splice(held.findIndex((h) => h.node === node), 1)[0]?.go();
  const letGo = async (all: ReadonlyArray<Promise<void>>): Promise<void> => {
    slow.clear();
    held.splice(0).forEach((h) => h.go());
    await Promise.all(all);
  };
  return { clock, slow, begun, saved, state, one, piece, letGo };
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 50; i += 1) await new Promise((r) => setImmediate(r));
};

describe('slow nodes', () => {
  it('have four transfers each, their users eight, and keep nobody else from his', async () => {
    const w = world();
    for (const node of [1, 2, 3, 4]) w.slow.add(node);
    const all = Array.from({ length: 40 }, (_, i) => w.one(1 + (i % 4), 1));
    await turns();
    expect(w.begun).toHaveLength(8);
    // User 1 has what he can have; on his nodes there is room for others.
    all.push(...Array.from({ length: 10 }, () => w.one(1, 2)));
    await turns();
    expect(w.begun).toHaveLength(10);
    await w.one(5, 2);
    await w.one(5, 3);
    expect(w.saved).toEqual(['i-2', 'i-3']);
    await w.letGo(all);
    expect(w.saved).toHaveLength(52);
  });

  it('that have all the places let those go first who wait', async () => {
    const w = world();
    const slow = Array.from({ length: 8 }, (_, i) => i + 1);
    slow.forEach((n) => w.slow.add(n));
    const all = slow.flatMap((n) => Array.from({ length: 4 }, () => w.one(n, n)));
    await turns();
    expect(w.begun).toHaveLength(32);
    const other = w.one(100, 100);
    await turns();
    expect(w.saved).toEqual([]);
    // A piece comes after ten seconds: less than 1 MiB/s. Each is to go on after that.
    await w.clock.advance(10_000);
    w.piece(1);
    await other;
    expect(w.saved).toEqual(['i-100']);
    await w.letGo(all);
    expect(w.saved).toHaveLength(33);
  });
});

describe('what a node brings', () => {
  const refusal = (work: Promise<void>): Promise<unknown> => work.then(() => 'saved', (e: unknown) => (isFault(e) ? [e.code, e.text] : e));

  it('is not kept when it calls its disk larger than the lease’s was', async () => {
    const w = world();
    w.state.taken = { ...w.state.taken, format: 'qcow2', diskBytes: 2 ** 50 };
    expect(await refusal(w.one(1, 1))).toEqual(['NodeRefused', expect.stringMatching(/is not kept.* 1125899906842624 bytes; the lease’s has at most/)]);
    expect(w.saved).toEqual([]);
  });

  it('is not kept beyond what the images of its user may have together', async () => {
    const w = world();
    w.state.used = (USER_MB - 1) * MB;
    w.state.taken = { ...w.state.taken, sizeBytes: MB + 1 };
    expect(await refusal(w.one(1, 1))).toEqual(['TooMany', expect.stringMatching(/images\.user_mb allows 100 MiB together, 99 MiB are used, 2 MiB more/)]);
    w.state.taken = { ...w.state.taken, sizeBytes: MB };
    expect(await refusal(w.one(1, 1))).toBe('saved');
  });

  it('is not begun when its user has no room left', async () => {
    const w = world();
    w.state.used = USER_MB * MB;
    expect(await refusal(w.one(1, 1))).toEqual(['TooMany', expect.any(String)]);
    expect(w.begun).toEqual([]);
  });
});
