/** A service whose database is restored to what it was: agents have gone on meanwhile, and what is true wins. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, expect, it } from 'vitest';
import { CreateTagsCommand, EC2Client, RebootInstancesCommand, RunInstancesCommand, TerminateInstancesCommand } from '@aws-sdk/client-ec2';
import type { BackupContents } from '../../src/backup/check.ts';
import type { FsckReport } from '../../src/fsck/types.ts';
import type { LeaseView } from '../../src/manager/types.ts';
import { startEmbedded } from '../../src/store/embedded/start.ts';
import { testContext } from '../support/context.ts';
import { openEmptyDatabase } from '../support/database.ts';
import { NIMBUS, startServe, type Serve } from '../support/serve.ts';

const DIE_AT = fileURLToPath(new URL('../fixtures/die-at.mjs', import.meta.url));
const SIMULATED = '[[local_nodes]]\nname = "local-1"\ndriver = "simulated"\nmemory_mb = 4096\ncores = 16\n[simulated]\nstart_ms = 5\nstop_ms = 5\n';

let serve: Serve | undefined;
let client: EC2Client | undefined;
afterEach(async () => {
  client?.destroy();
  await serve?.stop();
  serve = client = undefined;
});

interface Ran { readonly code: number | string; readonly out: unknown; readonly err: string }
/** The command on the service's directory, beside the service or without it. */
const nimbus = (...args: string[]): Promise<Ran> => program({}, ...args);

/** `code`: the signal's name when one has ended it. */
function program({ config = 'nimbus.toml', dieAt }: { config?: string; dieAt?: string }, ...args: string[]): Promise<Ran> {
  const { root, dataDir } = serve ?? { root: '', dataDir: '' };
  const named = ['fsck', 'backup', 'restore'].includes(args[0] ?? '') ? ['--config', join(root, config)] : [];
  const before = dieAt === undefined ? [] : ['--import', DIE_AT];
  return new Promise((resolve) => {
    execFile(process.execPath, [...before, NIMBUS, ...args, '--data', dataDir, '--json', ...named], { timeout: 240_000, maxBuffer: 2 ** 26, env: { ...process.env, DIE_AT: dieAt } }, (e, stdout, err) => {
      resolve({ code: e === null ? 0 : typeof e.code === 'number' ? e.code : e.signal ?? -1, out: stdout === '' ? null : JSON.parse(stdout), err });
    });
  });
}

async function start(toml = SIMULATED): Promise<void> {
  serve = await startServe(toml, serve?.root);
}

async function connect(): Promise<EC2Client> {
  const { accessKey, secretKey } = await (serve as Serve).user('ada');
  return (client = new EC2Client({ endpoint: (serve as Serve).ec2, region: 'nimbus', credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } }));
}

const run = async (count: number): Promise<string[]> => {
  const { Instances } = await (client as EC2Client).send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: count, MaxCount: count }));
  return (Instances ?? []).map((i) => i.InstanceId ?? '');
};
const states = async (): Promise<Map<string, string>> => new Map((await (serve as Serve).admin<LeaseView[]>('lease', 'list', '--all')).map((l) => [l.id, l.state]));
async function until(ids: readonly string[], state: string): Promise<void> {
  const end = performance.now() + 120_000;
  for (;;) {
    const now = await states();
    if (ids.every((id) => now.get(id) === state)) return;
    if (performance.now() > end) throw new Error(`still ${JSON.stringify([...now])}`);
  }
}
const clean = async (): Promise<void> => expect(await nimbus('fsck')).toMatchObject({ code: 0, out: { problems: [] }, err: '' });

