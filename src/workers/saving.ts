/**
 * Fetches disks that agents have saved, into the repository of their owner. Called again for the same lease, after a crash
 * or a lost answer, it fetches again, and the first image that was written down stays.
 */
import { readSaved } from '../control/client/saved.ts';
import type { ControlClient } from '../control/types.ts';
import type { ImageRepository } from '../images/repository.ts';
import { requireSpace } from '../images/space.ts';
import { Fault } from '../lease/faults.ts';
import type { Recorder, Report } from '../manager/recorder.ts';
import type { Context } from '../platform/context.ts';
import type { Db } from '../store/db.ts';
import type { IntentRow } from '../store/intents.ts';
import { ownerOfLease, type SavedFor } from '../store/leases.ts';
import { createShares, type Turn } from './shares.ts';

/** Transfers at a time; each holds about 1 MiB. Of those so many from one node, and for one user: others have room beside them. */
const AT_ONCE = 32;
const OF_ONE = { node: 4, user: 8 };
/** One that brings less than 1 MiB/s lets those go first who wait; so many slow nodes do not keep the others waiting either. */
const TURN_MS = 5_000;
const TURN_BYTES = 5 * 2 ** 20;
/** What a qcow2 file may have besides the bytes of its disk: tables and counts are less than a hundredth of them. */
const BESIDES = 1.01;
const BESIDES_BYTES = 2 ** 26;

export interface SaverDeps {
  readonly ctx: Context;
  readonly db: Db;
  readonly control: ControlClient;
  readonly repository: Pick<ImageRepository, 'take' | 'diskBytes'>;
  readonly recorder: Recorder;
  /** MiB that the images of one user may have together. */
  readonly userMb: number;
}

/** Resolves when the image is written down; rejects with why nothing was saved. */
export type Saver = (row: IntentRow, base: Omit<Report, 'kind'>) => Promise<void>;

export function createSaver(deps: SaverDeps): Saver {
  const shares = createShares(AT_ONCE, OF_ONE);
  return async (row, base) => {
    const { id } = await ownerOf(deps.db, row);
    // Asked again: what it is saved for may have changed while it waited.
    await shares.use({ node: row.node_id, user: id }, async (turn) => save(deps, turn, await ownerOf(deps.db, row), row, base));
  };
}

async function ownerOf(db: Db, row: IntentRow): Promise<SavedFor> {
  const [owner] = await db.query(ownerOfLease, [row.lease_id]);
  if (owner === undefined) throw new Error('the lease has no owner');
  if (row.kind === 'copy' && owner.order_id === null) throw new Error('the instance was asked for something else meanwhile');
  return owner;
}

async function save({ ctx, db, control, repository, recorder, userMb }: SaverDeps, turn: Turn, owner: SavedFor, row: IntentRow, base: Omit<Report, 'kind'>): Promise<void> {
  await requireSpace(db, owner.id, userMb, 1);
  const disk = Math.max(await repository.diskBytes({ file: row.image_file, format: row.image_format, size_bytes: row.image_size }), row.disk_mb * 2 ** 20);
  const most = Math.ceil(disk * BESIDES) + BESIDES_BYTES;
  await repository.take(owner, inTurns(ctx, turn, readSaved(ctx, control, row.node_id, row.lease_id, most)), async ({ diskBytes, ...image }) => {
    // What a node calls larger than it was would be as large the next time.
    if (diskBytes > most) throw new Fault('NodeRefused', `The disk of ${row.lease_id} is not kept.`, [`it is said to be one of ${diskBytes} bytes; the lease’s has at most ${most}`]);
    await requireSpace(db, owner.id, userMb, image.sizeBytes);
    await recorder.report({ ...base, kind: 'saved', intentId: row.id, image: { ...image, accountId: owner.id, ...becoming(owner, image.id, row) } });
  });
}

async function* inTurns({ clock }: Context, turn: Turn, pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let begun = clock.monotonic();
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    if (clock.monotonic() - begun >= TURN_MS) {
      if (bytes < TURN_BYTES && turn.wanted) await turn.pass();
      begun = clock.monotonic();
      bytes = 0;
    }
    yield piece;
  }
}

/** An image that was ordered has its id and its words already. */
function becoming(owner: SavedFor, id: string, row: IntentRow): { id: string; name: string; description: string } {
  if (owner.order_id !== null) return { id: owner.order_id, name: owner.order_name ?? '', description: owner.order_description ?? '' };
  const why = owner.save_as === null ? 'when the batch system took its node back' : 'as its user saved it';
  return { id, name: owner.save_as ?? `saved-${row.lease_id}`, description: `Disk of ${row.lease_id} ${why}; made from ${row.image_id}` };
}
