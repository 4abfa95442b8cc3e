/** What a start has of its image directory while that does not answer. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { firstStart } from '../../src/manager/first-start.ts';
import { manualClock } from '../control/client/manual-clock.ts';
import { testContext } from '../support/context.ts';

it('an image directory that does not answer fails the start after a minute, with its key', async () => {
  const imagesDir = mkdtempSync(join(tmpdir(), 'first-start-'));
  const mark = join(imagesDir, '.repository');
  // Who reads it waits for somebody to write.
  spawnSync('mkfifo', [mark]);
  const clock = manualClock();
  const deps = { ctx: testContext({ clock }), imagesDir, processes: { others: () => Promise.resolve([]) } };
  const start = firstStart(deps as unknown as Parameters<typeof firstStart>[0]);
  const failed = start.then(() => undefined, (e: unknown) => e);
  try {
    await clock.advance(60_000);
    expect(await failed).toMatchObject({ name: 'StartError', message: `images.directory = "${imagesDir}" does not answer: its file system has let 60 s pass; see that it can be listed (is its server there?), then start again` });
  } finally {
    // Lets go who waits.
    writeFileSync(mark, '');
    rmSync(imagesDir, { recursive: true });
  }
});