it('an old backup: VMs since are removed, leases whose VMs are gone end, generations catch up', { timeout: 480_000 }, async () => {
  await start();
  await connect();
  const [kept = '', ended = '', moved = ''] = await run(3);
  await until([kept, ended, moved], 'Running');
  await clean();
  const file = join((serve as Serve).root, 'site.backup');
  const backup = await nimbus('backup', file, '--images');
  expect(backup).toMatchObject({ code: 0, err: '', out: { file, rows: { lease: 3 }, files: expect.arrayContaining([expect.stringMatching(/^images\/common\/ami-/)]) as unknown } });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(await nimbus('backup', file)).toMatchObject({ code: 2, err: expect.stringContaining('is there already') as string });
  expect(((await nimbus('restore', '--check', file)).out as BackupContents).rows['lease']).toBe(3);
  expect(await nimbus('restore', file)).toMatchObject({ code: 2, err: expect.stringContaining('the service runs; stop it') as string });

  // The world goes on.
  const [since = ''] = await run(1);
  await client?.send(new TerminateInstancesCommand({ InstanceIds: [ended] }));
  for (let i = 0; i < 3; i++) await client?.send(new RebootInstancesCommand({ InstanceIds: [moved] })).then(() => until([moved], 'Running'));
  await client?.send(new CreateTagsCommand({ Resources: [kept], Tags: [{ Key: 'nimbus:duration', Value: '3d' }] }));
  await until([since], 'Running');
  await until([ended], 'Terminated');
  await (serve as Serve).stop({ keep: true });

  expect(await nimbus('restore', file)).toMatchObject({ code: 2, err: expect.stringMatching(/the database is not empty .*--replace gives up/) as string });
  const restored = await nimbus('restore', '--replace', file);
  expect(restored).toMatchObject({ code: 0, err: '', out: { rows: { lease: 3 }, migrated: [], missingImages: [] } });

  // Before the service starts, fsck sees what has become untrue.
  const before = (await nimbus('fsck')).out as FsckReport;
  expect(before.problems.map((p) => p.rule).sort()).toEqual(['vm-generation', 'vm-gone', 'vm-unknown']);

  await start();
  await until([ended], 'Terminated');
  expect((await states()).get(since)).toBeUndefined();
  await until([kept, moved], 'Running');
  // The node has seen higher generations of this one: its end is repeated above them.
  await (serve as Serve).admin('lease', 'destroy', moved);
  await until([moved], 'Terminated');
  const report = await nimbus('fsck', '--repair');
  expect(report).toMatchObject({ code: 0, out: { problems: [] } });
  await clean();
});

it('a lost data directory: a new one from the backup, with the same keys and users', { timeout: 360_000 }, async () => {
  await start();
  await connect();
  const file = join((serve as Serve).root, 'site.backup');
  expect(await nimbus('backup', file)).toMatchObject({ code: 0 });
  await (serve as Serve).stop({ keep: true });
  // Also without a service.
  const cold = join((serve as Serve).root, 'cold.backup');
  expect(await nimbus('backup', cold, '--images')).toMatchObject({ code: 0, err: '', out: { rows: { account: 1 } } });
  rmSync((serve as Serve).dataDir, { recursive: true });
  expect(await nimbus('restore', cold)).toMatchObject({ code: 0, err: '', out: { rows: { account: 1 }, missingImages: [] } });
  expect(existsSync(join((serve as Serve).dataDir, 'keys', 'operate_ed25519'))).toBe(true);
  await start();
  expect((await (serve as Serve).admin<Array<{ name: string }>>('user', 'list')).map((u) => u.name)).toEqual(['ada']);
  await clean();
});

it('a restoration that is killed: before its commit what was there is there and serves, after it the next start finishes', { timeout: 600_000 }, async () => {
  await start();
  await connect();
  const { root, dataDir } = serve as Serve;
  const [first = ''] = await run(1);
  await until([first], 'Running');
  const file = join(root, 'site.backup');
  expect(await nimbus('backup', file, '--images')).toMatchObject({ code: 0 });
  const since = await run(3);
  await until(since, 'Running');
  writeFileSync(join(root, 'thesis.raw'), Buffer.alloc(1024, 3));
  const thesis = await (serve as Serve).admin<{ id: string }>('image', 'add', 'thesis', join(root, 'thesis.raw'), '--owner', 'ada');
  await (serve as Serve).stop({ keep: true });

  for (const dieAt of ['DROP TABLE', 'SET CONSTRAINTS', 'COMMIT;']) {
    expect(await program({ dieAt }, 'restore', '--replace', file), dieAt).toEqual({ code: 'SIGKILL', out: null, err: '' });
  }
  expect(readdirSync(join(dataDir, 'keys')).filter((f) => f.startsWith('.restored-'))).not.toEqual([]);
  await start();
  await until([first, ...since], 'Running');
  expect((await (serve as Serve).admin<Array<{ name: string }>>('image', 'list')).map((i) => i.name).sort()).toEqual(['nimbus-guest', 'thesis']);
  await clean();
  const drafts = (): string[] => readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).filter((f) => f.includes('.restored-'));
  expect(drafts()).toEqual([]);
  await (serve as Serve).stop({ keep: true });

  // The next files in order are those of the keys; this one is not what was backed up.
  const key = join(dataDir, 'keys', 'operate_ed25519.pub');
  const right = readFileSync(key, 'utf8');
  writeFileSync(key, 'another key\n');
  expect(await program({ dieAt: 'rename 2' }, 'restore', '--replace', file)).toMatchObject({ code: 'SIGKILL' });
  expect(readFileSync(key, 'utf8')).toBe('another key\n');
  await start();
  expect(readFileSync(key, 'utf8')).toBe(right);
  expect(drafts()).toEqual([]);
  await until([first], 'Running');
  expect((await states()).size).toBe(1);
  // What was added since is shown, and stays.
  await expect.poll(async () => ((await nimbus('fsck', '--repair')).out as FsckReport).problems.map((p) => [p.rule, p.of]), { timeout: 60_000 }).toEqual([['image-unknown', `ada/${thesis.id}.raw`]]);
  expect(readFileSync(join(dataDir, 'images', 'ada', `${thesis.id}.raw`)).equals(Buffer.alloc(1024, 3))).toBe(true);
});

