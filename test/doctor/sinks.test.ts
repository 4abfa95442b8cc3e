/** What the doctor says of accounting sinks. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sinks } from '../../src/doctor/checks/sinks.ts';
import { configSchema } from '../../src/platform/config.ts';
import { siteFigures } from '../../src/manager/figures.ts';
import { realClock } from '../../src/platform/real.ts';
import { declareSinks, usageDelivered, usageNotDelivered } from '../../src/store/usage-sinks.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
  await database.db.query(declareSinks, [['archive', 'ledger'], new Date(0)]);
});
afterAll(() => database.close());

const config = configSchema.parse({ usage_sinks: { ledger: { url: 'http://ledger/', keep: 500 }, archive: { module: '/a.mjs' } } });
const look = (of = config) => sinks.look({ db: database.db, config: of } as never);

test('one that does not take its events is named, with what is wrong and what becomes of them', async () => {
  expect(await look()).toEqual([{ check: 'accounting sinks', level: 'ok', what: '2 take usage events', mend: [] }]);
  await database.db.query(usageNotDelivered, ['ledger', new Date(0), new Date(1000), 'it answered with status 500']);
  expect(await look()).toEqual([{
    check: 'accounting sinks', level: 'warn', what: 'ledger does not take usage events: it answered with status 500; 0 wait, and 1 attempt has failed',
    mend: ['mend what usage_sinks.ledger names; the service goes on trying, and beyond 500 that wait (keep) the oldest are dropped', 'how it goes: nimbus usage sinks'],
  }]);
  expect((await siteFigures({ clock: realClock }, database.db)).sinks).toEqual(expect.arrayContaining([{ sink: 'archive', attempts: 0 }, { sink: 'ledger', attempts: 1 }]));
  await database.db.query(usageDelivered, ['ledger', [], new Date(2000)]);
  expect(await look()).toMatchObject([{ level: 'ok' }]);
});

test('nothing is said where there are none', async () => {
  expect(await look(configSchema.parse({}))).toEqual([]);
});
