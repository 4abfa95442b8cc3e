/** Statements on images. `file` is relative to the repository's directory. */
import { statement } from './db.ts';

export interface ImageRow {
  id: string;
  account_id: number | null;
  /** null = common */
  owner: string | null;
  owner_id: string | null;
  name: string;
  format: 'raw' | 'qcow2';
  size_bytes: number;
  sha256: string;
  file: string;
  description: string;
  created_at: number;
}
const VIEW = `
  SELECT i.id, i.account_id, a.name AS owner, a.owner_id, i.name, i.format, i.size_bytes, i.sha256, i.file, i.description, i.created_at
    FROM image i LEFT JOIN account a ON a.id = i.account_id`;
const NAMEABLE = 'i.removed_at IS NULL AND (i.account_id IS NULL OR i.account_id = $1)';
/** Beside those, what others have opened to the caller or to all: by id only, so that nobody's name stands before another's. */
const USABLE = `i.removed_at IS NULL AND (i.account_id IS NULL OR i.account_id = $1 OR i.public
     OR EXISTS (SELECT 1 FROM image_grant g WHERE g.image_id = i.id AND g.account_id = $1))`;
/** The caller's own before common ones. */
const OWN_FIRST = 'i.account_id NULLS LAST, i.name, i.id';

/** $1 account, $2 id */
export const usableImageById = statement<ImageRow>('usable-image-by-id', `${VIEW} WHERE ${USABLE} AND i.id = $2`);

/** $1 account, $2 name: the caller's own, else the common one */
export const usableImageByName = statement<ImageRow>('usable-image-by-name', `${VIEW} WHERE ${NAMEABLE} AND i.name = $2 ORDER BY ${OWN_FIRST} LIMIT 1`);

/** As a user sees it, with what he may know of it. */
export interface SeenImageRow extends ImageRow {
  state: 'available' | 'pending' | 'failed';
  reason: string | null;
  public: boolean;
  /** Owner ids of those whom it is opened to: to its owner all of them, to others themselves. */
  granted_to: string[];
  tags: Record<string, string> | null;
}
/** Of a lease `l` with an order: while it is shut down for its disk, or runs on meanwhile. */
export const BEING_SAVED = "l.state IN ('ReadyingForTransport', 'Running')";
/** An order as an image: with the columns of `VIEW`, its state and why it failed. */
const ORDERED = `o.id, o.account_id, a.name AS owner, a.owner_id, o.name, 'qcow2' AS format, 0 AS size_bytes, '' AS sha256, '' AS file, o.description, o.created_at,
         CASE WHEN l.id IS NULL THEN 'failed' ELSE 'pending' END AS state,
         CASE WHEN l.id IS NULL THEN coalesce(o.reason, 'the instance ended, or was asked for something else, before its disk was saved') END AS reason`;
const ORDERS = `image_order o JOIN account a ON a.id = o.account_id
    LEFT JOIN lease l ON l.id = o.lease_id AND l.image_order = o.id AND ${BEING_SAVED} AND o.failed_at IS NULL`;
const TAGS = (id: string): string => `(SELECT jsonb_object_agg(t.key, t.value) FROM tag t WHERE t.resource_id = ${id} AND t.account_id = $1) AS tags`;

/** $1 account: what it may use, and what is being made for it, or could not be made. */
export const seenImages = statement<SeenImageRow>('seen-images', `
  SELECT i.id, i.account_id, a.name AS owner, a.owner_id, i.name, i.format, i.size_bytes, i.sha256, i.file, i.description, i.created_at,
         'available' AS state, NULL AS reason, i.public, ${TAGS('i.id')},
         ARRAY(SELECT b.owner_id FROM image_grant g JOIN account b ON b.id = g.account_id
                WHERE g.image_id = i.id AND (i.account_id = $1 OR g.account_id = $1) ORDER BY b.owner_id) AS granted_to
    FROM image i LEFT JOIN account a ON a.id = i.account_id WHERE ${USABLE}
   UNION ALL
  SELECT ${ORDERED}, false, ${TAGS('o.id')}, ARRAY[]::text[] FROM ${ORDERS} WHERE o.account_id = $1
   ORDER BY account_id NULLS LAST, name, id`);

/** Every user's that are being made, or could not be. */
export const allOrders = statement<ImageRow & Pick<SeenImageRow, 'state' | 'reason'>>('all-image-orders', `
  SELECT ${ORDERED} FROM ${ORDERS} ORDER BY a.name, o.name, o.id`);

/** $1 id */
export const imageGrants = statement<{ owner_id: string }>('image-grants', `
  SELECT b.owner_id FROM image_grant g JOIN account b ON b.id = g.account_id WHERE g.image_id = $1 ORDER BY b.owner_id`);

/** $1 owner ids: accounts that stand */
export const accountsByOwnerIds = statement<{ id: number; owner_id: string }>('accounts-by-owner-ids', `
  SELECT id, owner_id FROM account WHERE owner_id = ANY($1::text[]) AND removed_at IS NULL`);

/** $1 image, $2 accounts */
export const addImageGrants = statement<never>('add-image-grants', `
  INSERT INTO image_grant (image_id, account_id) SELECT $1, unnest($2::bigint[]) ON CONFLICT DO NOTHING`);
export const removeImageGrants = statement<never>('remove-image-grants', 'DELETE FROM image_grant WHERE image_id = $1 AND account_id = ANY($2::bigint[])');

/** $1 image */
export const removeAllImageGrants = statement<never>('remove-all-image-grants', 'DELETE FROM image_grant WHERE image_id = $1');

/** $1 image, $2 for all, $3 description; null leaves what stands */
export const changeImage = statement<never>('change-image', 'UPDATE image SET public = coalesce($2, public), description = coalesce($3, description) WHERE id = $1');

