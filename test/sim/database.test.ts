/** The simulator's database: put back to the last byte, on the world's time, and coded as the `pg` client codes it. */
import { afterAll, beforeEach, expect, it } from 'vitest';
import { statement } from '../../src/store/db.ts';
import { Postgres } from './world/postgres.ts';
import { EPOCH } from './world/time.ts';

const db = await Postgres.open();
beforeEach(() => db.reset());
afterAll(() => db.close());

const ACCOUNT = statement<{ id: number; since: number }>('test-account', 'INSERT INTO account (name, owner_id, admin, created_at) VALUES ($1, lpad($2, 12, \'0\'), false, now()) RETURNING id, created_at AS since');
const ACCOUNTS = statement<{ name: string }>('test-accounts', 'SELECT name FROM account ORDER BY id');
const ECHO = statement<Record<string, unknown>>('test-echo', 'SELECT $1::text AS text, $2::int AS whole, $3::bool AS yes, $4::timestamptz AS at, $5::jsonb AS json, $6::text[] AS list, $7::int8 AS big, $8::text AS nothing');
const TIMES = statement<{ at: number }>('test-times', 'SELECT t::timestamptz AS at FROM unnest($1::text[]) AS t');
const NUMBERS = statement<{ n: number }>('test-numbers', 'SELECT n FROM unnest($1::int8[]) AS n');
const BYTES = statement<{ text: string; bytes: Buffer }>('test-bytes', 'SELECT $1::text AS text, $2::bytea AS bytes');
/** Of what it does nothing but an own state can be told. */
const STATE = "SELECT pg_current_xact_id(), random(), gen_random_uuid(), (SELECT sum(pg_total_relation_size(oid)) FROM pg_class), (SELECT count(*) FROM pg_class), 'event'::regclass::oid, (SELECT count(*) FROM pg_prepared_statements)";

it('is put back to what it was, whatever was done', () => {
  const before = db.simple(STATE);
  const [first] = db.query(ACCOUNT, ['alice', '1']);
  db.simple("CREATE TABLE other (x text); INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 5000); CREATE INDEX ON other (x)");
  db.simple('VACUUM');
  db.begin();
  db.query(ACCOUNT, ['bob', '2']);
  expect(db.simple(STATE)).not.toEqual(before);

  for (let again = 0; again < 2; again += 1) {
    db.reset();
    expect(db.query(ACCOUNTS)).toEqual([]);
    expect(() => db.simple('SELECT FROM other')).toThrow('relation "other" does not exist');
    expect(db.query(ACCOUNT, ['carol', '3'])).toEqual([first]);
    db.reset();
    expect(db.simple(STATE)).toEqual(before);
  }
});

it('has the clock of the world', () => {
  for (const now of [EPOCH, EPOCH + 1_234.567, EPOCH + 86_400_000]) {
    db.now = () => now;
    expect(db.simple('SELECT extract(epoch FROM now()) * 1000, extract(epoch FROM clock_timestamp()) * 1000').map((row) => row.map(Number))).toEqual([[now, now]]);
    expect(db.query(ACCOUNT, [`at ${now}`, '1'])[0]?.since).toBe(Math.floor(now));
    db.reset();
  }
});

it.each([[''], ['ä€😀\n\\"{}'], ['x'.repeat(200_000)], ['€'.repeat(50_000)]])('codes values and rows as the client does: %#', (text) => {
  const json = { a: [1, 'ä', null], text };
  expect(db.query(ECHO, [text, -12, true, new Date(EPOCH + 7), json, [text, 'b,"c"'], 2 ** 40, null])).toEqual([
    { text, whole: -12, yes: true, at: EPOCH + 7, json, list: [text, 'b,"c"'], big: 2 ** 40, nothing: null },
  ]);
  expect(db.query(ECHO, [null, 0, false, '1969-12-31 23:59:59.9+00', {}, [], -1, null])).toEqual([{ text: null, whole: 0, yes: false, at: -100, json: {}, list: [], big: -1, nothing: null }]);
});

it('reads every time and number as the client does', () => {
  const texts = ['2026-01-01 00:00:00', '2024-02-29 23:59:59.999999', '2026-07-05 01:02:03.1', '2026-07-05 01:02:03.04', '1969-12-31 23:59:59.0009', '0001-01-01 00:00:00.5', '12026-01-01 00:00:00', '0044-03-15 12:00:00 BC', 'infinity'].map((t) => (t === 'infinity' ? t : t.replace(/( BC)?$/, '+00$1')));
  expect(db.query(TIMES, [texts])).toEqual(db.simple(`SELECT t::timestamptz FROM unnest('{${texts.join()}}'::text[]) AS t`).map(([t]) => ({ at: Date.parse(t ?? '') })));
  const numbers = [0, -1, 7, 2_147_483_647, -2_147_483_648, 999_999_999, 1_000_000_000, 9_007_199_254_740_991, -9_007_199_254_740_991];
  expect(db.query(NUMBERS, [numbers])).toEqual(numbers.map((n) => ({ n })));
});

it('sends bytes as bytes', () => {
  const bytes = Buffer.from([0, 255, 92, 39]);
  expect(db.query(BYTES, ['ä', bytes])).toEqual([{ text: 'ä', bytes }]);
});

it('says what it refuses, and goes on', () => {
  const taken = expect.objectContaining({ code: '23505', constraint: expect.stringContaining('account') as string }) as Error;
  db.query(ACCOUNT, ['alice', '1']);
  expect(() => db.query(ACCOUNT, ['alice', '1'])).toThrow(taken);
  db.begin();
  db.query(ACCOUNT, ['bob', '2']);
  expect(() => db.query(ACCOUNT, ['alice', '1'])).toThrow(taken);
  expect(() => db.query(ACCOUNTS)).toThrow('current transaction is aborted');
  db.rollback();
  expect(db.query(ACCOUNTS)).toEqual([{ name: 'alice' }]);
});

it('asks several questions at once, and knows what changed nothing', () => {
  db.query(ACCOUNT, ['alice', '1']);
  expect(db.changed).toBe(true);
  expect(db.ask([[ACCOUNTS, []], [ACCOUNTS, []]])).toEqual([[{ name: 'alice' }], [{ name: 'alice' }]]);
  db.query(ACCOUNTS);
  expect(db.changed).toBe(true);
  db.reset();
  db.query(ACCOUNTS);
  expect(db.changed).toBe(false);
});
