/**
 * The image repository: `common/` and a directory per user, a file per image named by its id. The table knows every
 * image; a file is in place before its row is, and goes after it. Clients name images, never files.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PUT_CHUNK, type ImageRef } from '../control/protocol.ts';
import { Fault } from '../lease/faults.ts';
import { isName } from '../lease/ids.ts';
import type { Context } from '../platform/context.ts';
import { reasonText } from '../platform/errors.ts';
import { newImageId } from '../platform/ids.ts';
import { makeDirectoryAsync } from '../platform/make-directory.ts';
import { isUnavailable, type Db, type Queryable } from '../store/db.ts';
import {
  commonImagesCalled, imageById, imagesOfAccount, imagesOfFile, insertImage, liveLeasesOfImage, lockImage, markImageRemoved, removedImageFiles, type ImageRow,
} from '../store/images.ts';
import { lockBelongings, removeAllTags } from '../store/tags.ts';
import { HEAD_BYTES, qcow2DiskBytes } from './format.ts';
import { draftFor, isDraft, settle, takeBytes, takeFile, takeStream, type Place, type Taken } from './intake.ts';
import { imageNotFound, looksLikeId } from './lookup.ts';

/** Directory of the images that all may use; no user has this name. */
export const COMMON = 'common';
export const BUILTIN_NAME = 'nimbus-guest';
const BUILTIN_DESCRIPTION = 'Built-in guest: prints its lease on the serial console';

export interface Owner {
  readonly id: number;
  readonly name: string;
}

export interface NewImageFile {
  readonly name: string;
  /** null = common */
  readonly owner: Owner | null;
  /** A file that the service can read. */
  readonly file: string;
  readonly description: string;
}

export type ImageName = { readonly id: string } | { readonly name: string; readonly owner: string | null };

export interface ImageRepository {
  /** @throws Fault */
  add(image: NewImageFile): Promise<ImageRow>;
  /**
   * Takes bytes in for an image whose row `write` is to write; when none names the file, it goes again.
   * @throws Fault when the bytes are no image, and what `bytes` and `write` throw
   */
  take(owner: Owner, bytes: AsyncIterable<Buffer>, write: (image: Taken & { readonly id: string; readonly file: string }) => Promise<void>): Promise<void>;
  /** Refused while live leases use it. @throws Fault */
  remove(which: ImageName): Promise<ImageRow>;
  /** Every image of an account, inside the transaction that removes it. Returns what removes the files after the commit. */
  removeAllOf(tx: Queryable, accountId: number): Promise<() => Promise<void>>;
  /** The bytes, in chunks that fit one `put`. */
  open(image: ImageRef): AsyncIterable<Buffer>;
  /** Bytes of the disk that it describes. */
  diskBytes(image: Pick<ImageRow, 'file' | 'format' | 'size_bytes'>): Promise<number>;
  /** Where a row's `file` lies. */
  path(file: string): string;
  /** Has the built-in guest be a common image, of these bytes. An administrator who removed or replaced it is obeyed. */
  ensureBuiltin(bytes: Buffer): Promise<void>;
  /**
   * At the start, before any addition: removes files of removed images that no live lease needs and, where no other service may
   * be adding one (`alone`), what interrupted additions and restorations left.
   */
  tidy(alone?: boolean): Promise<void>;
}

interface Deps {
  readonly ctx: Context;
  readonly db: Db;
  readonly directory: string;
}