/** $1 file: whose row names it */
export const imagesOfFile = statement<{ id: string }>('images-of-file', 'SELECT id FROM image WHERE file = $1');

/** $1 id, $2 account, $3 lease, $4 the lease's image, $5 name, $6 description, $7 the VM runs again afterwards, $8 now */
export const insertImageOrder = statement<never>('insert-image-order', `
  INSERT INTO image_order (id, account_id, lease_id, image_id, name, description, restart, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`);

export interface ImageOrderRow {
  id: string;
  restart: boolean;
}
/** $1 ids */
export const imageOrders = statement<ImageOrderRow>('image-orders', 'SELECT id, restart FROM image_order WHERE id = ANY($1::text[])');

/** $1 id: it is neither made yet nor failed */
export const unfinishedOrder = statement<{ id: string }>('unfinished-order', 'SELECT id FROM image_order WHERE id = $1 AND failed_at IS NULL');

/** $1 ids, $2 why, in parallel arrays, $3 now */
export const failImageOrders = statement<never>('fail-image-orders', `
  UPDATE image_order o SET failed_at = $3, reason = x.reason FROM unnest($1::text[], $2::text[]) AS x(id, reason) WHERE o.id = x.id AND o.failed_at IS NULL`);

/** $1 id, $2 account (null = any): what became an image, or is forgotten. One that is being made is not. */
export const forgetImageOrder = statement<{ id: string }>('forget-image-order', `
  DELETE FROM image_order o WHERE id = $1 AND ($2::bigint IS NULL OR account_id = $2)
     AND ($2::bigint IS NULL OR NOT EXISTS (SELECT 1 FROM lease l WHERE l.id = o.lease_id AND l.image_order = o.id AND ${BEING_SAVED} AND o.failed_at IS NULL))
  RETURNING id`);

/** $1 account, $2 name: what is being made under it */
export const ordersCalled = statement<{ id: string }>('orders-called', `
  SELECT o.id FROM image_order o JOIN lease l ON l.id = o.lease_id AND l.image_order = o.id AND ${BEING_SAVED}
   WHERE o.account_id = $1 AND o.name = $2 AND o.failed_at IS NULL`);

/** Every user's. */
export const allImages = statement<ImageRow>('all-images', `${VIEW} WHERE i.removed_at IS NULL ORDER BY i.account_id NULLS FIRST, i.name`);

/** $1 account: its own */
export const imagesOfAccount = statement<ImageRow>('images-of-account', `${VIEW} WHERE i.removed_at IS NULL AND i.account_id = $1 ORDER BY i.name`);

/** $1 account: bytes of its images together */
export const imageBytesOfAccount = statement<{ bytes: number }>('image-bytes-of-account', 'SELECT coalesce(sum(size_bytes), 0)::bigint AS bytes FROM image WHERE account_id = $1 AND removed_at IS NULL');

/** $1 id, also of a removed one */
export const imageById = statement<ImageRow>('image-by-id', `${VIEW} WHERE i.id = $1`);

/** $1 ids, also of removed ones */
export const imagesByIds = statement<ImageRow>('images-by-ids', `${VIEW} WHERE i.id = ANY($1::text[])`);

/** $1 id, $2 owner's name (null = common), $3 name; either id or name. A create that uses the image waits, or is waited for. */
export const lockImage = statement<ImageRow>('lock-image', `${VIEW}
   WHERE i.removed_at IS NULL AND (i.id = $1 OR ($1::text IS NULL AND i.name = $3 AND a.name IS NOT DISTINCT FROM $2))
     FOR UPDATE OF i`);

/** $1 image: live leases that use it, a few of them */
export const liveLeasesOfImage = statement<{ id: string }>('live-leases-of-image', `
  SELECT id FROM lease WHERE image_id = $1 AND NOT final ORDER BY seq LIMIT 10`);

/** $1 id, $2 account, $3 name, $4 format, $5 size, $6 sha256, $7 file, $8 description, $9 now, unless it was ordered earlier; no row when the name is taken, or the image is there already */
export const insertImage = statement<{ id: string }>('insert-image', `
  INSERT INTO image (id, account_id, name, format, size_bytes, sha256, file, description, created_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce((SELECT o.created_at FROM image_order o WHERE o.id = $1), $9)) ON CONFLICT DO NOTHING
  RETURNING id`);

/** $1 id, $2 now */
export const markImageRemoved = statement<never>('mark-image-removed', 'UPDATE image SET removed_at = $2 WHERE id = $1');

/** $1 account, $2 ids, $3 since when: its own */
export const imagesRemovedSince = statement<{ id: string }>('images-removed-since', `
  SELECT id FROM image WHERE account_id = $1 AND id = ANY($2::text[]) AND removed_at > $3`);

/** Files of removed images that no live lease needs any more. */
export const removedImageFiles = statement<{ id: string; file: string }>('removed-image-files', `
  SELECT i.id, i.file FROM image i WHERE i.removed_at IS NOT NULL
     AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.image_id = i.id AND NOT l.final) ORDER BY i.id`);

/** $1 name: common images that have or had it, the standing one first */
export const commonImagesCalled = statement<ImageRow & { removed: boolean }>('common-images-called', `
  SELECT i.id, i.account_id, NULL AS owner, NULL AS owner_id, i.name, i.format, i.size_bytes, i.sha256, i.file, i.description,
         i.created_at, i.removed_at IS NOT NULL AS removed
    FROM image i WHERE i.account_id IS NULL AND i.name = $1 ORDER BY i.removed_at DESC NULLS FIRST LIMIT 1`);
