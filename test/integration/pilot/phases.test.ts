/**
 * kill -9 of the service in each phase of a slot: a group of two, real pilots, the service as a process. Whatever the phase,
 * there was one job, it is over in the end, nothing is left on the nodes, and the books say what happened.
 */
import { EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { afterEach, describe, expect, it } from 'vitest';
import type { FsckReport } from '../../../src/fsck/types.ts';
import { eventually } from '../../support/slurm.ts';
import { PhasesSite } from './phases-site.ts';

let site: PhasesSite | undefined;
afterEach(async () => {
  await site?.close();
  site = undefined;
});

interface Usage { lease: string; chargedMinutes: number; open: boolean }

async function open(): Promise<PhasesSite> {
  site = await PhasesSite.open();
  return site;
}

async function create(s: PhasesSite): Promise<void> {
  const { accessKey, secretKey } = await s.serve.user('ada');
  const client = new EC2Client({ endpoint: s.serve.ec2, region: 'nimbus', credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } });
  await client.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: 2, MaxCount: 2 }));
  client.destroy();
}

const destroy = async (s: PhasesSite): Promise<void> => {
  const ids = (await s.leases()).filter((l) => l.state !== 'Terminated' && l.state !== 'Ending').map((l) => l.id);
  if (ids.length > 0) await s.serve.admin('lease', 'destroy', ...ids);
};

/** Ends what lives, and looks at everything. */
async function endsTrue(s: PhasesSite, expected: { ran: boolean; jobs?: number }): Promise<void> {
  await destroy(s);
  const leases = await s.all('Terminated');
  const slots = await eventually('the end of the slot', async () => {
    const all = await s.slots();
    return all.every((x) => x.state === 'Ended') ? all : undefined;
  }, 120_000);
  await eventually('the end of the job', () => (s.jobs().every((j) => !['PENDING', 'RUNNING', 'COMPLETING'].includes(j.state)) ? true : undefined));
  await eventually('clean nodes', () => (s.onNodes().length === 0 ? true : undefined));
  expect(slots).toHaveLength(1);
  expect(s.jobs().map((j) => j.name), 'one job').toEqual(Array.from({ length: expected.jobs ?? 1 }, () => slots[0]?.id));
  expect(slots[0]?.nodes.map((n) => n.state)).toEqual(expected.ran ? ['Returned', 'Returned'] : ['Lost', 'Lost']);
  expect(leases.map((l) => l.runningAt !== null)).toEqual([expected.ran, expected.ran]);
  const usage = await s.serve.admin<Usage[]>('usage');
  for (const { id } of leases) expect((usage.find((u) => u.lease === id)?.chargedMinutes ?? 0) > 0, `usage of ${id}`).toBe(expected.ran);
  expect((await s.serve.admin<FsckReport>('fsck')).problems, 'leases, nodes, addresses and usage records agree').toEqual([]);
}

describe('kill -9 of the service', { timeout: 480_000 }, () => {
  it('before the batch system was asked: it is asked again', async () => {
    const s = await open();
    s.hold('sbatch-before');
    await create(s);
    await s.reached('sbatch', 'called');
    await s.killAndRestart(() => s.die('sbatch'));
    expect(s.jobs()).toEqual([]);
    await s.all('Running');
    await endsTrue(s, { ran: true });
  });

  it('while it is asked: the job is found by its name', async () => {
    const s = await open();
    s.hold('sbatch-before');
    await create(s);
    await s.reached('sbatch', 'called');
    await s.killAndRestart(() => s.letGo('sbatch-before'));
    await s.all('Running');
    await endsTrue(s, { ran: true });
  });

  it('before its answer was heard: the job is found by its name', async () => {
    const s = await open();
    s.hold('sbatch-after');
    await create(s);
    await s.reached('sbatch', 'done');
    await s.killAndRestart();
    s.letGo('sbatch-after');
    await s.all('Running');
    await endsTrue(s, { ran: true });
  });

  it('while it is asked, and the answer is long in coming: of two jobs one is cancelled', async () => {
    const s = await open();
    s.hold('sbatch-before');
    await create(s);
    await s.reached('sbatch', 'called');
    s.block();
    await s.killAndRestart();
    await eventually('a second submission', () => (s.inside('sbatch') === 2 ? true : undefined));
    s.letGo('sbatch-before');
    await eventually('two jobs', () => (s.jobs().length === 2 ? true : undefined));
    await eventually('the end of one', () => (s.jobs().filter((j) => j.state === 'CANCELLED').length === 1 ? true : undefined));
    await s.unblock();
    await s.all('Running');
    await endsTrue(s, { ran: true, jobs: 2 });
  });

  it('while the job waits', async () => {
    const s = await open();
    s.block();
    await create(s);
    await eventually('a job', async () => (await s.slots())[0]?.jobId ?? undefined);
    await s.killAndRestart();
    expect((await s.leases()).map((l) => l.state)).toEqual(['Pending', 'Pending']);
    await s.unblock();
    await s.all('Running');
    await endsTrue(s, { ran: true });
  });

  it('when one of two pilots has reported', async () => {
    const s = await open();
    s.hold('pilot-b');
    await create(s);
    await eventually('the first', async () => ((await s.leases()).some((l) => l.state === 'Running') ? true : undefined));
    await s.killAndRestart(() => s.letGo('pilot-b'));
    await s.all('Running');
    await endsTrue(s, { ran: true });
  });

  it('while the VMs run', async () => {
    const s = await open();
    await create(s);
    const before = await s.all('Running');
    await s.killAndRestart();
    const after = await s.all('Running');
    expect(after.map((l) => [l.id, l.node, l.runningAt, l.endsAt])).toEqual(before.map((l) => [l.id, l.node, l.runningAt, l.endsAt]));
    await endsTrue(s, { ran: true });
  });

  it('while the nodes are given back', async () => {
    const s = await open();
    await create(s);
    await s.all('Running');
    await destroy(s);
    await s.killAndRestart();
    await endsTrue(s, { ran: true });
  });

  it('while the job is cancelled: it is cancelled again', async () => {
    const s = await open();
    s.block();
    await create(s);
    await eventually('a job', async () => (await s.slots())[0]?.jobId ?? undefined);
    s.hold('scancel-before');
    await destroy(s);
    await s.reached('scancel', 'called');
    await s.killAndRestart(() => s.die('scancel'));
    await endsTrue(s, { ran: false });
    expect(s.jobs()[0]?.state).toBe('CANCELLED');
  });
});