export function createImageRepository({ ctx, db, directory }: Deps): ImageRepository {
  const root = resolve(directory);
  const path = (file: string): string => join(root, file);

  /**
   * Takes bytes in, then writes the row with `write`; without the row the file goes again. While the database is away nobody
   * knows whether the row is there: a file without a row is what fsck shows, a row without its file is an image that is lost.
   */
  async function bring(owner: Owner | null, bytes: (place: Place) => Promise<Taken>, write: (id: string, taken: Taken, file: string) => Promise<void>): Promise<string> {
    const id = newImageId(ctx.random);
    const folder = owner?.name ?? COMMON;
    const place = { draft: draftFor(path(folder), id), mode: owner === null ? 0o640 : 0o600, dirMode: owner === null ? 0o750 : 0o700 };
    const taken = await bytes(place);
    const file = join(folder, `${id}.${taken.format}`);
    try {
      await settle(place.draft, path(file));
      await write(id, taken, file);
    } catch (e) {
      await rm(place.draft, { force: true });
      if (isUnavailable(e)) ctx.log.warn('it is not known whether an image was written down; its file is kept', { file });
      else await rm(path(file), { force: true });
      throw e;
    }
    return id;
  }

  async function insert(q: Queryable, id: string, name: string, owner: Owner | null, description: string, taken: Taken, file: string): Promise<void> {
    const rows = await q.query(insertImage, [
      id, owner?.id ?? null, name, taken.format, taken.sizeBytes, taken.sha256, file, description, new Date(ctx.clock.now()),
    ]);
    if (rows.length === 0) throw new Fault('ImageExists', `An image named ${name} exists already`);
  }

  async function rowOf(id: string): Promise<ImageRow> {
    const [row] = await db.query(imageById, [id]);
    if (row === undefined) throw imageNotFound([id]);
    return row;
  }

  async function dropFile(image: { readonly id: string; readonly file: string }): Promise<void> {
    await rm(path(image.file), { force: true }).catch((e: unknown) => {
      ctx.log.warn('the file of a removed image could not be removed', { image: image.id, error: String(e) });
    });
  }

  /** Another image of the same lease may have been written down before: then this file is nobody's. */
  async function dropUnnamed(id: string, file: string): Promise<void> {
    try {
      if ((await db.query(imagesOfFile, [file])).length === 0) await dropFile({ id, file });
    } catch (e) {
      ctx.log.warn('it is not known whether an image has this file; it is kept', { file, error: reasonText(e) });
    }
  }

  async function replaceBuiltin(bytes: Buffer, old: ImageRow | undefined): Promise<void> {
    const id = await bring(null, (place) => takeBytes(bytes, place), (newId, taken, file) => db.transaction(async (tx) => {
      if (old !== undefined) await tx.query(markImageRemoved, [old.id, new Date(ctx.clock.now())]);
      await insert(tx, newId, BUILTIN_NAME, null, BUILTIN_DESCRIPTION, taken, file);
    }));
    ctx.log.info('the built-in guest is in the repository', { image: id, replaced: old?.id ?? null });
  }

  return {
    path,

    async add(image) {
      checkName(image.name);
      const id = await bring(image.owner, (place) => takeFile(image.file, place),
        (newId, taken, file) => insert(db, newId, image.name, image.owner, image.description, taken, file));
      return rowOf(id);
    },

    async take(owner, bytes, write) {
      const id = await bring(owner, (place) => takeStream(bytes, place), async (newId, taken, file) => {
        await write({ ...taken, id: newId, file });
        await dropUnnamed(newId, file);
      });
      ctx.log.info('an image was taken in', { file: id, owner: owner.name });
    },

    async remove(which) {
      const [id, owner, name] = 'id' in which ? [which.id, null, null] : [null, which.owner, which.name];
      const image = await db.transaction(async (tx) => {
        const [row] = await tx.query(lockImage, [id, owner, name]);
        if (row === undefined) throw imageNotFound([id ?? name ?? '']);
        await markRemoved(tx, row, ctx.clock.now());
        return row;
      });
      await dropFile(image);
      return image;
    },

    async removeAllOf(tx, accountId) {
      const images = await tx.query(imagesOfAccount, [accountId]);
      for (const image of images) await markRemoved(tx, image, ctx.clock.now());
      return async () => void await Promise.all(images.map(dropFile));
    },

    async *open(image) {
      const { file } = await rowOf(image.id);
      yield* createReadStream(path(file), { highWaterMark: PUT_CHUNK });
    },

    async diskBytes(image) {
      if (image.format === 'raw') return image.size_bytes;
      const file = await open(path(image.file));
      try {
        const head = Buffer.alloc(HEAD_BYTES);
        await file.read(head, 0, HEAD_BYTES, 0);
        return qcow2DiskBytes(head);
      } finally {
        await file.close();
      }
    },

    async ensureBuiltin(bytes) {
      const [image] = await db.query(commonImagesCalled, [BUILTIN_NAME]);
      if (image === undefined) return replaceBuiltin(bytes, undefined);
      if (image.removed || image.description !== BUILTIN_DESCRIPTION) return;
      const same = image.sha256 === createHash('sha256').update(bytes).digest('hex') && existsSync(path(image.file));
      if (!same) await replaceBuiltin(bytes, image);
    },

    async tidy(alone = true) {
      await makeDirectoryAsync(path(COMMON), 0o750);
      for (const folder of alone ? await readdir(root, { withFileTypes: true }) : []) {
        if (!folder.isDirectory()) continue;
        const left = (await readdir(path(folder.name))).filter(isDraft);
        await Promise.all(left.map((file) => rm(path(join(folder.name, file)), { force: true })));
      }
      await Promise.all((await db.query(removedImageFiles)).map(dropFile));
    },
  };
}

/** @throws Fault ImageInUse. The row is locked. */
async function markRemoved(tx: Queryable, image: ImageRow, now: number): Promise<void> {
  const users = await tx.query(liveLeasesOfImage, [image.id]);
  if (users.length > 0) throw new Fault('ImageInUse', `Image ${image.name} is in use`, users.map((l) => `lease ${l.id} uses it`));
  if (image.account_id !== null) await tx.query(lockBelongings, [image.account_id]);
  await tx.query(removeAllTags, [[image.id]]);
  await tx.query(markImageRemoved, [image.id, new Date(now)]);
}

function checkName(name: string): void {
  if (!isName(name)) throw new Fault('ParameterInvalid', 'An image name is 1 to 64 letters, digits, ".", "_" or "-"', [`${JSON.stringify(name.slice(0, 100))} is not`]);
  if (looksLikeId(name)) throw new Fault('ParameterInvalid', 'An image name cannot begin with ami-, as ids do', [name]);
}
