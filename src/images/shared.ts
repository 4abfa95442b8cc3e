/** One repository for all services on a database, and for no other database's: its directory carries a mark that the database knows. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from '../platform/context.ts';
import { replaceFileAsync } from '../platform/durable.ts';
import { errorCode } from '../platform/errors.ts';
import { makeDirectoryAsync } from '../platform/make-directory.ts';
import type { Db, Queryable } from '../store/db.ts';
import { setSiteFact, siteFact, siteFactNow } from '../store/processes.ts';

const MARK = '.repository';
const FACT = 'image-repository';

/**
 * `alone`: no other service lives that might have another one; a directory without a mark, new or restored, is marked then.
 * `strange`: it has another mark. `other`: it has none, and those who live have one that has.
 */
export async function isTheRepository({ ctx, db }: { readonly ctx: Context; readonly db: Db }, directory: string, alone: boolean): Promise<'own' | 'strange' | 'other'> {
  const mark = await markIn(directory);
  if (mark !== undefined) return mark === await repositoryMark(db) ? 'own' : 'strange';
  const made = ctx.random.bytes(16).toString('hex');
  const [fact] = await db.query(siteFact, [FACT, made]);
  const right = fact?.value ?? made;
  if (!alone && right !== made) return 'other';
  await makeDirectoryAsync(directory, 0o700);
  // An empty one would be another database's.
  await replaceFileAsync(join(directory, MARK), right, 0o600);
  return 'own';
}

/** What the database knows of its directory. */
export const repositoryMark = async (q: Queryable): Promise<string | undefined> => (await q.query(siteFactNow, [FACT]))[0]?.value;
export const setRepositoryMark = async (q: Queryable, mark: string): Promise<void> => void await q.query(setSiteFact, [FACT, mark]);

export async function markIn(directory: string): Promise<string | undefined> {
  return readFile(join(directory, MARK), 'utf8').catch((e: unknown) => {
    if (errorCode(e) !== 'ENOENT') throw e;
    return undefined;
  });
}

/** A directory with another mark: what it is, and what to do about it. */
export const strange = (directory: string): { readonly what: string; readonly mend: string } => ({
  what: `${directory} is the image directory of another database of nimbus`,
  mend: `set images.directory to this one's. If it is this one's all the same (its database was made anew), remove ${join(directory, MARK)}`,
});

export function strangeDirectory(directory: string): string {
  const { what, mend } = strange(directory);
  return `${what}; ${mend}`;
}