it('a private database moves to a server of the site', { timeout: 480_000 }, async () => {
  const own = await openEmptyDatabase();
  await own.db.close();
  const { user = '', password = '', database = '', host = '' } = own.address;
  const url = `[database]\nurl = "postgres://${user}:${encodeURIComponent(password)}@/${database}?host=${encodeURIComponent(host)}"\n`;
  try {
    await start();
    await connect();
    const ids = await run(2);
    await until(ids, 'Running');
    await (serve as Serve).stop({ keep: true });
    const { root, dataDir } = serve as Serve;
    writeFileSync(join(root, 'new.toml'), `${SIMULATED}${url}`);
    const file = join(root, 'moving.backup');
    expect(await nimbus('backup', file)).toMatchObject({ code: 0, err: '' });
    expect(await program({ config: 'new.toml' }, 'restore', file)).toMatchObject({ code: 0, err: '', out: { rows: { lease: 2, account: 1 }, missingImages: [] } });
    // Nothing of it is private any more.
    rmSync(join(dataDir, 'pg'), { recursive: true });
    await start(`${SIMULATED}${url}`);
    await until(ids, 'Running');
    await clean();
    expect(existsSync(join(dataDir, 'pg'))).toBe(false);
    await serve?.stop();
    serve = undefined;
  } finally {
    await own.close();
  }
});

it('an image directory of another database: no start, no restoration, no look', { timeout: 360_000 }, async () => {
  await start();
  const { root, dataDir } = serve as Serve;
  const file = join(root, 'site.backup');
  expect(await nimbus('backup', file, '--images')).toMatchObject({ code: 0 });
  await (serve as Serve).stop({ keep: true });
  const mark = join(dataDir, 'images', '.repository');
  const [right, images] = [readFileSync(mark, 'utf8'), readdirSync(join(dataDir, 'images', 'common'))];
  writeFileSync(mark, 'of another');
  const strange = expect.stringMatching(/images is the image directory of another database of nimbus; set images\.directory to this one's\. If it is this one's all the same .*, remove .*\.repository/) as string;
  expect(await nimbus('restore', '--replace', file)).toMatchObject({ code: 2, err: strange });
  expect(await nimbus('fsck', '--repair')).toMatchObject({ code: 1, out: { problems: [{ rule: 'image-directory' }], mended: [] } });
  await expect(start()).rejects.toThrow(/ended with 2: .*images is the image directory of another database of nimbus/);
  expect([readFileSync(mark, 'utf8'), readdirSync(join(dataDir, 'images', 'common'))]).toEqual(['of another', images]);
  rmSync(mark);
  await start();
  expect(readFileSync(mark, 'utf8')).toBe(right);
  await clean();
});

it('fsck without a service asks the agents itself, mends, and leaves the work to the next service', { timeout: 360_000 }, async () => {
  await start();
  await connect();
  const ids = await run(2);
  await until(ids, 'Running');
  await (serve as Serve).kill();
  expect(await nimbus('fsck')).toMatchObject({ code: 0, out: { problems: [], notes: [], looked: { leases: 2, nodes: 1, asked: 1 } } });
  const { dataDir } = serve as Serve;
  const database = await startEmbedded(testContext(), { dataDir });
  const hand = new pg.Client({ ...database.address });
  await hand.connect();
  await hand.query('UPDATE vmm_node SET memory_used = memory_used + 128');
  await hand.query('UPDATE lease SET ends_at = NULL, holding = false WHERE id = $1', [ids[0]]);
  await hand.query('DELETE FROM usage_interval WHERE lease_id = $1', [ids[1]]);
  await hand.query('UPDATE lease SET generation = 0 WHERE id = $1', [ids[1]]);
  await hand.end();
  await database.stop();
  const draft = join(dataDir, 'images', 'common', '.incoming-ami-0123456789abcdef0');
  writeFileSync(draft, 'half');
  utimesSync(draft, 0, 0);
  const planted = ['image-draft', 'intent-ahead', 'lease-end', 'lease-not-holding', 'node-use', 'usage-not-counted'];
  const found = ((await nimbus('fsck')).out as FsckReport).problems.map((p) => p.rule);
  expect(found).toEqual(expect.arrayContaining(planted));
  const mended = await nimbus('fsck', '--repair', '--deep');
  expect(mended).toMatchObject({ code: 0, out: { problems: [], notes: [] } });
  expect((mended.out as FsckReport).mended.map((p) => p.rule)).toEqual(expect.arrayContaining(planted));
  expect(await nimbus('fsck', '--repair')).toMatchObject({ code: 0, out: { problems: [], mended: [] } });
  await start();
  await until(ids, 'Running');
  await clean();
});
