/** What of the data directory belongs to a backup: the service's own keys, and images on demand. */
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode, StartError } from '../platform/errors.ts';
import { MOST_BYTES } from './format.ts';

/** They belong to a cluster or to one run of a directory, not to the site. */
const STAY = new Set(['postgresql-password', 'lock-key']);
const NAMES = /^(?:keys\/[A-Za-z0-9._-]{1,100}|images\/[A-Za-z0-9._-]{1,64}\/[A-Za-z0-9._-]{1,100})$/;

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
  return entries.filter((e) => e.isFile() && !STAY.has(e.name) && NAMES.test(`keys/${e.name}`)).map((e) => ({ name: `keys/${e.name}`, path: join(keys, e.name) }))
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

/** Writes files beside their places, and puts all of them in place together. */
export class FileWriter {
  readonly #done: Array<{ draft: string; place: string }> = [];
  #open: { name: string; file: FileHandle } | undefined;

  constructor(private readonly places: Places) {}

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
    const draft = `${place}.restored`;
    await mkdir(dirname(place), { recursive: true, mode: 0o750 });
    await rm(draft, { force: true });
    this.#open = { name, file: await open(draft, 'wx', mode) };
    this.#done.push({ draft, place });
  }

  /** The number of files. */
  async settle(): Promise<number> {
    for (const { draft, place } of this.#done) await rename(draft, place);
    return this.#done.length;
  }

  async drop(): Promise<void> {
    await this.#open?.file.close().catch(() => undefined);
    await Promise.all(this.#done.map(({ draft }) => rm(draft, { force: true })));
  }
}
