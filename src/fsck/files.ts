/**
 * The image repository: each image has its file, each file its image. A whole file that no image has may be somebody's work: an
 * older database was restored, or the directory is not what it should be. It is shown; only drafts that nobody writes to any more are removed.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { isDraft } from '../images/intake.ts';
import { COMMON } from '../images/repository.ts';
import { markIn, strange } from '../images/shared.ts';
import { IMAGE_ID } from '../lease/ids.ts';
import { errorCode, reasonText } from '../platform/errors.ts';
import { statement, type Queryable } from '../store/db.ts';
import type { Problem } from './types.ts';

interface ImageRow { id: string; name: string; file: string; size_bytes: number; sha256: string; removed: boolean }
/** Removed ones too: leases that still live may need their files. */
const IMAGES = statement<ImageRow>('fsck-images', 'SELECT id, name, file, size_bytes, sha256, removed_at IS NOT NULL AS removed FROM image ORDER BY id');

export const knownImages = (tx: Queryable): Promise<ImageRow[]> => tx.query(IMAGES);

const AGAIN = 'remove the image and add it again with: nimbus image add';

/** An addition that has not written for so long was interrupted. */
const DRAFT_MS = 86_400_000;

export interface Repository {
  readonly directory: string;
  readonly images: readonly ImageRow[];
  /** What the database knows of its directory. */
  readonly mark: string | undefined;
  readonly now: number;
}

/** `suspects`: digests of these files only; all when undefined. */
export async function lookAtFiles({ directory, images, mark, now }: Repository, deep: boolean, suspects?: ReadonlySet<string>): Promise<Problem[]> {
  const marked = await markIn(directory);
  if (marked !== undefined && marked !== mark) {
    const { what, mend } = strange(directory);
    return [{ rule: 'image-directory', of: directory, what: `${what}: its files were not looked at`, mend, repairs: false }];
  }
  const found: Problem[] = [];
  const problem = (rule: string, of: string, what: string, mend = AGAIN, repairs = false): void => void found.push({ rule, of, what, mend, repairs });
  for (const image of images.filter((i) => !i.removed)) {
    const file = join(directory, image.file);
    const size = await sizeOf(file);
    if (typeof size === 'string') problem('image-file', image.id, `image ${image.name} (${image.id}) has no file that can be read: ${file}: ${size}`);
    else if (size !== image.size_bytes) problem('image-size', image.id, `the file of image ${image.name} (${image.id}) has ${size} bytes instead of ${image.size_bytes}: ${file}`);
    else if (deep && (suspects === undefined || suspects.has(image.id)) && await digestOf(file) !== image.sha256) {
      problem('image-digest', image.id, `the file of image ${image.name} (${image.id}) is not what it was when it was added: ${file}`);
    }
  }
  const known = new Set(images.map((i) => i.file));
  for (const file of await filesIn(directory)) {
    if (isDraft(basename(file))) {
      if (await isLeft(directory, file, now)) problem('image-draft', file, `${join(directory, file)} was not finished, and nobody has written to it for a day`, 'removes it', marked !== undefined);
    } else if (!known.has(file)) {
      problem('image-unknown', file, `no image has the file ${join(directory, file)}`, isImageFile(file) ? keeping(join(directory, file)) : 'move it elsewhere');
    }
  }
  return found;
}

export async function removeDraft(directory: string, file: string, now: number): Promise<void> {
  if (isDraft(basename(file)) && await isLeft(directory, file, now)) await rm(join(directory, file), { force: true });
}

/** False too when it is gone. */
const isLeft = (directory: string, file: string, now: number): Promise<boolean> => stat(join(directory, file)).then((s) => now - s.mtimeMs > DRAFT_MS, () => false);

/** It may be of an image that the database does not know any more. */
function keeping(path: string): string {
  const folder = basename(dirname(path));
  return `add it again with: nimbus image add NAME${folder === COMMON ? '' : ` --owner ${folder}`} ${path}; then, or when nobody misses it, remove the file`;
}

/** Named as the repository names them, by an id. */
const isImageFile = (file: string): boolean => {
  const [, id = ''] = /\/([^/]+)\.(?:raw|qcow2)$/.exec(file) ?? [];
  return IMAGE_ID.test(id);
};

async function sizeOf(file: string): Promise<number | string> {
  try {
    return (await stat(file)).size;
  } catch (e) {
    return reasonText(e);
  }
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/** Relative paths, one folder deep as the repository makes them. */
async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((e: unknown) => {
    if (errorCode(e) === 'ENOENT') return [];
    throw e;
  });
  const below = await Promise.all(entries.map(async (e) => (e.isDirectory() ? (await readdir(join(directory, e.name))).map((file) => join(e.name, file)) : [e.name])));
  // Marks of the repository itself begin with a dot.
  return below.flat().filter((file) => !file.startsWith('.')).sort();
}
