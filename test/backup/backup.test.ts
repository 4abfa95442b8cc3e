/** Backups: whole and exact, of one moment; damaged, cut, foreign and newer files change nothing. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MIGRATIONS, type Migration } from '../../migrations/index.ts';
import { checkBackup } from '../../src/backup/check.ts';
import { placeOf, type Places } from '../../src/backup/files.ts';
import { RecordWriter } from '../../src/backup/format.ts';
import { restoreBackup, type Restored } from '../../src/backup/restore.ts';
import { backupStream } from '../../src/backup/write.ts';
import { openDb, statement, type DbAddress } from '../../src/store/db.ts';
import { testContext } from '../support/context.ts';
import { openEmptyDatabase, openTestDatabase, type TestDatabase } from '../support/database.ts';
import { openTestSite } from '../support/site.ts';

const ctx = testContext();
let root: string;
let places: Places;
const open: TestDatabase[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'bk-'));
  places = placesIn('from');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));
let keep: TestDatabase;
beforeAll(async () => { keep = await openTestDatabase(); });
afterAll(async () => {
  await Promise.all(open.map((d) => d.close()));
  await keep.close();
});

function placesIn(name: string): Places {
  const made = { keys: join(root, name, 'keys'), images: join(root, name, 'images') };
  for (const dir of Object.values(made)) mkdirSync(dir, { recursive: true });
  return made;
}

async function backup(address: DbAddress, images = false, file = join(root, 'b.backup')): Promise<string> {
  await pipeline(backupStream({ ctx, address, places, version: '0.1.0', images }), createWriteStream(file, { mode: 0o600 }));
  return file;
}

async function emptyDatabase(): Promise<TestDatabase> {
  const made = await openEmptyDatabase();
  open.push(made);
  // Looked at by hand only: the pool that a service would have is not there.
  await made.db.close();
  return made;
}

const restore = (address: DbAddress, file: string, over: { replace?: boolean; to?: Places; migrations?: readonly Migration[] } = {}): Promise<Restored> =>
  restoreBackup({ ctx, address, places: over.to ?? placesIn('to'), replace: over.replace ?? false, ...(over.migrations === undefined ? {} : { migrations: over.migrations }) }, file);

/** Every table's rows, but for what each transaction stamps anew. */
async function contents(address: DbAddress): Promise<Record<string, string>> {
  const client = new pg.Client({ ...address });
  await client.connect();
  const { rows } = await client.query<{ name: string }>("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1");
  const found: Record<string, string> = {};
  for (const { name } of rows) {
    if (name.startsWith('knex_')) continue;
    const { rows: [row] } = await client.query<{ is: string }>(`SELECT coalesce(json_agg(to_jsonb(t) - 'txid' ORDER BY to_jsonb(t)::text), '[]')::text AS is FROM ${client.escapeIdentifier(name)} t`);
    found[name] = row?.is ?? '';
  }
  await client.end();
  return found;
}

/** A site with leases of all kinds, text that COPY has to escape, and bytes. */
async function busySite(): Promise<Awaited<ReturnType<typeof openTestSite>> & { address: DbAddress }> {
  const site = await openTestSite();
  const [address] = await site.db.query(statement<{ name: string }>('test-name', 'SELECT current_database() AS name'));
  const odd = 'tab\tbackslash\\ newline\nquote\' \\. \\N ünï€';
  const group = await site.manager.leases.create(site.alice, { minCount: 3, maxCount: 3, image: 'guest', clientToken: 'a', userData: Buffer.from([0, 1, 255, 10, 92]), tags: { odd } });
  await site.settled();
  await site.manager.leases.end(site.alice, [group.leases[0]?.id ?? ''], odd.replaceAll('\n', ' '));
  await site.settled();
  return { ...site, address: { ...keep.address, database: address?.name ?? '' } };
}

