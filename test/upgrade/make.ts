/** `npm run upgrade:fixtures`: run with each release, after its last migration. */
import { createWriteStream, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { expect, it } from 'vitest';
import { MIGRATIONS } from '../../migrations/index.ts';
import { backupStream } from '../../src/backup/write.ts';
import { checkBackup } from '../../src/backup/check.ts';
import { VERSION } from '../../src/platform/version.ts';
import { statement } from '../../src/store/db.ts';
import { openTestDatabase } from '../support/database.ts';
import { DATABASES, FIXTURES, STATEMENTS, statementsNow, TRACES, type ReleaseStatements } from './fixtures.ts';
import { greedySite, pilotSite } from './sites.ts';
import { recordingDb, type RecordingDb } from './trace.ts';

it('statements', async () => {
  mkdirSync(FIXTURES, { recursive: true });
  const release: ReleaseStatements = { version: VERSION, schema: MIGRATIONS.map((m) => m.name), statements: await statementsNow() };
  writeFileSync(STATEMENTS, `${JSON.stringify(release, null, 1)}\n`);
  expect(release.statements.length).toBeGreaterThan(50);
});

it.each([['greedy', greedySite] as const, ['pilot', pilotSite] as const])('%s', { timeout: 120_000 }, async (mode, make) => {
  const server = await openTestDatabase();
  let trace: RecordingDb | undefined;
  const { site, goOn } = await make((db) => (trace = recordingDb(db)));
  const [name] = await site.db.query(statement<{ name: string }>('test-name', 'SELECT current_database() AS name'));
  const nothing = mkdtempSync(join(tmpdir(), 'up-'));

  await pipeline(
    backupStream({ ctx: site.ctx, address: { ...server.address, database: name?.name ?? '' }, places: { keys: nothing, images: nothing }, version: VERSION, images: false }),
    createWriteStream(DATABASES[mode]),
  );
  expect((await checkBackup(DATABASES[mode])).rows['lease']).toBeGreaterThan(10);
  if (trace === undefined) throw new Error('nothing is recorded');
  trace.recording = true;
  await goOn();
  trace.recording = false;
  writeFileSync(TRACES[mode], `[\n${trace.steps.map((s) => JSON.stringify(s)).join(',\n')}\n]\n`);
  await site.close();
  await server.close();
});
