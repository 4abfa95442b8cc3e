/** Backups: whole and exact, of one moment; damaged, cut, foreign and newer files change nothing. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createWriteStream } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import knex, { type Knex } from 'knex';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { MIGRATIONS, type Migration } from '../../migrations/index.ts';
import { checkBackup } from '../../src/backup/check.ts';
import { placeOf, type Places } from '../../src/backup/files.ts';
import { RecordWriter } from '../../src/backup/format.ts';
import { restoreBackup, type Restored } from '../../src/backup/restore.ts';
import { settleRestored } from '../../src/backup/settle.ts';
import { backupStream } from '../../src/backup/write.ts';
import { openDb, statement, type DbAddress } from '../../src/store/db.ts';
import { migrate } from '../../src/store/migrate.ts';
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

/** Every table's rows, but for what each transaction stamps anew, and which restoration it is of. */
async function contents(address: DbAddress): Promise<Record<string, string>> {
  const client = new pg.Client({ ...address });
  await client.connect();
  const { rows } = await client.query<{ name: string }>("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1");
  const found: Record<string, string> = {};
  for (const { name } of rows) {
    if (name.startsWith('knex_')) continue;
    const { rows: [row] } = await client.query<{ is: string }>(`SELECT coalesce(json_agg(to_jsonb(t) - 'txid' ORDER BY to_jsonb(t)::text), '[]')::text AS is FROM ${client.escapeIdentifier(name)} t${name === 'site_fact' ? " WHERE name <> 'restoration'" : ''}`);
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

  it('carries any text', { timeout: 360_000 }, async () => {
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
    await refused(/has tables or functions of another program \(theirs\)/, { replace: true });
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

describe('a restoration that fails leaves everything as it was', () => {
  let there: Awaited<ReturnType<typeof busySite>>;
  let target: TestDatabase;
  let to: Places;
  let before: Record<string, string>;
  let file: string;
  /** A site's backup with a key and an image; the target has another site's rows, key and images. */
  beforeEach(async () => {
    mkdirSync(join(places.images, 'common'));
    writeFileSync(join(places.images, 'common', 'guest'), 'new bytes');
    writeFileSync(join(places.keys, 'operate_ed25519'), 'new key');
    there = await busySite();
    to = placesIn('to');
    mkdirSync(join(to.images, 'common'));
    writeFileSync(join(to.images, 'common', 'guest'), 'old bytes');
    writeFileSync(join(to.images, 'common', 'since'), 'added since');
    writeFileSync(join(to.keys, 'operate_ed25519'), 'old key');
    target = await emptyDatabase();
    await restore(target.address, await backup(there.address, false, join(root, 'old.backup')), { replace: true, to: placesIn('elsewhere') });
    before = await contents(target.address);
    await there.manager.leases.create(there.alice, { minCount: 2, maxCount: 2, image: 'guest' });
    await there.settled();
    file = await backup(there.address, true);
  });
  afterEach(() => there.close());

  const files = (): string[] => [join(to.keys, 'operate_ed25519'), join(to.images, 'common', 'guest'), join(to.images, 'common', 'since')].map((f) => readFileSync(f, 'utf8'));
  const left = (): string[] => [...readdirSync(to.keys), ...readdirSync(to.images, { recursive: true, encoding: 'utf8' })].sort();
  async function unchanged(): Promise<void> {
    expect(await contents(target.address)).toEqual(before);
    expect(files()).toEqual(['old key', 'old bytes', 'added since']);
    expect(left()).toEqual(['common', 'common/guest', 'common/since', 'operate_ed25519']);
  }
  async function restoredNow(): Promise<void> {
    expect(await contents(target.address)).toEqual(await contents(there.address));
    expect(files()).toEqual(['new key', 'new bytes', 'added since']);
    expect(left()).toEqual(['common', 'common/guest', 'common/since', 'operate_ed25519']);
  }
  const tried = (): Promise<Restored> => restore(target.address, file, { replace: true, to });

  it.each([
    ['an image folder that is a file', () => renameSync(join(to.images, 'common'), join(root, 'aside')), 'file', /^the backup could not be restored; what was there before is as it was: /],
    ['a directory in an image’s place', () => renameSync(join(to.images, 'common', 'guest'), join(root, 'aside')), 'directory', /guest is a directory; the backup has a file of that name: move it away$/],
  ])('%s', async (_, take, kind, sentence) => {
    take();
    const place = existsSync(join(to.images, 'common')) ? join(to.images, 'common', 'guest') : join(to.images, 'common');
    if (kind === 'file') writeFileSync(place, '');
    else mkdirSync(place);
    await expect(tried()).rejects.toMatchObject({ name: 'StartError', message: expect.stringMatching(sentence) as string });
    rmSync(place, { recursive: true });
    renameSync(join(root, 'aside'), place);
    await unchanged();
    expect(await tried()).toMatchObject({ rows: { lease: 5 } });
    await restoredNow();
  });

  it('whichever statement the connection is lost at: nothing has changed, or all has', { timeout: 480_000 }, async () => {
    const real = pg.Client.prototype.query as (...args: unknown[]) => unknown;
    let said = 0;
    let lostAt = Infinity;
    const spy = vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function lose(this: { connection: { stream: Socket }; connectionParameters: { application_name?: string } }, ...args: unknown[]): never {
      const own = this.connectionParameters.application_name === 'nimbus-restore';
      if (own) said += 1;
      const asked = real.apply(this, args);
      // It was sent; nobody hears the answer.
      if (own && said === lostAt) this.connection.stream.destroy();
      return asked as never;
    } as never);
    await tried();
    await restoredNow();
    const all = said;
    expect(all).toBeGreaterThan(100);
    // The commit is among the last: each of those, and some of the many before.
    const points = [...Array.from({ length: 7 }, (_, i) => Math.ceil((i + 1) * all / 9)), ...Array.from({ length: 6 }, (_, i) => all - i)];
    const outcomes = new Set<string>();
    const back = async (): Promise<void> => {
      await restore(target.address, join(root, 'old.backup'), { replace: true, to: placesIn('elsewhere') });
      writeFileSync(join(to.images, 'common', 'guest'), 'old bytes');
      writeFileSync(join(to.keys, 'operate_ed25519'), 'old key');
    };
    await back();
    for (const point of points) {
      [said, lostAt] = [0, point];
      const outcome = await tried().then(() => 'done', (e: unknown) => (e as Error).message);
      lostAt = Infinity;
      if (outcome.startsWith('the backup could not be restored; what was there before is as it was: ')) {
        await unchanged();
        outcomes.add('unchanged');
        continue;
      }
      // Committed: what was left of the files is for the next start.
      const db = openDb(target.address, { max: 1, log: ctx.log });
      await settleRestored(db, to);
      await db.close();
      await restoredNow();
      outcomes.add('restored');
      await back();
    }
    spy.mockRestore();
    expect([...outcomes].sort()).toEqual(['restored', 'unchanged']);
  });

  it('a wait for a table that somebody has locked, cut short', async () => {
    const [holder, watcher] = [new pg.Client({ ...target.address }), new pg.Client({ ...target.address })];
    await Promise.all([holder.connect(), watcher.connect()]);
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE lease IN ACCESS SHARE MODE');
    const failed = expect(tried()).rejects.toThrow(/what was there before is as it was: canceling statement due to user request$/);
    await expect.poll(async () => (await watcher.query("SELECT FROM pg_stat_activity WHERE application_name = 'nimbus-restore' AND wait_event_type = 'Lock'")).rowCount, { timeout: 60_000 }).toBe(1);
    await watcher.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'nimbus-restore'");
    await failed;
    await Promise.all([holder.end(), watcher.end()]);
    await unchanged();
  });

  it('another program’s tables beside ours, and one that migrates by the same tool', async () => {
    const client = new pg.Client({ ...target.address });
    await client.connect();
    await client.query('CREATE TABLE theirs (x int)');
    await client.query("CREATE FUNCTION own_report() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    await expect(tried()).rejects.toThrow(/^the database has tables or functions of another program \(theirs, own_report\(\)\); nimbus needs one of its own$/);
    await client.query('DROP TABLE theirs');
    await client.query('DROP FUNCTION own_report');
    await unchanged();
    const other = await emptyDatabase();
    const db = knex({ client: 'pg', connection: { ...other.address } });
    const source = { getMigrations: () => Promise.resolve(['001_shop']), getMigrationName: (m: string) => m, getMigration: () => Promise.resolve({ up: (k: Knex) => k.raw('CREATE TABLE account (id int); INSERT INTO account VALUES (1)'), down: () => Promise.resolve() }) };
    await db.migrate.latest({ migrationSource: source });
    await expect(restore(other.address, file, { replace: true, to })).rejects.toThrow(/tables or functions of another program \(account\)/);
    expect(await contents(other.address)).toEqual({ account: '[{"id": 1}]' });
    await db.destroy();
    await client.end();
  });
});

it('a backup of an older version comes up to this one’s schema in the same transaction, over a newer database too', async () => {
  const older = await emptyDatabase();
  await migrate(ctx, older.address, MIGRATIONS.slice(0, 5));
  const old = await backup(older.address, false, join(root, 'older.backup'));
  const site = await busySite();
  const target = await emptyDatabase();
  await restore(target.address, await backup(site.address));
  expect((await restore(target.address, old, { replace: true })).migrated).toEqual(MIGRATIONS.slice(5).map((m) => m.name));
  expect((await contents(target.address))['lease']).toBe('[]');
  // Back to the version before, whose program does not know the newest schema.
  expect((await restore(target.address, old, { replace: true, migrations: MIGRATIONS.slice(0, 6) })).migrated).toEqual(MIGRATIONS.slice(5, 6).map((m) => m.name));
  await site.close();
});
