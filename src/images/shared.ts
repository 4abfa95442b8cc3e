/** One repository for all services on a database: its directory carries a mark that the database knows. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from '../platform/context.ts';
import { errorCode } from '../platform/errors.ts';
import type { Db } from '../store/db.ts';
import { siteFact } from '../store/processes.ts';

const MARK = '.repository';
const FACT = 'image-repository';

/** `alone`: no other service lives that might have another one; a directory that was moved or restored is marked anew then. */
export async function isTheRepository({ ctx, db }: { readonly ctx: Context; readonly db: Db }, directory: string, alone: boolean): Promise<boolean> {
  const file = join(directory, MARK);
  const mark = await readFile(file, 'utf8').catch((e: unknown) => {
    if (errorCode(e) !== 'ENOENT') throw e;
    return undefined;
  });
  const own = mark ?? ctx.random.bytes(16).toString('hex');
  const [fact] = await db.query(siteFact, [FACT, own]);
  const right = fact?.value ?? own;
  if (mark === right) return true;
  if (!alone && right !== own) return false;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFile(file, right, { mode: 0o600 });
  return true;
}