describe('a round', () => {
  it('brings back every row, counters, keys and images; what is private stays private', async () => {
    const site = await busySite();
    writeFileSync(join(places.keys, 'operate_ed25519'), 'secret', { mode: 0o600 });
    writeFileSync(join(places.keys, 'postgresql-password'), 'of the cluster');
    mkdirSync(join(places.images, 'common'));
    writeFileSync(join(places.images, 'common', 'guest'), Buffer.alloc(3_000_000, 5));
    const file = await backup(site.address, true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const to = placesIn('to');
    const target = await emptyDatabase();
    const restored = await restore(target.address, file, { to });
    expect(restored).toMatchObject({ rows: { lease: 3, account: 3 }, files: ['keys/operate_ed25519', 'images/common/guest'], migrated: [], missingImages: [] });
    expect(await contents(target.address)).toEqual(await contents(site.address));
    expect(readFileSync(join(to.keys, 'operate_ed25519'), 'utf8')).toBe('secret');
    expect(statSync(join(to.keys, 'operate_ed25519')).mode & 0o777).toBe(0o600);
    expect(existsSync(join(to.keys, 'postgresql-password'))).toBe(false);
    expect(readFileSync(join(to.images, 'common', 'guest')).equals(Buffer.alloc(3_000_000, 5))).toBe(true);

    // A counter goes on behind what was given; who follows events by transaction sees the restored ones.
    const db = openDb(target.address, { max: 1, log: ctx.log });
    const [next] = await db.query(statement<{ ahead: boolean; seen: boolean }>('test-counters', `
      SELECT nextval(pg_get_serial_sequence('lease', 'seq')) > (SELECT max(seq) FROM lease) AS ahead,
             (SELECT bool_and(txid < pg_snapshot_xmin(pg_current_snapshot())) FROM event) AS seen`));
    await db.close();
    expect(next).toEqual({ ahead: true, seen: true });
    await site.close();
  });

  it('is of one moment, whatever is written meanwhile', async () => {
    const site = await busySite();
    let on = true;
    const churn = (async () => {
      while (on) {
        const { leases } = await site.manager.leases.create(site.bob, { minCount: 1, maxCount: 1, image: 'guest' });
        await site.manager.leases.end(site.bob, leases.map((l) => l.id), '');
        await site.manager.work.recorder.idle();
      }
    })();
    for (let i = 0; i < 3; i++) {
      const file = await backup(site.address, false, join(root, `${i}.backup`));
      const target = await emptyDatabase();
      const { rows } = await restore(target.address, file);
      // Foreign keys held while it was loaded; each lease has its record.
      expect(rows['usage_record']).toBe(rows['lease']);
    }
    on = false;
    await churn;
    await site.close();
  });

  it('carries any text', { timeout: 120_000 }, async () => {
    await fc.assert(fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 40 }), async (text) => {
      const value = text.replaceAll('\0', '').replace(/[\uD800-\uDFFF]/g, '');
      await keep.db.query(statement('test-clear', 'TRUNCATE account CASCADE'));
      await keep.db.query(statement('test-any', "INSERT INTO account (name, owner_id, created_at) VALUES ($1, '000000000001', now())"), [value]);
      const file = await backup(keep.address);
      expect((await checkBackup(file)).rows['account']).toBe(1);
      const target = await emptyDatabase();
      await restore(target.address, file, { replace: true });
      expect((await contents(target.address))['account']).toEqual((await contents(keep.address))['account']);
    }), { numRuns: 5 });
    await keep.db.query(statement('test-clear', 'TRUNCATE account CASCADE'));
  });
});

