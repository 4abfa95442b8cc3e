/** Images as their users see them: their own, the common ones, and what others have opened to them. */
import { checkReference, findImage, imageNotFound } from '../images/lookup.ts';
import { Fault } from '../lease/faults.ts';
import type { Queryable } from '../store/db.ts';
import {
  accountsByOwnerIds, addImageGrants, changeImage, forgetImageOrder, imageGrants, imagesRemovedSince, removeAllImageGrants, removeImageGrants, seenImages,
  type ImageRow, type SeenImageRow,
} from '../store/images.ts';
import { lockBelongings, removeAllTags } from '../store/tags.ts';
import type { ManagerDeps } from './deps.ts';
import { makeImage } from './image-orders.ts';
import type { Caller, GrantChange, ImageView, Manager, SeenImage } from './types.ts';

/** Accounts that one image is opened to. */
const MOST_GRANTS = 1000;
const MOST_DESCRIPTION = 255;
const GONE_MS = 3_600_000;

export function imageCases(deps: ManagerDeps): Manager['images'] {
  const { db } = deps;
  return {
    async list(caller, query = {}) {
      query.ids?.forEach(checkReference);
      const images = (await db.query(seenImages, [caller.accountId])).map(seenImage);
      // Others' names are not the caller's to know images by.
      const called = (i: SeenImage): string[] => (i.owner === null || i.ownerId === caller.ownerId ? [i.id, i.name] : [i.id]);
      if (query.ids !== undefined) {
        const missing = query.ids.filter((id) => !images.some((i) => called(i).includes(id)));
        const gone = missing.length > 0 && query.gone === 'none' ? (await db.query(imagesRemovedSince, [caller.accountId, missing, new Date(deps.ctx.clock.now() - GONE_MS)])).map((i) => i.id) : [];
        const unknown = missing.filter((id) => !gone.includes(id));
        if (unknown.length > 0) throw imageNotFound(unknown);
      }
      return images.filter((i) => matches(query.ids, called(i)) && matches(query.names, [i.name]));
    },

    make: (caller, lease, image, options) => makeImage(deps, caller, lease, image, options?.dryRun === true),

    async remove(caller, id, options) {
      if (await forgetFailed(deps, caller, id, options?.dryRun === true)) return;
      await ownImage(db, caller, id);
      if (options?.dryRun === true) throw dryRun();
      if (deps.repository === undefined) throw new Fault('Unsupported', 'this part of the service has no images');
      await deps.repository.remove({ id });
    },

    async grants(caller, id) {
      await ownImage(db, caller, id);
      const image = (await db.query(seenImages, [caller.accountId])).find((i) => i.id === id);
      return { all: image?.public ?? false, accounts: (await db.query(imageGrants, [id])).map((g) => g.owner_id) };
    },

    async change(caller, id, { description, grants }, options) {
      if ((description?.length ?? 0) > MOST_DESCRIPTION) throw new Fault('ParameterInvalid', `A description has at most ${MOST_DESCRIPTION} characters`);
      await db.transaction(async (tx) => {
        await tx.query(lockBelongings, [caller.accountId]);
        await ownImage(tx, caller, id);
        await tx.query(changeImage, [id, grants === null ? false : grants?.all ?? null, description ?? null]);
        if (grants === null) await tx.query(removeAllImageGrants, [id]);
        else if (grants !== undefined) await changeGrants(tx, caller, id, grants);
        // Thrown inside, so that what was tried is rolled back.
        if (options?.dryRun === true) throw dryRun();
      });
    },
  };
}

async function changeGrants(tx: Queryable, caller: Caller, id: string, { add, remove }: GrantChange): Promise<void> {
  const wanted = [...new Set([...add, ...remove])];
  const accounts = new Map((await tx.query(accountsByOwnerIds, [wanted])).map((a) => [a.owner_id, a.id]));
  const idsOf = (owners: readonly string[]): number[] => owners.flatMap((o) => accounts.get(o) ?? []);
  const missing = add.find((o) => !accounts.has(o));
  if (missing !== undefined) throw new Fault('UserNotFound', `Invalid attribute item value "${missing.slice(0, 64)}" for userId item type.`, [], { ec2: 'InvalidAMIAttributeItemValue' });
  // To its owner it is open in any case.
  await tx.query(addImageGrants, [id, idsOf(add.filter((o) => o !== caller.ownerId))]);
  await tx.query(removeImageGrants, [id, idsOf(remove)]);
  const granted = (await tx.query(imageGrants, [id])).length;
  if (granted > MOST_GRANTS) throw new Fault('TooMany', `An image is opened to at most ${MOST_GRANTS} accounts`, [`it would be ${granted}`], { ec2: 'ResourceLimitExceeded' });
}

/** Common images are the administrators'. @throws Fault ImageNotFound, NotAuthorized */
async function ownImage(q: Queryable, caller: Caller, id: string): Promise<ImageRow> {
  const image = await findImage(q, caller.accountId, id);
  if (image.account_id !== caller.accountId && !(image.account_id === null && caller.admin)) {
    throw new Fault('NotAuthorized', `Not authorized for image:${id}`, ['it is not yours'], { ec2: 'AuthFailure' });
  }
  return image;
}

/** What could not be made is shown until it is removed. */
async function forgetFailed({ db }: ManagerDeps, caller: Caller, id: string, dry: boolean): Promise<boolean> {
  const order = (await db.query(seenImages, [caller.accountId])).find((i) => i.id === id && i.state !== 'available');
  if (order === undefined) return false;
  if (order.state === 'pending') throw new Fault('ImageUnavailable', `The image ${id} is being made`, ['wait until it is available or has failed']);
  if (dry) throw dryRun();
  await db.transaction(async (tx) => {
    await tx.query(lockBelongings, [caller.accountId]);
    const [gone] = await tx.query(forgetImageOrder, [id, caller.accountId]);
    if (gone !== undefined) await tx.query(removeAllTags, [[id]]);
  });
  return true;
}

const dryRun = (): Fault => new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');

const matches = (wanted: readonly string[] | undefined, has: readonly string[]): boolean =>
  wanted === undefined || has.some((h) => wanted.includes(h));

function seenImage(row: SeenImageRow): SeenImage {
  return { ...imageView(row), state: row.state, reason: row.reason, public: row.public, grantedTo: row.granted_to, tags: row.tags ?? {} };
}

export function imageView(row: ImageRow): ImageView {
  return {
    id: row.id, name: row.name, owner: row.owner, ownerId: row.owner_id, format: row.format, sizeBytes: row.size_bytes,
    sha256: row.sha256, description: row.description, createdAt: row.created_at,
  };
}
