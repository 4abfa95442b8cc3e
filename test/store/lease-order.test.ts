/** Listing one account's leases walks no others', whatever the planner believes of them. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { statement } from '../../src/store/db.ts';
import { gridLeasesOfAccount } from '../../src/store/grid.ts';
import { leaseSearch } from '../../src/store/lease-search.ts';
import { leasesOfAccount } from '../../src/store/leases.ts';
import { liveLeasesOfAccount } from '../../src/store/users.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';

/** Plans that do not know whose leases they are for, and only ones that walk an index in its order. */
const PLANNING = statement<never>('test-planning', "SELECT set_config(n, v, true) FROM (VALUES ('plan_cache_mode', 'force_generic_plan'), ('enable_sort', 'off'), ('enable_seqscan', 'off'), ('enable_bitmapscan', 'off')) AS s(n, v)");
const where = { account: 1, endedAfter: new Date(0), live: true, afterSeq: 0, limit: 1000 };
const search = leaseSearch(where, { columns: [], states: ['Running'], tags: [{ key: 'env', match: { equal: ['test'], like: [] } }] });

let database: TestDatabase;
beforeAll(async () => { database = await openTestDatabase(); });
afterAll(() => database.close());

it.each([
  ['all', leasesOfAccount.text, '(bigint, timestamptz, boolean, bigint, int)', "(1, 'epoch', true, 0, 1000)"],
  ['grid clients\'', gridLeasesOfAccount.text, '(int, bigint)', '(1000, 1)'],
  ['a few', liveLeasesOfAccount.text, '(bigint)', '(1)'],
  ['those that match', search.statement.text, '', `(1, 'epoch', true, 0, 1000, '{Running}', 'env', '{test}')`],
])('%s', async (_, text, types, values) => {
  const plan = await database.db.transaction(async (tx) => {
    await tx.query(PLANNING);
    const once = <Row>(sql: string): Promise<Row[]> => tx.query<Row>({ name: 'test-listing', text: sql, replan: true });
    await once(`PREPARE listing ${types} AS ${text}`);
    const lines = await once<{ 'QUERY PLAN': string }>(`EXPLAIN EXECUTE listing ${values}`);
    await once('DEALLOCATE listing');
    return lines.map((l) => l['QUERY PLAN']).join('\n');
  });
  expect(plan).toMatch(/Index (Only )?Scan using lease_live_account/);
  expect(plan).not.toContain('lease_seq_key');
});
