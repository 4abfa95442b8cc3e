import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { realClock } from '../../src/platform/real.ts';
import { hasPart } from '../parts.ts';
import { ALICE, openDoor, type OpenDoor } from './door.ts';
import { bridged, onBridge } from './fake-manager.ts';

const run = promisify(execFile);
let door: OpenDoor;
let home: string;
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'ec2-'));
  door = await openDoor({ now: realClock.now() });
  // What a client sees as pending is running the next time it looks.
  const { create } = door.manager.leases;
  door.manager.leases.create = async (...args) => {
    const group = await create(...args);
    for (const l of group.leases) door.manager.setLease(l.id, { state: 'Running', reach: onBridge, nics: [bridged] });
    return group;
  };
});
afterAll(async () => {
  await door.close();
  rmSync(home, { recursive: true, force: true });
});
beforeEach(() => { door.now = realClock.now(); });

const env = (): NodeJS.ProcessEnv => ({
  PATH: '/usr/bin:/bin', HOME: home, LC_ALL: 'C.UTF-8', AWS_ACCESS_KEY_ID: ALICE.accessKey, AWS_SECRET_ACCESS_KEY: ALICE.secret, AWS_DEFAULT_REGION: 'nimbus',
  AWS_EC2_METADATA_DISABLED: 'true', AWS_PAGER: '', AWS_MAX_ATTEMPTS: '1', PYTHONDONTWRITEBYTECODE: '1',
});
const python = async (script: string, ...args: string[]): Promise<Record<string, unknown>> =>
  JSON.parse((await run('/usr/bin/python3', ['-W', 'ignore', join(import.meta.dirname, 'clients', script), ...args], { env: env(), timeout: 60_000 })).stdout) as Record<string, unknown>;

describe.skipIf(!hasPart('awscli'))('the aws command line', () => {
  const aws = async (...args: string[]): Promise<string> => (await run('/usr/bin/aws', ['ec2', ...args, '--endpoint-url', door.url, '--output', 'text'], { env: env(), timeout: 60_000 })).stdout.trim();

  it('leases, waits, reads the console, tags and ends', async () => {
    const id = await aws('run-instances', '--image-id', 'guest', '--instance-type', 'm1.small', '--user-data', 'hello', '--query', 'Instances[0].InstanceId');
    expect(door.manager.mutations.at(-1)?.args).toMatchObject({ image: 'guest', userData: Buffer.from('hello'), minCount: 1, maxCount: 1, clientToken: expect.any(String) });
    await aws('wait', 'instance-running', '--instance-ids', id);
    expect(await aws('get-console-output', '--instance-id', id, '--query', 'Output')).toContain(`banner of ${id}`);
    await aws('create-tags', '--resources', id, '--tags', 'Key=nimbus:duration,Value=3h', 'Key=Name,Value=a b');
    expect(await aws('describe-instances', '--instance-ids', id, '--query', 'Reservations[0].Instances[0].[PublicIpAddress,Tags[?Key==`Name`].Value|[0]]')).toBe('10.20.0.2\ta b');
    expect(await aws('terminate-instances', '--instance-ids', id, '--query', 'TerminatingInstances[0].CurrentState.Name')).toBe('shutting-down');
    door.manager.setLease(id, { state: 'Terminated' });
    await aws('wait', 'instance-terminated', '--instance-ids', id);
  });

  it('shows refusals with code and message', async () => {
    await expect(aws('run-instances', '--image-id', 'guest', '--dry-run')).rejects.toMatchObject({ stderr: expect.stringMatching(/\(DryRunOperation\) when calling the RunInstances operation.*: Request would have succeeded/) });
    await expect(aws('describe-key-pairs', '--key-names', 'none')).rejects.toMatchObject({ stderr: expect.stringContaining('(InvalidKeyPair.NotFound)') });
  });
});

