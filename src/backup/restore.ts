/**
 * Restores a backup into a database that no service uses. The file is read whole before anything is changed. Then all goes in one
 * transaction: what is in the database, the schema that the backup was made with, its rows, the migrations since; files are
 * written beside their places and renamed after the commit. Until that, whatever happens, what was there before is there still.
 */
import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { MIGRATIONS, type Migration } from '../../migrations/index.ts';
import { markIn, repositoryMark, setRepositoryMark, strangeDirectory } from '../images/shared.ts';
import type { Context } from '../platform/context.ts';
import { reasonText, StartError, startStep } from '../platform/errors.ts';
import { sqlState, type DbAddress, type Queryable } from '../store/db.ts';
import { lockSchema, schemaTransaction } from '../store/migrate.ts';
import { checkBackup, type BackupContents } from './check.ts';
import { draftsIn, FileWriter, type Places } from './files.ts';
import { readRecords } from './format.ts';
import { load } from './load.ts';
import { lookAround, makeRoom, refuseLost } from './room.ts';
import { asked, noteRestoration, restorationOf, settleRestored } from './settle.ts';
import { tablesOf } from './tables.ts';

export interface RestoreTarget {
  readonly ctx: Context;
  readonly address: DbAddress;
  readonly places: Places;
  /** What is in the database and in the way among the keys is given up. */
  readonly replace: boolean;
  readonly migrations?: readonly Migration[];
}

export interface Restored extends BackupContents {
  /** Migrations that came after the backup. */
  readonly migrated: readonly string[];
  /** Images whose files are not there: neither in the backup nor in the repository. */
  readonly missingImages: readonly string[];
}

const LOCK_NOT_AVAILABLE = '55P03';

/** @throws StartError */
export async function restoreBackup(target: RestoreTarget, file: string): Promise<Restored> {
  const { ctx, address, places } = target;
  const contents = await checkBackup(file, target.migrations);
  if (!target.replace) await refuseOtherKeys(places, file);
  const restoration = ctx.random.bytes(8).toString('hex');
  const source: Source = { contents, file, files: new FileWriter(places, restoration), restoration };
  let migrated: readonly string[] = [];
  try {
    await withClient(ctx, address, (client) => schemaTransaction(ctx, client, async (bring) => {
      migrated = await replaceAll(target, client, bring, source);
    }));
  } catch (e) {
    if (e instanceof StartError || !await isOf(target, restoration)) {
      await source.files.drop();
      throw e instanceof StartError ? e : new StartError(`the backup could not be restored; what was there before is as it was: ${reasonOf(e)}`, { cause: e });
    }
  }
  const missing = await withClient(ctx, address, async (client) => {
    await startStep('the database is restored, but not every file is in its place; the next start of the service goes on with that', () => settleRestored(asked(client), places));
    for (const left of await draftsIn(places)) await rm(left.path, { force: true });
    return missingImages(client, places);
  });
  return { ...contents, migrated, missingImages: missing };
}

interface Source {
  readonly contents: BackupContents;
  readonly file: string;
  readonly files: FileWriter;
  readonly restoration: string;
}

/** What the transaction does; the migrations that came after the backup. */
async function replaceAll(target: RestoreTarget, client: pg.Client, bring: (migrations: readonly Migration[]) => Promise<string[]>, source: Source): Promise<string[]> {
  const { places, migrations = MIGRATIONS } = target;
  const tx = asked(client);
  const former = await lookAround(client, target.replace, migrations);
  const hasFacts = former.tables.includes('site_fact');
  if (hasFacts) await settleRestored(tx, places);
  const mark = hasFacts ? await repositoryMark(tx) : undefined;
  await makeRoom(client, former);
  const since: string[] = [];
  const [before, saved] = [former.schema.length, source.contents.schema.length];
  for (const count of [...new Set([before, saved, migrations.length])].filter((n) => n > 0 && n <= migrations.length).sort((a, b) => a - b)) {
    const done = await bring(migrations.slice(0, count));
    if (count === before) await refuseLost(client, former);
    if (count === saved) await load(client, source.file, source.files);
    if (count > saved) since.push(...done);
  }
  if ((await tablesOf(client)).some((t) => t.name === 'site_fact')) {
    await keepDirectory(tx, places, mark);
    await noteRestoration(tx, source.restoration);
  }
  await source.files.sync();
  return since;
}

/**
 * The image directory of the database that is given up becomes this one's.
 * @throws StartError when it is that of a third one
 */
async function keepDirectory(tx: Queryable, { images }: Places, former: string | undefined): Promise<void> {
  const mark = await markIn(images);
  if (mark === undefined || mark === await repositoryMark(tx)) return;
  if (mark !== former) throw new StartError(strangeDirectory(images));
  await setRepositoryMark(tx, mark);
}

/** Of a COMMIT whose answer was lost only the database knows. @throws StartError when it does not answer */
async function isOf({ ctx, address }: RestoreTarget, restoration: string): Promise<boolean> {
  try {
    return await withClient(ctx, address, async (client) => {
      // The session that was lost has it as long as it is at work.
      await lockSchema(client);
      return await restorationOf(asked(client)) === restoration;
    });
  } catch (e) {
    throw new StartError(`the database does not answer (${reasonText(e)}): the backup is restored, or all is as it was before; when the database answers, restore again or start the service`, { cause: e });
  }
}

const reasonOf = (e: unknown): string => (sqlState(e) === LOCK_NOT_AVAILABLE ? 'another session has tables of the database locked; end it' : reasonText(e));

async function withClient<T>(ctx: Context, address: DbAddress, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ ...address, application_name: 'nimbus-restore', connectionTimeoutMillis: 10_000, options: '-c timezone=UTC -c datestyle=ISO -c statement_timeout=0' });
  client.on('error', (e) => ctx.log.warn('the connection of a restoration was lost', { error: e.message }));
  await client.connect().catch((e: unknown) => { throw new StartError(`the database cannot be reached: ${reasonText(e)}`, { cause: e }); });
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The nodes know the key: another one in its place would lock the service out of them. @throws StartError */
async function refuseOtherKeys({ keys }: Places, file: string): Promise<void> {
  const here = new Map<string, Buffer>();
  for await (const { record, body } of readRecords(file)) {
    if (record.kind === 'file' && record.name.startsWith('keys/')) here.set(record.name, Buffer.concat([here.get(record.name) ?? Buffer.alloc(0), body]));
  }
  for (const [name, bytes] of here) {
    const place = join(keys, name.slice('keys/'.length));
    if (existsSync(place) && !readFileSync(place).equals(bytes)) throw new StartError(`${place} is there and differs from the one in the backup; --replace takes the one in the backup`);
  }
}

async function missingImages(client: pg.Client, { images }: Places): Promise<string[]> {
  const { rows } = await client.query<{ name: string; file: string }>('SELECT name, file FROM image WHERE removed_at IS NULL ORDER BY name');
  return rows.filter(({ file }) => !existsSync(join(images, file))).map(({ name }) => name);
}
