/** Both adapters against a real Slurm: jobs that run, wait, are held, cancelled, shrunk and put back behind our back. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { commandEnvironment, localRunner } from '../../../src/pilot/lrm/runner.ts';
import type { JobRequest, JobView, Lrm } from '../../../src/pilot/lrm/types.ts';
import { realClock } from '../../../src/platform/real.ts';
import { hasPart } from '../../parts.ts';
import { eventually, startTestSlurm, submit, type TestSlurm } from '../../support/slurm.ts';
import { jobRequest, listed, lrmOf } from './support.ts';

/** Writes what it reads and which signals come, and ends 0.3 s after the first SIGTERM. */
const PILOT = `#!/bin/sh
log="$1/$SLURMD_NODENAME"
read -r line
n=0
trap 'n=$((n + 1)); echo "TERM $n" >> "$log"' TERM
echo "$2 $line" >> "$log"
while [ $n = 0 ]; do sleep 0.05; done
sleep 0.3
echo over >> "$log"
exit 5
`;

let slurm: TestSlurm;
let made = 0;

interface Job extends JobRequest {
  /** What each node's pilot wrote. */
  logs(): Record<string, string[]>;
}

function job(nodes: readonly number[], more: Partial<JobRequest> = {}): Job {
  made += 1;
  const dir = join(slurm.root, `job${made}`);
  mkdirSync(dir);
  const slotId = `sl-${String(made).padStart(12, '0')}`;
  const parts = nodes.map((n, i) => ({ nodes: n, cores: 1 + i, memoryMb: 100, argv: [join(slurm.root, 'pilot'), dir, `part ${i}`] }));
  const logs = (): Record<string, string[]> => Object.fromEntries(readdirSync(dir).sort().map((f) => [f, readFileSync(join(dir, f), 'utf8').trim().split('\n')]));
  return { ...jobRequest({ slotId, parts, walltimeS: 300, credentials: `{"secret":"it's ${slotId} $HOME"}`, ...more }), logs };
}

const lrmFor = (toml: string): Lrm => lrmOf(localRunner(realClock, commandEnvironment({ ...process.env, ...slurm.env })), toml);
const view = async (lrm: Lrm, j: JobRequest): Promise<JobView | undefined> => (await listed(lrm)).jobs.find((v) => v.slotId === j.slotId);
const reaches = (lrm: Lrm, j: JobRequest, ...states: JobView['state'][]): Promise<JobView> => eventually(`${j.slotId} ${states.join(' or ')}`, async () => {
  const found = await view(lrm, j);
  return found !== undefined && states.includes(found.state) ? found : undefined;
});
const allStarted = (j: Job, nodes: number): Promise<true> => eventually('all pilots', () => Object.values(j.logs()).filter((l) => l.length > 0 && l[0] !== '').length === nodes || undefined);

async function submitted(lrm: Lrm, j: JobRequest): Promise<string> {
  const answer = await lrm.submit(j);
  if (answer.kind !== 'submitted') throw new Error(`${answer.kind}: ${answer.reason}`);
  return answer.jobId;
}

async function startSlurm(options: Parameters<typeof startTestSlurm>[0]): Promise<void> {
  slurm = await startTestSlurm(options);
  writeFileSync(join(slurm.root, 'pilot'), PILOT);
  chmodSync(join(slurm.root, 'pilot'), 0o755);
}

/** What a test left, the next must not wait for. */
async function noJobs(): Promise<void> {
  const live = async (): Promise<string[]> => (await slurm.run(['squeue', '--noheader', '--format=%A'])).stdout.split('\n').filter(Boolean);
  const left = await live();
  if (left.length > 0) await slurm.run(['scancel', ...left]);
  await eventually('an empty queue', async () => (await live()).length === 0 || undefined);
}