describe.skipIf(!hasPart('boto3'))('boto3', () => {
  it('goes through a session, signed with v4, v2 and in advance', async () => {
    const seen = await python('with_boto3.py', door.url, ALICE.accessKey, ALICE.secret);
    expect(seen).toMatchObject({
      regions: ['nimbus'], image: 'ami-00000000000000001', material: true, state: 'pending', console: expect.stringContaining('banner of'),
      disks: [['/dev/vda', 'attached', 1, 'in-use'], ['/dev/vda', 'attached', 1, 'in-use']], terminating: ['shutting-down', 'shutting-down'], v2: ['nimbus'], error: ['InvalidInstanceID.NotFound', 400, 36], presigned: 200,
    });
    expect(seen['pages']).toBeGreaterThanOrEqual(1);
  });
});

describe.skipIf(!hasPart('boto2'))('boto 2.49', () => {
  it('goes through a session', async () => {
    const seen = await python('with_boto2.py', '127.0.0.1', String(door.port), ALICE.accessKey, ALICE.secret);
    expect(seen).toMatchObject({
      regions: [['nimbus', '127.0.0.1']], images: ['guest', 'mine'], material: true, state: 'pending', then: 'running', address: ['10.20.0.2', '10.20.0.2', '10.20.0.2'],
      tags: [['Name', 'x']], console: expect.stringContaining('banner of'), status: expect.arrayContaining([[expect.stringMatching(/^i-/), 'ok', ['instance-retirement']]]),
      disk: [['/dev/vda', true, 'attached', true], [1, 'in-use', '/dev/vda', true]], groups: ['default'], terminated: ['shutting-down'], error: [400, 'InvalidInstanceID.NotFound'],
    });
  });
});

describe.skipIf(!hasPart('libcloud'))('libcloud', () => {
  it.each([['nimbus', '2'], ['eucalyptus', '2'], ['ec2', '2'], ['ec2', '4']])('goes through a session with its driver %s, signature version %s', async (driver, signature) => {
    const seen = await python('with_libcloud.py', driver, '127.0.0.1', String(door.port), ALICE.accessKey, ALICE.secret, signature);
    expect(seen).toEqual({
      ...(driver === 'nimbus' ? { locations: ['default'], sizes: ['m1.small', 'm1.large', 'm1.xlarge'] } : {}),
      material: true, pairs: true, missing: 'none', node: ['a node', 'running', ['10.20.0.2'], 'web'], console: expect.stringContaining('banner of'),
      duration: driver === 'nimbus' ? '2h' : '3h', rebooted: true, destroyed: true, disk: [true, 1, 'inuse', '/dev/vda', true], snapshots: [], removed: true, wrong: 'InvalidCredsError',
    });
    expect(door.manager.mutations.findLast((m) => m.what === 'create')?.args).toMatchObject({ userData: Buffer.from('#!/bin/sh\n'), durationS: 7200, tags: { Name: 'a node', role: 'web' } });
  });
});

const perl = async (script: string): Promise<string[]> =>
  (await run('/usr/bin/perl', [join(import.meta.dirname, 'clients', script), door.url, ALICE.accessKey, ALICE.secret], { env: env(), timeout: 60_000 })).stdout.trim().split('\n');

describe.skipIf(!hasPart('vmec2'))('VM::EC2', () => {
  it('goes through a session', async () => {
    expect(await perl('with_vm_ec2.pl')).toEqual([
      'regions nimbus', 'material pem', 'running running 10.20.0.2 vm-ec2', 'tagged 1', 'tags Name=x y nimbus:duration=3h', 'console banner', 'rebooted 1',
      'terminated shutting-down', 'error InvalidInstanceID.NotFound', 'deleted 1',
    ]);
    expect(door.manager.mutations.findLast((m) => m.what === 'create')?.args).toMatchObject({ userData: Buffer.from('hello\n') });
  });
});

describe.skipIf(!hasPart('netamazonec2'))('Net::Amazon::EC2', () => {
  it('goes through a session', async () => {
    expect(await perl('with_net_amazon_ec2.pl')).toEqual([
      'regions nimbus', 'zones default east', 'material pem', 'running running 10.20.0.2 net-amazon', 'tagged 1', 'tags Name=x y nimbus:duration=3h', 'console banner',
      'rebooted 1', 'terminated shutting-down', 'error InvalidInstanceID.NotFound', 'deleted 1',
    ]);
  });
});
