/** What of the data directory belongs to a backup: the service's own keys, and images on demand. */
import { createReadStream, type Dirent } from 'node:fs';
import { open, readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isDraft, RESTORED } from '../images/intake.ts';
import { syncDirectoryAsync } from '../platform/durable.ts';
import { errorCode, StartError } from '../platform/errors.ts';
import { makeDirectory } from '../platform/make-directory.ts';
import { MOST_BYTES } from './format.ts';

/** They belong to a cluster or to one run of a directory, not to the site. */
const STAY = new Set(['postgresql-password', 'lock-key']);
const NAMES = /^(?:keys\/[A-Za-z0-9._-]{1,100}|images\/[A-Za-z0-9._-]{1,64}\/[A-Za-z0-9._-]{1,100})$/;

const DRAFT = /^\.restored-([0-9a-f]{16})-(.+)$/;

export interface Places {
  readonly keys: string;
  readonly images: string;
}

export interface SourceFile {
  /** `keys/…` or `images/…` */
  readonly name: string;
  readonly path: string;
}

export async function keyFiles({ keys }: Places): Promise<SourceFile[]> {
  const entries = await readdir(keys, { withFileTypes: true });
  return entries.filter((e) => e.isFile() && !STAY.has(e.name) && !isDraft(e.name) && NAMES.test(`keys/${e.name}`)).map((e) => ({ name: `keys/${e.name}`, path: join(keys, e.name) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Parts of a file, the last one marked; nothing when it is gone. */
export async function* partsOf({ path }: SourceFile): AsyncGenerator<{ body: Buffer; mode: number; last: boolean }> {
  const found = await stat(path).catch((e: unknown) => {
    if (errorCode(e) === 'ENOENT') return undefined;
    throw e;
  });
  if (found === undefined) return;
  const mode = found.mode & 0o777;
  for await (const chunk of createReadStream(path, { highWaterMark: MOST_BYTES })) yield { body: chunk as Buffer, mode, last: false };
  yield { body: Buffer.alloc(0), mode, last: true };
}

/** Where a file of a backup goes. @throws StartError when it would go elsewhere */
export function placeOf(places: Places, name: string): string {
  const [, room = '', rest = ''] = /^(keys|images)\/(.+)$/.exec(name) ?? [];
  if (!NAMES.test(name) || rest.split('/').some((part) => /^\.+$/.test(part))) throw new StartError(`the backup has a file of an odd name, ${JSON.stringify(name)}`);
  return join(room === 'keys' ? places.keys : places.images, rest);
}

/** Writes files as drafts beside their places, to be put there when the database knows of them. */
export class FileWriter {
  readonly #drafts: string[] = [];
  readonly #folders = new Set<string>();
  #open: { name: string; file: FileHandle } | undefined;

  constructor(private readonly places: Places, private readonly restoration: string) {}

  async write(name: string, mode: number, body: Buffer, last: boolean): Promise<void> {
    if (this.#open?.name !== name) await this.#begin(name, mode);
    if (body.length > 0) await this.#open?.file.write(body);
    if (!last) return;
    await this.#open?.file.sync();
    await this.#open?.file.close();
    this.#open = undefined;
  }

  async #begin(name: string, mode: number): Promise<void> {
    const place = placeOf(this.places, name);
    const folder = dirname(place);
    makeDirectory(folder, 0o750);
    // A rename would find it in the way when the database has changed already.
    if (await isDirectory(place)) throw new StartError(`${place} is a directory; the backup has a file of that name: move it away`);
    const draft = join(folder, draftName(this.restoration, basename(place)));
    this.#drafts.push(draft);
    this.#folders.add(folder).add(dirname(folder));
    this.#open = { name, file: await open(draft, 'wx', mode) };
  }

  /** All drafts are on disk, with their names. */
  async sync(): Promise<void> {
    for (const folder of this.#folders) await syncDirectoryAsync(folder);
  }

  async drop(): Promise<void> {
    await this.#open?.file.close().catch(() => undefined);
    await Promise.all(this.#drafts.map((draft) => rm(draft, { force: true })));
  }
}

const draftName = (restoration: string, file: string): string => `${RESTORED}${restoration}-${file}`;

interface Draft {
  readonly restoration: string;
  readonly path: string;
  readonly place: string;
}

/** What restorations have written and not put in place. */
export async function draftsIn({ keys, images }: Places): Promise<Draft[]> {
  const folders = await readdir(images, { withFileTypes: true }).catch(nothingThere);
  const found: Draft[] = [];
  for (const folder of [keys, ...folders.filter((e) => e.isDirectory()).map((e) => join(images, e.name))]) {
    for (const { name } of await readdir(folder, { withFileTypes: true }).catch(nothingThere)) {
      const [, restoration, file] = DRAFT.exec(name) ?? [];
      if (restoration !== undefined && file !== undefined) found.push({ restoration, path: join(folder, name), place: join(folder, file) });
    }
  }
  return found;
}

function nothingThere(e: unknown): Dirent[] {
  if (['ENOENT', 'ENOTDIR'].includes(errorCode(e) ?? '')) return [];
  throw e;
}

const isDirectory = (path: string): Promise<boolean> => stat(path).then((s) => s.isDirectory(), () => false);
