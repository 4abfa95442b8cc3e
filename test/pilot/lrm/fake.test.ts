/** The misbehaving batch systems that other tests build on do what they are told. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync, chmodSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { commandEnvironment, localRunner } from '../../../src/pilot/lrm/runner.ts';
import type { Lrm } from '../../../src/pilot/lrm/types.ts';
import { realClock } from '../../../src/platform/real.ts';
import { FakeLrm, fakeSlurmCommands } from '../../support/fake-lrm.ts';
import { processesWith } from '../../support/processes.ts';
import { jobRequest, listed, lrmOf, part } from './support.ts';

describe('in this process', () => {
  test('jobs start, hear signals, are shrunk, put back, lost; answers are lost and refused', async () => {
    const heard: string[] = [];
    const lrm = new FakeLrm((_job, host, p) => ({ signal: (name) => { heard.push(`${host} part ${p} ${name}`); } }));
    expect(await lrm.submit(jobRequest({ parts: [part(1), part(1)] }))).toEqual({ kind: 'submitted', jobId: '1' });
    const job = lrm.jobOf('sl-00000000abcd');
    lrm.start(job, ['a', 'b']);
    expect(await listed(lrm)).toMatchObject({ jobs: [{ state: 'running', hosts: ['a', 'b'] }] });
    await lrm.shrink('1', 1, []);
    await lrm.cancel('1');
    lrm.killAll(job);
    expect(heard).toEqual(['b part 1 SIGKILL', 'a part 0 SIGTERM', 'a part 0 SIGKILL']);
    expect(await lrm.cancel('1')).toEqual({ kind: 'gone' });

    lrm.behaviour.submit = 'lost-answer';
    expect(await lrm.submit(jobRequest({ slotId: 'sl-000000000002' }))).toMatchObject({ kind: 'unknown' });
    expect((await listed(lrm)).jobs).toHaveLength(2);
    lrm.vanish(lrm.jobOf('sl-000000000002'));
    lrm.behaviour.distort = (jobs) => [...jobs, ...jobs];
    expect((await listed(lrm)).jobs).toHaveLength(2);
    lrm.behaviour.list = 'unavailable';
    expect(await lrm.list()).toMatchObject({ kind: 'unavailable' });
  });
});

describe('as commands', () => {
  let dir: string;
  let lrm: Lrm;
  let fake: ReturnType<typeof fakeSlurmCommands>;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'fake-slurm-'));
    fake = fakeSlurmCommands(dir, { nodes: ['n1', 'n2', 'n3'], killWaitS: 30 });
    const toml = `[slurm]\n${Object.entries(fake.settings).map(([k, v]) => `${k} = "${v}"`).join('\n')}\n`;
    lrm = lrmOf(localRunner(realClock, commandEnvironment(process.env)), toml);
    writeFileSync(join(dir, 'pilot'), `#!/bin/sh\nread -r line\ntrap 'echo TERM >> ${dir}/$SLURMD_NODENAME.log; exit 5' TERM\necho "$line" >> ${dir}/$SLURMD_NODENAME.log\nwhile :; do sleep 0.05; done\n`);
    chmodSync(join(dir, 'pilot'), 0o755);
  });
  afterEach(async () => {
    fake.faults({});
    for (const job of (await listed(lrm)).jobs) await lrm.cancel(job.jobId);
    await vi.waitFor(() => expect(processesWith(dir)).toEqual([]), { timeout: 60_000 });
    rmSync(dir, { recursive: true, force: true });
  });
  const state = async (slotId: string): Promise<string | undefined> => (await listed(lrm)).jobs.find((j) => j.slotId === slotId)?.state;

  test('the adapter for Slurm cannot tell them from Slurm\'s', async () => {
    expect(await lrm.facts()).toMatchObject({ graceS: 30, nodes: 3 });
    const parts = [part(2, { argv: [join(dir, 'pilot')] })];
    expect(await lrm.submit(jobRequest({ parts }))).toEqual({ kind: 'submitted', jobId: '1' });
    expect(await lrm.submit(jobRequest({ slotId: 'sl-000000000002', parts }))).toEqual({ kind: 'submitted', jobId: '2' });
    expect((await listed(lrm)).jobs).toMatchObject([{ state: 'running', hosts: ['n1', 'n2'] }, { state: 'queued', position: 1 }]);
    const logs = (): string[] => readdirSync(dir).filter((f) => f.endsWith('.log')).sort().map((f) => readFileSync(join(dir, f), 'utf8'));
    await vi.waitFor(() => expect(logs()).toEqual(['{"secret":"s3cr3t"}\n', '{"secret":"s3cr3t"}\n']), { timeout: 60_000 });
    expect(await lrm.cancel('1')).toEqual({ kind: 'cancelled' });
    await vi.waitFor(async () => expect(await state('sl-00000000abcd')).toBe('cancelled'), { timeout: 60_000 });
    await vi.waitFor(async () => expect(await state('sl-000000000002')).toBe('running'), { timeout: 60_000 });
    expect(logs().filter((l) => l.includes('TERM'))).toHaveLength(2);
    expect(await lrm.cancel('1')).toEqual({ kind: 'gone' });
  });

  test('faults', async () => {
    fake.faults({ sbatch: { silent: true }, squeue: { exit: 1, stderr: 'Unable to contact slurm controller' } });
    expect(await lrm.submit(jobRequest())).toMatchObject({ kind: 'unknown' });
    expect(await lrm.list()).toMatchObject({ kind: 'unavailable', reason: expect.stringContaining('Unable to contact') });
    fake.faults({ sbatch: { exit: 1, stderr: 'sbatch: error: Batch job submission failed: Invalid partition name specified' } });
    expect(await lrm.submit(jobRequest())).toMatchObject({ kind: 'rejected' });
    fake.faults({});
    expect((await listed(lrm)).jobs.map((j) => j.slotId)).toEqual(['sl-00000000abcd']);
  });
});