describe.skipIf(!hasPart('slurm'))('Slurm', () => {
  let lrm: Lrm;
  beforeAll(async () => {
    await startSlurm({ nodes: 4, cpusPerNode: 4, killWaitS: 20 });
    lrm = lrmFor('');
  });
  afterEach(noJobs);
  afterAll(() => slurm.stop());

  test('facts', async () => {
    expect(await lrm.facts()).toMatchObject({ flavour: 'slurm', version: expect.stringMatching(/^\d+\.\d+/), graceS: 20, nodes: 4, shrinks: true, heterogeneous: true, epilogue: null });
  });

  test.each([['one node', [1]], ['four nodes', [4]], ['unlike parts', [1, 2]]])('%s: every pilot reads the credentials, hears SIGTERM once, and is waited for', async (_name, nodes) => {
    const j = job(nodes);
    const total = nodes.reduce((a, b) => a + b, 0);
    const id = await submitted(lrm, j);
    const running = await reaches(lrm, j, 'running');
    expect(running).toMatchObject({ jobId: id, native: 'RUNNING', requeued: false });
    expect(running.hosts).toHaveLength(total);
    await allStarted(j, total);
    expect(Object.keys(j.logs())).toEqual([...running.hosts].sort());
    expect(await lrm.cancel(id)).toEqual({ kind: 'cancelled' });
    await reaches(lrm, j, 'cancelled');
    for (const [node, log] of Object.entries(j.logs())) {
      const part = nodes.length > 1 && node !== running.hosts[0] ? 1 : 0;
      expect(log).toEqual([`part ${part} ${j.credentials}`, 'TERM 1', 'over']);
    }
    expect(await lrm.cancel(id)).toEqual({ kind: 'gone' });
  });

  test('nodes are given back one by one; those that stay hear nothing of it', async () => {
    const j = job([3]);
    const id = await submitted(lrm, j);
    const { hosts } = await reaches(lrm, j, 'running');
    await allStarted(j, 3);
    expect(await lrm.shrink?.(id, 0, hosts.slice(0, 2))).toEqual({ kind: 'cancelled' });
    await eventually('two nodes', async () => (await view(lrm, j))?.hosts.length === 2 || undefined);
    expect((await view(lrm, j))?.state).toBe('running');
    // The node of the script cannot be given back before the job is.
    expect(await lrm.shrink?.(id, 0, hosts.slice(1, 2))).toMatchObject({ kind: 'unknown' });
    expect(hosts.slice(0, 2).map((h) => j.logs()[h]?.length)).toEqual([1, 1]);
    await lrm.cancel(id);
    await reaches(lrm, j, 'cancelled');
    expect(hosts.slice(0, 2).map((h) => j.logs()[h])).toEqual(hosts.slice(0, 2).map(() => [`part 0 ${j.credentials}`, 'TERM 1', 'over']));
  });

  test('waiting jobs have places among all; held and refused ones say why', async () => {
    const [first, second] = [job([4]), job([4])];
    const blocker = await submitted(lrm, first);
    await reaches(lrm, first, 'running');
    const foreign = await submit(slurm, '#!/bin/sh\nsleep 1\n', ['--nodes=4', '--exclusive', '--job-name=x\n999|N/A|N/A|0|RUNNING|main|1|0|1|None|node1|sl-00000000dead']);
    const id = await submitted(lrm, second);
    await eventually('the second place', async () => (await view(lrm, second))?.position === 2 || undefined);
    expect((await listed(lrm)).jobs.map((v) => v.slotId)).not.toContain('sl-00000000dead');
    await slurm.run(['scontrol', 'hold', id]);
    expect(await reaches(lrm, second, 'held')).toMatchObject({ reason: expect.stringMatching(/^JobHeld/), position: null });
    await slurm.run(['scancel', id, foreign]);
    expect(await reaches(lrm, second, 'cancelled')).toMatchObject({ hosts: [] });
    await lrm.cancel(blocker);
    expect(await lrmFor('[slurm]\npartition = "nosuch"\n').submit(job([1]))).toMatchObject({ kind: 'rejected', reason: expect.stringContaining('nosuch') });
  });

  test('a job that is put back is told', async () => {
    const j = job([1]);
    const again = lrmFor('[slurm]\noptions = ["--requeue"]\n');
    const id = await submitted(again, j);
    await allStarted(j, 1);
    await slurm.run(['scontrol', 'requeue', id]);
    expect(await reaches(again, j, 'queued')).toMatchObject({ requeued: true });
    await again.cancel(id);
  });

  test('a lost node ends only its own pilot', async () => {
    const j = job([3]);
    const id = await submitted(lrm, j);
    const { hosts } = await reaches(lrm, j, 'running');
    await allStarted(j, 3);
    await slurm.setNode(hosts[2] ?? '', 'down', 'test');
    await eventually('two nodes', async () => (await view(lrm, j))?.hosts.length === 2 || undefined);
    expect(hosts.slice(0, 2).map((h) => j.logs()[h]?.length)).toEqual([1, 1]);
    await slurm.setNode(hosts[2] ?? '', 'resume', 'test');
    await lrm.cancel(id);
    await reaches(lrm, j, 'cancelled');
  });

  test('without its controller nothing is known, and submissions stay open', async () => {
    await slurm.stopDaemon('slurmctld');
    const quick = lrmFor('[pilot]\ncommand_deadline = 3\n');
    try {
      await vi.waitFor(async () => expect(await quick.list()).toMatchObject({ kind: 'unavailable' }), { timeout: 60_000 });
      expect(await quick.submit(job([1]))).toMatchObject({ kind: 'unknown' });
      expect(await quick.cancel('1')).toMatchObject({ kind: 'unknown' });
    } finally {
      await slurm.startDaemon('slurmctld');
    }
    expect(await lrm.list()).toMatchObject({ kind: 'listing' });
  });

  // Last of all: Slurm 22.05 has idle nodes wait for half a minute after a part of a job was cancelled.
  test('of a job of parts, all but the first shrink and go, one by one', async () => {
    const j = job([1, 3]);
    const id = await submitted(lrm, j);
    await reaches(lrm, j, 'running');
    await allStarted(j, 4);
    const second = Object.entries(j.logs()).filter(([, log]) => log[0]?.startsWith('part 1')).map(([host]) => host).sort();
    expect(second).toHaveLength(3);
    expect(await lrm.shrink?.(id, 1, second.slice(0, 2))).toEqual({ kind: 'cancelled' });
    await eventually('three nodes', async () => (await view(lrm, j))?.hosts.length === 3 || undefined);
    expect((await view(lrm, j))?.hosts).not.toContain(second[2]);
    expect(second.slice(0, 2).map((h) => j.logs()[h]?.length)).toEqual([1, 1]);
    expect(await lrm.shrink?.(id, 1, [])).toEqual({ kind: 'cancelled' });
    await eventually('one node', async () => (await view(lrm, j))?.hosts.length === 1 || undefined);
    expect((await view(lrm, j))?.state).toBe('running');
    expect(await lrm.shrink?.(id, 1, second.slice(0, 1))).toEqual({ kind: 'gone' });
    await lrm.cancel(id);
    await reaches(lrm, j, 'cancelled');
  });
});

