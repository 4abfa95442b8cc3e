/** Lines between pilots and the service that fall silent without closing: real pilots, the service as a process, a proxy between them. */
import { EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { createAdminClient } from '../../../src/cli/client.ts';
import { halfOpenProxy, type HalfOpenProxy } from '../../fixtures/half-open-proxy.ts';
import { eventually } from '../../support/slurm.ts';
import { PhasesSite, type Patience } from './phases-site.ts';

const run = promisify(execFile);
let site: PhasesSite | undefined;
let proxy: HalfOpenProxy | undefined;
afterEach(async () => {
  proxy?.thaw();
  await site?.close();
  await proxy?.close();
  site = proxy = undefined;
});

async function open(patience: Partial<Patience> = {}): Promise<{ s: PhasesSite; line: HalfOpenProxy }> {
  const made: { line?: HalfOpenProxy } = {};
  const s = await PhasesSite.open(patience, async (port) => {
    proxy = made.line = await halfOpenProxy('127.0.0.1', port);
    return `http://127.0.0.1:${proxy.port}`;
  });
  site = s;
  if (made.line === undefined) throw new Error('no proxy was asked for');
  return { s, line: made.line };
}

async function create(s: PhasesSite): Promise<void> {
  const { accessKey, secretKey } = await s.serve.user('ada');
  const client = new EC2Client({ endpoint: s.serve.ec2, region: 'nimbus', credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } });
  await client.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: 2, MaxCount: 2 }));
  client.destroy();
}

const slotEnds = (s: PhasesSite) => eventually('the end of the slot', async () => ((await s.slots()).every((x) => x.state === 'Ended') ? true : undefined), 120_000);
const cleanNodes = (s: PhasesSite, ms: number) => eventually('clean nodes', () => (s.onNodes().length === 0 ? true : undefined), ms);

async function usageIsTrue(s: PhasesSite, ran: boolean): Promise<void> {
  const usage = await s.serve.admin<Array<{ lease: string; chargedMinutes: number }>>('usage');
  for (const { id } of await s.leases()) expect((usage.find((u) => u.lease === id)?.chargedMinutes ?? 0) > 0, `usage of ${id}`).toBe(ran);
}

/** The pilots' own patience and the batch system's 60 s between SIGTERM and SIGKILL, with room for a busy machine. */
const GRACE_MS = 130_000;

describe('a half-open line', { timeout: 480_000 }, () => {
  it('before the first word: pilots that nobody answers give their nodes back', async () => {
    const { s, line } = await open({ reserveWaitS: 10 });
    line.freeze();
    await create(s);
    await eventually('the pilots', () => (s.onNodes().length > 0 ? true : undefined));
    await cleanNodes(s, GRACE_MS + 20_000);
    const leases = await s.all('Terminated');
    expect(leases.map((l) => [l.runningAt, l.reasonCode])).toEqual([[null, 'Server.BatchJobEnded'], [null, 'Server.BatchJobEnded']]);
    await slotEnds(s);
    await usageIsTrue(s, false);
  });

  it('while VMs run: pilots are lost, leases end, the job is cancelled and the nodes are clean, though nothing is ever heard', async () => {
    const { s, line } = await open({ silenceS: 15 });
    await create(s);
    await s.all('Running');
    line.freeze();
    const leases = await s.all('Terminated');
    expect(leases.map((l) => l.reasonCode)).toEqual(['Server.PilotLost', 'Server.PilotLost']);
    await slotEnds(s);
    await cleanNodes(s, GRACE_MS);
    // What has become of the job is written when somebody asks the batch system next.
    await eventually('the end of the job', () => (s.jobs().every((j) => j.state === 'CANCELLED') ? true : undefined));
    expect(s.jobs()).toHaveLength(1);
    await usageIsTrue(s, true);
  });

  it('while VMs run, for a while: leases go on', async () => {
    const { s, line } = await open();
    await create(s);
    const before = await s.all('Running');
    const frozenAt = Date.now();
    line.freeze();
    // Asked without a command of its own: pilots that are silent for long are lost.
    await eventually('a list', async () => {
      const { batchSystem } = await createAdminClient(s.serve.dataDir).get<{ batchSystem?: { lastListed: number | null } }>('/v1/status');
      return (batchSystem?.lastListed ?? 0) > frozenAt ? true : undefined;
    });
    const thawedAt = Date.now();
    line.thaw();
    await eventually('the pilots’ return', async () => ((await s.slots())[0]?.nodes.every((n) => (n.lastHeard ?? 0) > thawedAt) ? true : undefined));
    expect((await s.leases()).map((l) => [l.id, l.state])).toEqual(before.map((l) => [l.id, 'Running']));
    await s.serve.admin('lease', 'destroy', ...before.map((l) => l.id));
    await s.all('Terminated');
    await slotEnds(s);
    await cleanNodes(s, GRACE_MS);
    await usageIsTrue(s, true);
  });

  it('when the batch system takes the nodes back: pilots cannot say so, and give them back within the grace', async () => {
    const { s, line } = await open();
    await create(s);
    await s.all('Running');
    line.freeze();
    const [job] = s.jobs();
    await run(s.scancel, ['--verbose', String(job?.id)]);
    await cleanNodes(s, GRACE_MS);
    const leases = await s.all('Terminated');
    for (const l of leases) expect(l.reasonCode).toMatch(/^Server\.(BatchJobCancelled|PilotLost)$/);
    await slotEnds(s);
    await usageIsTrue(s, true);
  });
});
