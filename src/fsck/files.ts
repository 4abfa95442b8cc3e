/** The image repository: each image has its file, each file its image. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { INCOMING } from '../images/intake.ts';
import { IMAGE_ID } from '../lease/ids.ts';
import { errorCode, reasonText } from '../platform/errors.ts';
import { statement, type Queryable } from '../store/db.ts';
import type { Problem } from './types.ts';

interface ImageRow { id: string; name: string; file: string; size_bytes: number; sha256: string; removed: boolean }
/** Removed ones too: leases that still live may need their files. */
const IMAGES = statement<ImageRow>('fsck-images', 'SELECT id, name, file, size_bytes, sha256, removed_at IS NOT NULL AS removed FROM image ORDER BY id');

export const knownImages = (tx: Queryable): Promise<ImageRow[]> => tx.query(IMAGES);

const AGAIN = 'remove the image and add it again with: nimbus image add';

/** `suspects`: digests of these files only; all when undefined. */
export async function lookAtFiles(directory: string, images: readonly ImageRow[], deep: boolean, suspects?: ReadonlySet<string>): Promise<Problem[]> {
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
    if (known.has(file)) continue;
    const left = isImageFile(file);
    problem('image-unknown', file, `no image has the file ${join(directory, file)}`, left ? 'removes the file, which an interrupted addition left' : 'move it elsewhere', left);
  }
  return found;
}

export const removeFile = (directory: string, file: string): Promise<void> => rm(join(directory, file), { force: true });

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
  // Marks of the repository itself begin with a dot, as drafts do.
  return below.flat().filter((file) => !file.startsWith('.') && !(file.split('/').at(-1) ?? '').startsWith(INCOMING)).sort();
}
