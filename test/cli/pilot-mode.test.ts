/** The administrators' commands on a real Slurm with real pilots: with the service, after its kill -9, and without its database. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import type { Finding } from '../../src/doctor/types.ts';
import type { BreakdownView, SlotDetails } from '../../src/manager/admin-types.ts';
import type { NodeOutcome } from '../../src/cli/kill-report.ts';
import type { JobOutcome } from '../../src/manager/admin/kill-all-jobs.ts';
import { startCluster, type Cluster } from '../integration/pilot/cluster.ts';
import { hasPart } from '../parts.ts';
import { NIMBUS } from '../support/serve.ts';

let c: Cluster | undefined;
afterEach(async () => { await c?.stop(); c = undefined; });

const here = (): Cluster => {
  if (c === undefined) throw new Error('no cluster was started');
  return c;
};

interface Ran { readonly code: number; readonly out: unknown; readonly err: string }

/** The command as an administrator types it, beside the service. */
function nimbus(...args: string[]): Promise<Ran> {
  const { serve, env } = here();
  const argv = [NIMBUS, ...args, ...(args.includes('--data') ? [] : ['--data', serve.dataDir]), '--json'];
  return new Promise((resolve) => {
    execFile(process.execPath, argv, { env: { PATH: process.env['PATH'], HOME: serve.root, ...env }, timeout: 200_000 }, (e, stdout, err) => {
      resolve({ code: e === null ? 0 : typeof e.code === 'number' ? e.code : -1, out: stdout === '' ? null : JSON.parse(stdout), err });
    });
  });
}

const config = (): string[] => ['--config', join(here().serve.root, 'nimbus.toml')];

let users = 0;
/** A group whose VMs run; its id. */
async function group(count: number): Promise<string> {
  users += 1;
  const { accessKey, secretKey } = await here().serve.user(`ada${users}`);
  const client = new EC2Client({ endpoint: here().serve.ec2, region: 'nimbus', credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } });
  const { ReservationId: id } = await client.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: count, MaxCount: count }));
  client.destroy();
  await here().all('Running');
  return id ?? '';
}

const became = (report: unknown): string[] => (report as NodeOutcome[]).map((n) => `${n.node ?? '?'} ${n.outcome}`).sort();
const queue = async (): Promise<string> => (await here().slurm.run(['squeue', '--noheader'])).stdout.trim();
const driver = (): 'qemu' | 'simulated' => (hasPart('qemu') ? 'qemu' : 'simulated');

describe.skipIf(!hasPart('slurm'))('on a real Slurm', () => {
  it('slots, the doctor, kill-all and the breakdown, with the service', { timeout: 480_000 }, async () => {
    c = await startCluster({ driver: driver(), slurm: { nodes: 2 } });
    const id = await group(2);
    const [slot] = await c.slots();
    const details = (await nimbus('slot', 'show', slot?.id ?? '')).out as SlotDetails;
    expect(details.nodes.map((n) => n.state)).toEqual(['Reserved', 'Reserved']);
    expect(details.messages.map((m) => m.state)).toContain('reserved');

    const doctor = await nimbus('doctor');
    expect((doctor.out as Finding[]).filter((f) => f.level === 'fail')).toEqual([]);
    expect(doctor.code).toBe(0);
    const checked = (doctor.out as Finding[]).filter((f) => f.level === 'ok').map((f) => f.check);
    for (const check of ['service', 'database', 'batch system', 'partition', 'epilogue', 'pilot program', 'notification address', 'transport', 'clocks']) expect(checked).toContain(check);

    const report = await nimbus('kill-all', '--yes');
    expect({ code: report.code, became: became(report.out), err: report.err }).toEqual({ code: 0, became: c.slurm.nodes.map((n) => `${n} restored`), err: '' });
    expect((await c.leases(true)).map((l) => l.reasonCode)).toEqual(['Server.SlotKilled', 'Server.SlotKilled']);
    await c.clean();

    const { summary } = (await nimbus('lease', 'show', id, '--breakdown')).out as BreakdownView;
    const steps = summary.map((s) => s.name);
    expect(steps).toEqual(['proc', 'handover', 'torque', 'pilot', 'ping', 'slot', 'invoke', 'propagate', 'create', 'post', 'vm', 'total', 'destroy', 'sigterm', 'restore']);
    for (const s of summary) expect(s.critical, s.name).not.toBeNull();
  });

  it('kill-all after kill -9 of the service: pilots are heard, the truth is written, the next service finds it', { timeout: 480_000 }, async () => {
    c = await startCluster({ driver: driver(), slurm: { nodes: 2 } });
    await group(2);
    await c.serve.kill();
    const doctor = await nimbus('doctor', ...config());
    expect((doctor.out as Finding[]).filter((f) => f.level === 'fail')).toEqual([]);
    expect((doctor.out as Finding[]).find((f) => f.check === 'service')?.level).toBe('warn');

    const report = await nimbus('kill-all', '--yes', ...config());
    expect({ code: report.code, became: became(report.out) }).toEqual({ code: 0, became: c.slurm.nodes.map((n) => `${n} restored`) });
    // The batch system may still be at the end of the job.
    await expect.poll(queue).toBe('');
    await c.restart();
    expect((await c.leases(true)).map((l) => [l.state, l.reasonCode])).toEqual([['Terminated', 'Server.SlotKilled'], ['Terminated', 'Server.SlotKilled']]);
    expect((await c.slots()).map((s) => s.state)).toEqual(['Ended']);
    await c.clean();
  });

  it('without a database the jobs are found in the batch system; nothing is made where there is no site', { timeout: 480_000 }, async () => {
    c = await startCluster({ slurm: { nodes: 2 } });
    await group(1);
    const elsewhere = join(c.serve.root, 'elsewhere');
    expect(await nimbus('kill-all', '--yes', ...config(), '--data', elsewhere)).toMatchObject({ code: 2, err: expect.stringContaining('is no data directory') as string });
    const before = (await nimbus('doctor', ...config(), '--data', elsewhere)).out as Finding[];
    expect(before.find((f) => f.check === 'database')).toMatchObject({ level: 'warn', what: `${elsewhere} has no database yet`, mend: [expect.stringContaining('the first start of the service makes it')] });
    expect(existsSync(elsewhere)).toBe(false);

    await c.serve.kill();
    expect(await nimbus('kill-all', '--from-batch-system', '--yes', '--node', 'no-such-node', ...config())).toMatchObject({ code: 0, out: [] });
    expect(await queue()).not.toBe('');
    const report = await nimbus('kill-all', '--from-batch-system', '--yes', ...config());
    expect(report).toMatchObject({ code: 0, out: [{ gone: true, reason: null }] });
    expect((report.out as JobOutcome[])[0]?.hosts).toHaveLength(1);
    expect(await queue()).toBe('');
    await c.restart();
    await c.all('Terminated');
    await c.clean();
  });
});
