/** `nimbus fsck`, `backup` and `restore` as a person sees them: through the service, and around one that is not there. */
import { createReadStream, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildCli } from '../../src/cli/program.ts';
import type { WithoutService } from '../../src/cli/without-service.ts';
import type { FsckReport, Problem } from '../../src/fsck/types.ts';
import { lostByPowerCut } from '../support/power-cut.ts';
import { DATABASES } from '../upgrade/fixtures.ts';

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'fc-')); });
afterEach(() => rmSync(root, { recursive: true, force: true }));

const notHere = (): Promise<never> => Promise.reject(new Error('not here'));

async function nimbus(argv: readonly string[], offline: Partial<WithoutService> = {}, watched = false) {
  const ran = { code: -1, out: '', err: '' };
  const cli = buildCli({
    io: { out: (t) => { ran.out += t; }, err: (t) => { ran.err += t; }, width: 80, watched, ask: () => Promise.resolve(null) },
    env: { NIMBUS_DATA: join(root, 'nothing') }, serve: notHere, installer: { install: notHere },
    withoutService: { open: notHere, killJobs: notHere, doctor: notHere, fsck: notHere, backup: notHere, restore: notHere, ...offline },
  });
  ran.code = await cli.run(['node', 'nimbus', ...argv]);
  return ran;
}

const problem = (over: Partial<Problem> = {}): Problem => ({ rule: 'node-use', of: '1', what: 'node n1 counts wrong', mend: 'counts what its leases hold', repairs: true, ...over });
const report = (over: Partial<FsckReport> = {}): FsckReport => ({ looked: { leases: 1, nodes: 2, asked: 1, slots: 0, images: 1 }, problems: [], mended: [], notes: [], ...over });
const saying = (r: FsckReport): Partial<WithoutService> => ({ fsck: () => Promise.resolve(r) });

test('nothing is wrong: 0', async () => {
  expect(await nimbus(['fsck'], saying(report()))).toEqual({ code: 0, err: '', out: '1 lease, 0 slots, 1 image, and the VMs of 1 of 2 nodes: nothing is wrong\n' });
});

test('what is wrong is said with the way out: 1', async () => {
  const shown = problem({ what: 'lease i-1 is charged twice', mend: 'look at it', repairs: false });
  expect(await nimbus(['fsck'], saying(report({ problems: [problem(), shown], notes: ['node n2 was not asked'] })))).toEqual({
    code: 1, err: '', out: 'WRONG   node n1 counts wrong\n        nimbus fsck --repair counts what its leases hold\n'
      + 'WRONG   lease i-1 is charged twice\n        look at it\nnote    node n2 was not asked\n\n'
      + '1 lease, 0 slots, 1 image, and the VMs of 1 of 2 nodes: 2 wrong, of which --repair can mend 1\n',
  });
});

test('a terminal gets lines that fit, programs a line for each sentence', async () => {
  const long = problem({ what: `the file of image debian has 1048576 bytes instead of 6291456: /srv/nimbus-data/${'x'.repeat(20)}/images/common/ami-1.raw`, mend: 'remove the image and add it again with: nimbus image add', repairs: false });
  const saw = saying(report({ problems: [long], notes: ['the VMs of node node7 were not looked at: root@node7.example.org:22: nothing listens on the port'] }));
  const { out } = await nimbus(['fsck'], saw, true);
  expect(out.split('\n').filter((l) => l.length > 80)).toEqual([]);
  expect(out).toContain(`WRONG   the file of image debian has 1048576 bytes instead of 6291456:\n        /srv/nimbus-data/`);
  expect((await nimbus(['fsck'], saw)).out).toContain(`WRONG   ${long.what}\n`);
});

test('what was mended is 0; options and place reach the command without a service', async () => {
  const asked: unknown[] = [];
  const ran = await nimbus(['fsck', '--repair', '--deep', '--config', 'c.toml', '--json'], {
    fsck: (place, options) => {
      asked.push(place, options);
      return Promise.resolve(report({ mended: [problem()] }));
    },
  });
  expect({ code: ran.code, mended: (JSON.parse(ran.out) as FsckReport).mended.length }).toEqual({ code: 0, mended: 1 });
  expect(asked).toEqual([{ config: 'c.toml', data: join(root, 'nothing') }, { repair: true, deep: true }]);
});

test('a backup that is none, a file in the way, a directory that is not there', async () => {
  const file = join(root, 'b.backup');
  const bad = await nimbus(['backup', file], { backup: (_place, _o, to) => new Promise((resolve) => { to.end(gzipSync('what is this\n'), () => resolve()); }) });
  expect(bad).toMatchObject({ code: 2, out: '', err: expect.stringContaining('is no backup of nimbus') as string });
  const broken = await nimbus(['backup', file], { backup: () => Promise.reject(new Error('the database went away')) });
  expect(broken).toMatchObject({ code: 1, err: 'nimbus: the database went away\n' });
  writeFileSync(file, 'mine');
  expect(await nimbus(['backup', file])).toMatchObject({ code: 2, err: expect.stringContaining('is there already; name another file, or add --overwrite') as string });
  expect(await nimbus(['backup', join(root, 'no', 'b')])).toMatchObject({ code: 2, err: expect.stringContaining('does not exist') as string });
  expect(await nimbus(['restore', join(root, 'none')])).toMatchObject({ code: 2, err: expect.stringContaining('none does not exist') as string });
  expect(await nimbus(['restore', '--check', file])).toMatchObject({ code: 2, err: expect.stringContaining('is no backup of nimbus') as string });
});

test('a backup that was made is on disk when that is said, with its name', async () => {
  let ran: { code: number } | undefined;
  expect(await lostByPowerCut(root, async () => {
    ran = await nimbus(['backup', join(root, 'b.backup')], { backup: (_place, _o, to) => pipeline(createReadStream(DATABASES.greedy), to) });
  })).toEqual([]);
  expect([ran?.code, readdirSync(root)]).toEqual([0, ['b.backup']]);
});

test('what was restored is said', async () => {
  const file = join(root, 'b.backup');
  writeFileSync(file, '');
  const restored = { version: '0.1.0', at: '2026-01-01T00:00:00.000Z', schema: [], rows: { lease: 2, account: 1 }, files: [], migrated: ['0009_x'], missingImages: ['debian'] };
  expect(await nimbus(['restore', file, '--replace'], { restore: (_place, _file, o) => Promise.resolve(o.replace ? restored : { ...restored, rows: {} }) })).toEqual({
    code: 0, err: '', out: 'restored: 2 leases, 1 user, 0 usage records, no images, as of 2026-01-01T00:00:00.000Z\n'
      + 'the schema was brought up to this version: 0009_x\nthe files of 1 image are not there: debian\nstart the service, and look at it with: nimbus fsck\n',
  });
});
