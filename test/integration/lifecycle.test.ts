/** The service's own life: stop, kill, restart, a second one on the same directory; what VMs notice of it: nothing. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { DescribeInstancesCommand, EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { hasPart } from '../parts.ts';
import { processesWith } from '../support/processes.ts';
import { startServe, type Serve } from '../support/serve.ts';

const run = promisify(execFile);
const DEMO = fileURLToPath(new URL('../../dist/demo.mjs', import.meta.url));
let serve: Serve | undefined;
afterEach(async () => {
  await serve?.stop();
  serve = undefined;
});

async function client(s: Serve): Promise<EC2Client> {
  const keys = await s.user('ada');
  return clientWith(s, keys);
}
const clientWith = (s: Serve, k: { accessKey: string; secretKey: string }): EC2Client =>
  new EC2Client({ endpoint: s.ec2, region: 'nimbus', credentials: { accessKeyId: k.accessKey, secretAccessKey: k.secretKey } });
async function start(c: EC2Client, clientToken?: string): Promise<string> {
  const made = await c.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: 1, MaxCount: 1, ...(clientToken === undefined ? {} : { ClientToken: clientToken }) }));
  return made.Instances?.[0]?.InstanceId ?? '';
}
const state = async (c: EC2Client, id: string): Promise<string | undefined> =>
  (await c.send(new DescribeInstancesCommand({ InstanceIds: [id] }))).Reservations?.[0]?.Instances?.[0]?.State?.Name;
const untilState = (c: EC2Client, id: string, wanted: string): Promise<unknown> => expect.poll(() => state(c, id), { timeout: 120_000 }).toBe(wanted);

describe('the service', () => {
  it('stops on SIGTERM with exit code 0, its VMs run on, and the next start finds them', { timeout: 600_000 }, async () => {
    serve = await startServe('');
    const keys = await serve.user('ada');
    let c = clientWith(serve, keys);
    const id = await start(c);
    await untilState(c, id, 'running');
    expect(await serve.stop({ keep: true })).toBe(0);
    if (hasPart('qemu')) expect(processesWith(id).filter((p) => p.argv.includes('qemu'))).toHaveLength(1);
    serve = await startServe('', serve.root);
    c = clientWith(serve, keys);
    expect(await state(c, id)).toBe('running');
    const lease = await serve.admin<{ generation: number }>('lease', 'show', id);
    expect(lease.generation).toBe(1);
    await serve.admin('lease', 'destroy', id);
    await untilState(c, id, 'terminated');
    expect(processesWith(id)).toEqual([]);
  });

  it('killed with its process group, leaves VMs running; the next start adopts PostgreSQL, keeps tokens and ends the VMs', { timeout: 600_000 }, async () => {
    serve = await startServe('');
    const keys = await serve.user('ada');
    let c = clientWith(serve, keys);
    const id = await start(c, 'the-token');
    await untilState(c, id, 'running');
    await serve.kill();
    if (hasPart('qemu')) expect(processesWith(id).filter((p) => p.argv.includes('qemu'))).toHaveLength(1);
    serve = await startServe('', serve.root);
    await expect.poll(() => serve?.log(), { timeout: 60_000 }).toContain('found PostgreSQL running and keeps it');
    c = clientWith(serve, keys);
    expect(await start(c, 'the-token')).toBe(id);
    expect(await state(c, id)).toBe('running');
    await serve.admin('lease', 'destroy', id);
    await untilState(c, id, 'terminated');
  });

  it('refuses a data directory that another service uses, naming it', { timeout: 600_000 }, async () => {
    serve = await startServe('');
    await expect(startServe('', serve.root)).rejects.toThrow(/in use by another nimbus service \(pid \d+/);
    await expect(state(await client(serve), 'i-00000000000000000')).rejects.toMatchObject({ name: 'InvalidInstanceID.NotFound' });
  });

  it('ends a lease on time', { timeout: 360_000 }, async () => {
    serve = await startServe('');
    const c = await client(serve);
    const made = await c.send(new RunInstancesCommand({
      ImageId: 'nimbus-guest', MinCount: 1, MaxCount: 1, TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'nimbus:duration', Value: '20s' }] }],
    }));
    const id = made.Instances?.[0]?.InstanceId ?? '';
    // What never ran costs nothing.
    await untilState(c, id, 'running');
    await untilState(c, id, 'terminated');
    const usage = await serve.admin<Array<{ chargedMinutes: number; reservedMinutes: number }>>('usage');
    expect(usage).toMatchObject([{ chargedMinutes: 1, reservedMinutes: 0 }]);
  });
});

describe('npm run demo', () => {
  it('exits 0 and leaves neither a file nor a process', { timeout: 360_000 }, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'demo-'));
    const { stdout } = await run(process.execPath, [DEMO], { env: { ...process.env, TMPDIR: dir }, timeout: 240_000 });
    expect(stdout).toMatch(/→ Running/);
    expect(stdout).toMatch(/→ Terminated/);
    expect(stdout).toMatch(/charged 1 min/);
    expect(readdirSync(dir)).toEqual([]);
    expect(processesWith(dir)).toEqual([]);
    rmSync(dir, { recursive: true });
  });
});
