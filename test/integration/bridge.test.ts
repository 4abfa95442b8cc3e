/**
 * A bridged network through the whole product, in a network namespace of its own: the address comes from the pool, the guest
 * answers SSH at it, and it goes back to the pool with the lease.
 */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linuxGuest } from '../guests/linux.ts';
import { hasPart } from '../parts.ts';
import { BRIDGE_OPTIONS, openBridge, type Bridge } from '../support/bridge.ts';
import { startServe, type Serve } from '../support/serve.ts';

const run = promisify(execFile);
const SSH_OPTIONS = ['BatchMode=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'ConnectTimeout=20', 'IdentitiesOnly=yes'];
const here = hasPart('root') && hasPart('qemu') && hasPart('linuxguest') && hasPart('awscli');

describe.skipIf(!here)('a bridged network', () => {
  let bridge: Bridge;
  let within: readonly string[];
  let serve: Serve;
  let aws: (...args: string[]) => Promise<string>;

  beforeAll(async () => {
    bridge = await openBridge();
    within = bridge.within;
    serve = await startServe('[lease]\ndefault_network = "public"\n', undefined, within);
    const keys = await serve.user('ada');
    const env = { PATH: '/usr/bin:/bin', HOME: serve.root, AWS_ACCESS_KEY_ID: keys.accessKey, AWS_SECRET_ACCESS_KEY: keys.secretKey, AWS_DEFAULT_REGION: 'nimbus' };
    const [program = '', ...before] = within;
    aws = async (...args) => (await run(program, [...before, '/usr/bin/aws', 'ec2', ...args, '--endpoint-url', serve.ec2, '--output', 'text'], { env, timeout: 240_000 })).stdout.trim();
    await serve.admin('network', 'remove', 'public');
    await serve.admin('network', 'add', 'public', ...BRIDGE_OPTIONS);
    await serve.admin('network', 'address', 'add', 'public', '10.77.0.10-10.77.0.11');
    await serve.admin('image', 'add', 'tiny-linux', linuxGuest());
  }, 480_000);
  afterAll(async () => {
    await serve.stop();
    await bridge.close();
  });

  const inUse = async (): Promise<Array<string | null>> =>
    (await serve.admin<Array<{ lease: string | null }>>('network', 'address', 'list', 'public')).map((a) => a.lease);
  const field = (id: string, query: string): Promise<string> => aws('describe-instances', '--instance-ids', id, '--query', `Reservations[0].Instances[0].${query}`);

  it('leases an address at which the guest answers, and takes it back', { timeout: 600_000 }, async () => {
    const keyFile = join(serve.root, 'key.pem');
    writeFileSync(keyFile, `${await aws('create-key-pair', '--key-name', 'k', '--key-type', 'ed25519', '--query', 'KeyMaterial')}\n`, { mode: 0o600 });
    const id = await aws('run-instances', '--image-id', 'tiny-linux', '--key-name', 'k', '--query', 'Instances[0].InstanceId');
    await expect.poll(() => field(id, 'State.Name'), { timeout: 120_000, interval: 200 }).toBe('running');
    const address = await field(id, 'PrivateIpAddress');
    expect(address).toBe('10.77.0.10');
    expect(await field(id, 'PublicIpAddress')).toBe(address);
    expect(await inUse()).toEqual([id, null]);
    const [program = '', ...before] = within;
    const say = async (what: string): Promise<string> =>
      (await run(program, [...before, 'ssh', ...SSH_OPTIONS.flatMap((o) => ['-o', o]), '-i', keyFile, `root@${address}`, what], { timeout: 120_000 })).stdout;
    await expect.poll(() => say('ip -o -4 address show dev eth0').catch(() => ''), { timeout: 300_000, interval: 500 }).toContain('10.77.0.10/24');
    await aws('terminate-instances', '--instance-ids', id);
    await expect.poll(() => field(id, 'State.Name'), { timeout: 60_000, interval: 200 }).toBe('terminated');
    expect(await inUse()).toEqual([null, null]);
    const links = (await run(program, [...before, 'ip', '-o', 'link', 'show'])).stdout;
    expect([...links.matchAll(/^\d+: ([^:@]+)/gm)].map((m) => m[1]).sort()).toEqual(['br-lease', 'lo']);
  });

  it('refuses a group for which the pool has no addresses, naming what is free', { timeout: 600_000 }, async () => {
    await expect(aws('run-instances', '--image-id', 'nimbus-guest', '--count', '3')).rejects.toMatchObject({
      stderr: expect.stringMatching(/InsufficientAddressCapacity.*3 asked, 2 of 2 free/),
    });
    expect(await inUse()).toEqual([null, null]);
  });
});
