/** Image files, held against the table: what is somebody's work is shown and never removed. */
import { existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openTestSite } from '../support/site.ts';
import { checkedSite, type Checked } from './site.ts';

let c: Checked;
beforeAll(async () => { c = await checkedSite(await openTestSite()); });
afterAll(() => c.close());

const guest = (): string => join(c.directory, 'common', 'guest');

it('that are missing, of another size, or of other bytes', async () => {
  rmSync(guest());
  expect(await c.wrong()).toEqual([expect.stringMatching(/^image-file: image guest \(ami-\w+\) has no file that can be read: .*: no such file or directory$/)]);
  writeFileSync(guest(), 'short');
  expect(await c.wrong()).toEqual([expect.stringMatching(/has 5 bytes instead of 512/)]);
  writeFileSync(guest(), Buffer.alloc(512, 8));
  expect(await c.wrong()).toEqual([]);
  expect(await c.wrong({ deep: true })).toEqual([expect.stringMatching(/^image-digest: .* is not what it was when it was added/)]);
  writeFileSync(guest(), Buffer.alloc(512, 7));
  expect(await c.wrong({ deep: true })).toEqual([]);
});

const mark = (text: string): void => writeFileSync(join(c.directory, '.repository'), text);

it('whole ones that no image has are somebody’s: shown with what to do, and left', async () => {
  mark(await c.id("INSERT INTO site_fact (name, value) VALUES ('image-repository', 'ours') ON CONFLICT (name) DO UPDATE SET value = 'ours' RETURNING value AS id"));
  mkdirSync(join(c.directory, 'alice'));
  const files = ['alice/ami-0123456789abcdef0.raw', 'common/ami-0123456789abcdef1.qcow2', 'common/notes.txt'];
  for (const file of files) writeFileSync(join(c.directory, file), 'mine');
  const report = await c.fsck({ repair: true });
  expect(report.mended).toEqual([]);
  expect(report.problems.map((p) => [p.rule, p.of, p.repairs, p.mend.replace(c.directory, '')])).toEqual([
    ['image-unknown', files[0], false, 'add it again with: nimbus image add NAME --owner alice /alice/ami-0123456789abcdef0.raw; then, or when nobody misses it, remove the file'],
    ['image-unknown', files[1], false, 'add it again with: nimbus image add NAME /common/ami-0123456789abcdef1.qcow2; then, or when nobody misses it, remove the file'],
    ['image-unknown', files[2], false, 'move it elsewhere'],
  ]);
  for (const file of files) {
    expect(readFileSync(join(c.directory, file), 'utf8')).toBe('mine');
    rmSync(join(c.directory, file));
  }
  expect(await c.wrong()).toEqual([]);
});

it('drafts that nobody writes to any more are removed, where the directory is known to be this database’s', async () => {
  const [old, fresh] = [join(c.directory, 'common', '.incoming-ami-0123456789abcdef0'), join(c.directory, 'common', '.restored-0123456789abcdef-ami-0123456789abcdef1.raw')];
  for (const file of [old, fresh]) writeFileSync(file, 'half');
  expect(await c.wrong()).toEqual([]);
  utimesSync(old, 0, 0);
  rmSync(join(c.directory, '.repository'));
  expect((await c.fsck({ repair: true })).problems).toMatchObject([{ rule: 'image-draft', of: 'common/.incoming-ami-0123456789abcdef0', repairs: false }]);
  mark('ours');
  expect(await c.fsck({ repair: true })).toMatchObject({ problems: [], mended: [{ rule: 'image-draft', of: 'common/.incoming-ami-0123456789abcdef0' }] });
  expect([existsSync(old), existsSync(fresh)]).toEqual([false, true]);
  rmSync(fresh);
});

it('of another database’s directory are not looked at, whatever is in it', async () => {
  mark('theirs');
  const [theirs, draft] = [join(c.directory, 'common', 'ami-0123456789abcdef0.raw'), join(c.directory, 'common', '.incoming-ami-0123456789abcdef1')];
  for (const file of [theirs, draft]) {
    writeFileSync(file, 'theirs');
    utimesSync(file, 0, 0);
  }
  rmSync(guest());
  expect(await c.fsck({ repair: true })).toMatchObject({
    mended: [], problems: [{
      rule: 'image-directory', of: c.directory, repairs: false, what: `${c.directory} is the image directory of another database of nimbus: its files were not looked at`,
      mend: `set images.directory to this one's. If it is this one's all the same (its database was made anew), remove ${c.directory}/.repository`,
    }],
  });
  for (const file of [theirs, draft]) {
    expect(readFileSync(file, 'utf8')).toBe('theirs');
    rmSync(file);
  }
  writeFileSync(guest(), Buffer.alloc(512, 7));
  mark('ours');
  expect(await c.wrong({ deep: true })).toEqual([]);
});