describe('what is refused, with one sentence and nothing changed', () => {
  let file: string;
  let target: TestDatabase;
  beforeEach(async () => {
    file = await backup(keep.address);
    target = await emptyDatabase();
  });
  afterEach(async () => { expect(await contents(target.address)).toEqual({}); });
  const refused = (sentence: RegExp | string, over: Parameters<typeof restore>[2] = {}): Promise<void> =>
    expect(restore(target.address, file, over)).rejects.toMatchObject({ name: 'StartError', message: expect.stringMatching(sentence) as string });

  it('a cut file, wherever it was cut', async () => {
    const whole = statSync(file).size;
    for (const share of [0.02, 0.3, 0.9, 1]) {
      copyFileSync(file, `${file}.cut`);
      truncateSync(`${file}.cut`, Math.floor(whole * share) - 1);
      await expect(checkBackup(`${file}.cut`)).rejects.toMatchObject({ message: expect.stringMatching(/was cut: its end is missing|is damaged|is no backup/) as string });
    }
    truncateSync(file, whole - 20);
    await refused(/was cut: its end is missing$/);
  });

  it('a changed file', async () => {
    const bytes = readFileSync(file);
    bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
    writeFileSync(file, bytes);
    await refused(/is damaged|no backup of nimbus, or it is damaged/);
  });

  it('a file that was packed again with other contents', async () => {
    writeFileSync(file, gzipSync(Buffer.from(gunzipSync(readFileSync(file)).toString('latin1').replace('0.1.0', '0.1.1'), 'latin1')));
    await refused(/its digest is not the one that it was written with$/);
  });

  it('something else', async () => {
    for (const other of [Buffer.from('hello'), gzipSync('hello\n'), gzipSync(Buffer.alloc(100_000, 65)), gzipSync('{"kind":"end","sha256":"00"}\n'), Buffer.alloc(0)]) {
      writeFileSync(file, other);
      await refused(/is no backup of nimbus|was cut/);
    }
  });

  it('a newer schema', async () => {
    await refused(/was made by a newer nimbus, 0\.1\.0 \(its schema has \w+\): restore it with that version$/, { migrations: MIGRATIONS.slice(0, -1) });
  });

  it('files that would leave their places', async () => {
    for (const name of ['../x', 'keys/../x', 'images/../keys/x', 'images/a', 'etc/passwd', '/etc/passwd', 'keys/', 'images/../..']) {
      expect(() => placeOf(places, name), name).toThrow(/odd name/);
    }
    const writer = new RecordWriter();
    const made = [
      writer.record({ kind: 'backup', format: 1, nimbus: '0.1.0', at: '2026-01-01T00:00:00.000Z', schema: MIGRATIONS.map((m) => m.name), images: false }),
      writer.record({ kind: 'file', name: 'keys/../../out', mode: 0o600, bytes: 1, last: false }, Buffer.from('x')),
    ];
    writeFileSync(file, gzipSync(Buffer.concat([...made, writer.end()])));
    await expect(restore(target.address, file)).rejects.toThrow(/odd name/);
    // The schema stands, and nothing is in it.
    expect(new Set(Object.values(await contents(target.address)))).toEqual(new Set(['[]']));
    await restore(target.address, await backup(keep.address));
    target = await emptyDatabase();
  });

  it('another operating key in the data directory', async () => {
    writeFileSync(join(places.keys, 'operate_ed25519'), 'old');
    file = await backup(keep.address);
    const to = placesIn('to');
    writeFileSync(join(to.keys, 'operate_ed25519'), 'new');
    await refused(/differs from the one in the backup; --replace takes the one in the backup$/, { to });
    expect(readFileSync(join(to.keys, 'operate_ed25519'), 'utf8')).toBe('new');
  });

  it('a database of another program', async () => {
    const client = new pg.Client({ ...target.address });
    await client.connect();
    await client.query('CREATE TABLE theirs (x int)');
    await client.end();
    await refused(/has tables of another program \(theirs\)/, { replace: true });
    target = await emptyDatabase();
  });
});

it('a database that is not empty is refused unless told, and one that a service uses in any case', async () => {
  const site = await busySite();
  const file = await backup(site.address);
  await expect(restore(site.address, file)).rejects.toThrow(/a nimbus service has the database open \(\d+ connections\); stop it first/);
  const target = await emptyDatabase();
  await restore(target.address, file);
  await expect(restore(target.address, file)).rejects.toThrow(/^the database is not empty \(account, .*\); --replace gives up what is in it$/);
  await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest' });
  await site.settled();
  const later = await backup(site.address);
  await restore(target.address, later, { replace: true });
  expect(await contents(target.address)).toEqual(await contents(site.address));
  await site.close();
});

it('a file that cannot be written ends the restoration with the database as empty as before', async () => {
  mkdirSync(join(places.images, 'common'));
  const site = await busySite();
  writeFileSync(join(places.images, 'common', 'guest'), 'bytes');
  const file = await backup(site.address, true);
  const target = await emptyDatabase();
  const to = placesIn('to');
  writeFileSync(join(to.images, 'common'), 'a file in the way');
  await expect(restore(target.address, file, { to })).rejects.toThrow(/^the backup could not be restored; the database is as empty as before: /);
  expect(new Set(Object.values(await contents(target.address)))).toEqual(new Set(['[]']));
  rmSync(join(to.images, 'common'));
  chmodSync(to.images, 0o750);
  expect(await restore(target.address, file, { to })).toMatchObject({ missingImages: [] });
  await site.close();
});