describe.skipIf(!hasPart('slurm'))('Slurm that preempts', () => {
  beforeAll(() => startSlurm({ nodes: 2, preempt: { graceS: 15 } }));
  afterEach(noJobs);
  afterAll(() => slurm.stop());

  test.each([[1], [2]])('pilots of %i nodes hear SIGTERM when the grace begins, not when it ends', async (nodes) => {
    const lrm = lrmFor('');
    const j = job([nodes]);
    await submitted(lrm, j);
    await allStarted(j, nodes);
    await submit(slurm, '#!/bin/sh\n', ['--partition', slurm.highPartition ?? '', '--nodes=2', '--exclusive']);
    // A pilot that was told in time has gone by itself, and no time has made an end of the job.
    const { state } = await reaches(lrm, j, 'failed', 'preempted', 'cancelled', 'timeout');
    expect(state).toBe('failed');
    for (const log of Object.values(j.logs())) expect(log).toEqual([`part 0 ${j.credentials}`, 'TERM 1', 'over']);
  });
});

describe.skipIf(!hasPart('slurm-torque'))('Torque\'s commands on Slurm', () => {
  let lrm: Lrm;
  beforeAll(async () => {
    await startSlurm({ nodes: 4, cpusPerNode: 4, killWaitS: 20 });
    lrm = lrmFor('[pilot]\nlrm = "pbs"\n[pbs]\nppn = 4\n');
  });
  afterEach(noJobs);
  afterAll(() => slurm.stop());

  test('facts', async () => {
    expect(await lrm.facts()).toMatchObject({ lrm: 'pbs', flavour: 'slurm-torque', graceS: 20, nodes: 4, heterogeneous: false, shrinks: false });
  });

  test.each([[1], [3]])('%i nodes: every pilot reads the credentials and hears SIGTERM once', async (nodes) => {
    const j = job([nodes]);
    const id = await submitted(lrm, j);
    const running = await reaches(lrm, j, 'running');
    expect(running).toMatchObject({ jobId: id, native: 'R' });
    expect(running.hosts).toHaveLength(nodes);
    await allStarted(j, nodes);
    expect(await lrm.cancel(id)).toEqual({ kind: 'cancelled' });
    await eventually('all pilots over', () => Object.values(j.logs()).every((l) => l.at(-1) === 'over') || undefined);
    await reaches(lrm, j, 'done');
    for (const log of Object.values(j.logs())) expect(log).toEqual([`part 0 ${j.credentials}`, 'TERM 1', 'over']);
    await eventually('qdel to say that it is gone', async () => (await lrm.cancel(id)).kind === 'gone' || undefined);
  });

  test('a refusal has sbatch\'s words', async () => {
    const answer = await lrmFor('[pilot]\nlrm = "pbs"\n[pbs]\nqueue = "nosuch"\n').submit(job([1]));
    expect(answer).toMatchObject({ kind: 'rejected', reason: expect.stringContaining('Invalid partition name specified') });
  });
});
