/** The README's way, by its commands: a node added over SSH, a Linux guest with the user's key on it, `ssh` into the guest. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CreateKeyPairCommand, DescribeInstancesCommand, EC2Client, ModifyInstanceAttributeCommand, RunInstancesCommand, StartInstancesCommand, TerminateInstancesCommand, type Instance,
} from '@aws-sdk/client-ec2';
import { sshdSet, type Sshd, type SshdSet } from '../fixtures/sshd.ts';
import { linuxGuest } from '../guests/linux.ts';
import { hasPart } from '../parts.ts';
import { processesWith } from '../support/processes.ts';
import { startServe, type Serve } from '../support/serve.ts';

const run = promisify(execFile);
const SSH_OPTIONS = ['BatchMode=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'ConnectTimeout=20', 'IdentitiesOnly=yes'];

describe.skipIf(!hasPart('sshd') || !hasPart('qemu') || !hasPart('linuxguest'))('a node over SSH', () => {
  let set: SshdSet;
  let sshd: Sshd;
  let serve: Serve;
  let client: EC2Client;

  beforeAll(async () => {
    set = sshdSet();
    const admin = set.key('admin');
    sshd = await set.make({ host: '127.0.1.9' });
    writeFileSync(sshd.authorizedKeys, `${admin.publicLine}\n`, { mode: 0o600 });
    serve = await startServe('local_nodes = []\n');
    await serve.admin('node', 'add', sshd.host, '--name', 'far', '--user', sshd.user, '--port', String(sshd.port), '--host-key', sshd.hostKey,
      '--install-key', admin.privateFile, '--memory', '1024', '--cores', '4', '--zone', 'rack2');
    const keys = await serve.user('ada');
    client = new EC2Client({ endpoint: serve.ec2, region: 'nimbus', credentials: { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey } });
  }, 360_000);
  afterAll(async () => {
    client.destroy();
    await serve.stop();
    await set.close();
  });

  const describe1 = async (id: string): Promise<Instance | undefined> =>
    (await client.send(new DescribeInstancesCommand({ InstanceIds: [id] }))).Reservations?.[0]?.Instances?.[0];

  it('is listed as reachable, with its driver', async () => {
    await expect.poll(() => serve.admin<unknown[]>('node', 'list'), { timeout: 60_000 }).toMatchObject([{ name: 'far', transport: 'ssh', reachable: true, driver: 'qemu', zone: 'rack2' }]);
  });

  it.each(['ed25519', 'rsa'] as const)('runs a Linux guest that its user reaches by ssh with a created %s key', { timeout: 600_000 }, async (KeyType) => {
    if ((await serve.admin<Array<{ name: string }>>('image', 'list')).every((i) => i.name !== 'tiny-linux')) {
      await serve.admin('image', 'add', 'tiny-linux', linuxGuest());
    }
    const { KeyMaterial } = await client.send(new CreateKeyPairCommand({ KeyName: `k-${KeyType}`, KeyType }));
    const keyFile = join(serve.root, `${KeyType}.pem`);
    writeFileSync(keyFile, KeyMaterial ?? '', { mode: 0o600 });
    const userData = 'what the user gave';
    const made = await client.send(new RunInstancesCommand({
      ImageId: 'tiny-linux', InstanceType: 'm1.small', MinCount: 1, MaxCount: 1, KeyName: `k-${KeyType}`, Placement: { AvailabilityZone: 'rack2' },
      UserData: Buffer.from(userData).toString('base64'), InstanceInitiatedShutdownBehavior: 'stop',
    }));
    const id = made.Instances?.[0]?.InstanceId ?? '';
    const entered = await enter(id, keyFile);
    expect(await entered('cat /seed/user-data')).toBe(userData);
    expect(await entered('cat /seed/meta-data')).toContain(id);
    if (KeyType === 'ed25519') {
      // The guest powers itself off, which cuts the session.
      await entered('poweroff -f').catch(() => '');
      await becomes(id, 'stopped', 120_000);
      await client.send(new ModifyInstanceAttributeCommand({ InstanceId: id, UserData: { Value: Buffer.from('what came later') } }));
      await client.send(new StartInstancesCommand({ InstanceIds: [id] }));
      expect(await (await enter(id, keyFile))('cat /seed/user-data')).toBe('what came later');
    }
    await client.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
    await becomes(id, 'terminated', 120_000);
    expect(processesWith(id)).toEqual([]);
  });

  const becomes = (id: string, state: string, timeout: number) => expect.poll(async () => (await describe1(id))?.State?.Name, { timeout }).toBe(state);

  /** The way in that the instance's tags tell, once the guest answers. */
  async function enter(id: string, keyFile: string): Promise<(what: string) => Promise<string>> {
    await becomes(id, 'running', 120_000);
    const instance = await describe1(id);
    const command = instance?.Tags?.find((t) => t.Key === 'nimbus:ssh')?.Value ?? '';
    const [, port, at] = /^ssh -p (\d+) (\S+)$/.exec(command) ?? [];
    expect(instance?.PublicIpAddress).toBe(sshd.host);
    expect(at?.split('@')[1]).toBe(sshd.host);
    const say = async (what: string): Promise<string> =>
      (await run('ssh', [...SSH_OPTIONS.flatMap((o) => ['-o', o]), '-i', keyFile, '-p', port ?? '', at ?? '', what], { timeout: 120_000 })).stdout;
    await expect.poll(() => say('hostname').catch(() => ''), { timeout: 300_000, interval: 500 }).not.toBe('');
    return say;
  }
});
