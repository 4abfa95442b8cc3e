/**
 * Fetches disks that agents have saved, into the repository of their owner. Called again for the same lease, after a crash
 * or a lost answer, it fetches again, and the first image that was written down stays.
 */
import { readSaved } from '../control/client/saved.ts';
import { createSlots } from '../control/client/slots.ts';
import type { ControlClient } from '../control/types.ts';
import type { ImageRepository } from '../images/repository.ts';
import type { Recorder, Report } from '../manager/recorder.ts';
import type { Context } from '../platform/context.ts';
import type { Db } from '../store/db.ts';
import type { IntentRow } from '../store/intents.ts';
import { ownerOfLease, type SavedFor } from '../store/leases.ts';

/** Transfers at a time; each holds about 1 MiB. */
const AT_ONCE = 32;
/** What a qcow2 file may have besides the bytes of its disk: tables and counts are less than a hundredth of them. */
const BESIDES = 1.01;
const BESIDES_BYTES = 2 ** 26;

export interface SaverDeps {
  readonly ctx: Context;
  readonly db: Db;
  readonly control: ControlClient;
  readonly repository: Pick<ImageRepository, 'take' | 'diskBytes'>;
  readonly recorder: Recorder;
}

/** Resolves when the image is written down; rejects with why nothing was saved. */
export type Saver = (row: IntentRow, base: Omit<Report, 'kind'>) => Promise<void>;

export function createSaver({ ctx, db, control, repository, recorder }: SaverDeps): Saver {
  const slots = createSlots(AT_ONCE);
  return (row, base) => slots.use(async () => {
    const [owner] = await db.query(ownerOfLease, [row.lease_id]);
    if (owner === undefined) throw new Error('the lease has no owner');
    if (row.kind === 'copy' && owner.order_id === null) throw new Error('the instance was asked for something else meanwhile');
    const disk = Math.max(await repository.diskBytes({ file: row.image_file, format: row.image_format, size_bytes: row.image_size }), row.disk_mb * 2 ** 20);
    const saved = readSaved(ctx, control, row.node_id, row.lease_id, Math.ceil(disk * BESIDES) + BESIDES_BYTES);
    await repository.take(owner, saved, (image) => recorder.report({
      ...base, kind: 'saved', intentId: row.id, image: { ...image, accountId: owner.id, ...becoming(owner, image.id, row) },
    }));
  });
}

/** An image that was ordered has its id and its words already. */
function becoming(owner: SavedFor, id: string, row: IntentRow): { id: string; name: string; description: string } {
  if (owner.order_id !== null) return { id: owner.order_id, name: owner.order_name ?? '', description: owner.order_description ?? '' };
  const why = owner.save_as === null ? 'when the batch system took its node back' : 'as its user saved it';
  return { id, name: owner.save_as ?? `saved-${row.lease_id}`, description: `Disk of ${row.lease_id} ${why}; made from ${row.image_id}` };
}
