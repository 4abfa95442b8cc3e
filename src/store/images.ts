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
const USABLE = 'i.removed_at IS NULL AND (i.account_id IS NULL OR i.account_id = $1)';
/** The caller's own before common ones. */
const OWN_FIRST = 'i.account_id NULLS LAST, i.name, i.id';

/** $1 account, $2 id */
export const usableImageById = statement<ImageRow>('usable-image-by-id', `${VIEW} WHERE ${USABLE} AND i.id = $2`);

/** $1 account, $2 name: the caller's own, else the common one */
export const usableImageByName = statement<ImageRow>('usable-image-by-name', `${VIEW} WHERE ${USABLE} AND i.name = $2 ORDER BY ${OWN_FIRST} LIMIT 1`);

/** $1 account */
export const usableImages = statement<ImageRow>('usable-images', `${VIEW} WHERE ${USABLE} ORDER BY ${OWN_FIRST}`);

/** Every user's. */
export const allImages = statement<ImageRow>('all-images', `${VIEW} WHERE i.removed_at IS NULL ORDER BY i.account_id NULLS FIRST, i.name`);

/** $1 account: its own */
export const imagesOfAccount = statement<ImageRow>('images-of-account', `${VIEW} WHERE i.removed_at IS NULL AND i.account_id = $1 ORDER BY i.name`);

/** $1 id, also of a removed one */
export const imageById = statement<ImageRow>('image-by-id', `${VIEW} WHERE i.id = $1`);

/** $1 id, $2 owner's name (null = common), $3 name; either id or name. A create that uses the image waits, or is waited for. */
export const lockImage = statement<ImageRow>('lock-image', `${VIEW}
   WHERE i.removed_at IS NULL AND (i.id = $1 OR ($1::text IS NULL AND i.name = $3 AND a.name IS NOT DISTINCT FROM $2))
     FOR UPDATE OF i`);

/** $1 ids: those that stand; they cannot be removed before the transaction ends. */
export const holdImages = statement<{ id: string }>('hold-images', `
  SELECT id FROM image WHERE id = ANY($1::text[]) AND removed_at IS NULL ORDER BY id FOR KEY SHARE`);

/** $1 image: live leases that use it, a few of them */
export const liveLeasesOfImage = statement<{ id: string }>('live-leases-of-image', `
  SELECT id FROM lease WHERE image_id = $1 AND NOT final ORDER BY seq LIMIT 10`);

/** $1 id, $2 account, $3 name, $4 format, $5 size, $6 sha256, $7 file, $8 description, $9 now; no row when the name is taken */
export const insertImage = statement<{ id: string }>('insert-image', `
  INSERT INTO image (id, account_id, name, format, size_bytes, sha256, file, description, created_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (coalesce(account_id, 0), name) WHERE removed_at IS NULL DO NOTHING
  RETURNING id`);

/** $1 id, $2 now */
export const markImageRemoved = statement<never>('mark-image-removed', 'UPDATE image SET removed_at = $2 WHERE id = $1');

/** Files of removed images that no live lease needs any more. */
export const removedImageFiles = statement<{ id: string; file: string }>('removed-image-files', `
  SELECT i.id, i.file FROM image i WHERE i.removed_at IS NOT NULL
     AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.image_id = i.id AND NOT l.final) ORDER BY i.id`);

/** $1 name: common images that have or had it, the standing one first */
export const commonImagesCalled = statement<ImageRow & { removed: boolean }>('common-images-called', `
  SELECT i.id, i.account_id, NULL AS owner, NULL AS owner_id, i.name, i.format, i.size_bytes, i.sha256, i.file, i.description,
         i.created_at, i.removed_at IS NOT NULL AS removed
    FROM image i WHERE i.account_id IS NULL AND i.name = $1 ORDER BY i.removed_at DESC NULLS FIRST LIMIT 1`);
