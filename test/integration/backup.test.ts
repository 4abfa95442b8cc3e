/** A service whose database is restored to what it was: agents have gone on meanwhile, and what is true wins. */
import { execFile } from 'node:child_process';
import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { CreateTagsCommand, EC2Client, RebootInstancesCommand, RunInstancesCommand, TerminateInstancesCommand } from '@aws-sdk/client-ec2';
import type { BackupContents } from '../../src/backup/check.ts';
import type { FsckReport } from '../../src/fsck/types.ts';
import type { LeaseView } from '../../src/manager/types.ts';
import { NIMBUS, startServe, type Serve } from '../support/serve.ts';

const SIMULATED = '[[local_nodes]]\nname = "local-1"\ndriver = "simulated"\nmemory_mb = 4096\ncores = 16\n[simulated]\nstart_ms = 5\nstop_ms = 5\n';

let serve: Serve | undefined;
let client: EC2Client | undefined;
afterEach(async () => {
  client?.destroy();
  await serve?.stop();
  serve = client = undefined;
});

interface Ran { readonly code: number; readonly out: unknown; readonly err: string }
/** The command on the service's directory, beside the service or without it. */
function nimbus(...args: string[]): Promise<Ran> {
  const { root, dataDir } = serve ?? { root: '', dataDir: '' };
  const config = ['fsck', 'backup', 'restore'].includes(args[0] ?? '') ? ['--config', join(root, 'nimbus.toml')] : [];
  return new Promise((resolve) => {
    execFile(process.execPath, [NIMBUS, ...args, '--data', dataDir, '--json', ...config], { timeout: 100_000, maxBuffer: 2 ** 26 }, (e, stdout, err) => {
      resolve({ code: e === null ? 0 : typeof e.code === 'number' ? e.code : -1, out: stdout === '' ? null : JSON.parse(stdout), err });
    });
  });
}

async function start(): Promise<void> {
  serve = await startServe(SIMULATED, serve?.root);
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
  const end = performance.now() + 30_000;
  for (;;) {
    const now = await states();
    if (ids.every((id) => now.get(id) === state)) return;
    if (performance.now() > end) throw new Error(`still ${JSON.stringify([...now])}`);
  }
}
const clean = async (): Promise<void> => expect(await nimbus('fsck')).toMatchObject({ code: 0, out: { problems: [] }, err: '' });

it('an old backup: VMs since are removed, leases whose VMs are gone end, generations catch up', { timeout: 170_000 }, async () => {
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

it('a lost data directory: a new one from the backup, with the same keys and users', { timeout: 120_000 }, async () => {
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

it('fsck without a service asks the agents itself, mends, and leaves the work to the next service', { timeout: 120_000 }, async () => {
  await start();
  await connect();
  const ids = await run(2);
  await until(ids, 'Running');
  await (serve as Serve).kill();
  expect(await nimbus('fsck')).toMatchObject({ code: 0, out: { problems: [], notes: [], looked: { leases: 2, nodes: 1, asked: 1 } } });
  expect(await nimbus('fsck', '--repair', '--deep')).toMatchObject({ code: 0, out: { problems: [], mended: [] } });
  await start();
  await until(ids, 'Running');
  await clean();
});
