/** The disks of instances as volumes: on a whole site, and in each state that a lease can be in. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { OPERATIONS } from '../../src/ec2/operations/index.ts';
import { leaseOfVolume, volumeId } from '../../src/ec2/volume.ts';
import { HEAD_BYTES } from '../../src/images/format.ts';
import { LEASE_ID, VOLUME_ID } from '../../src/lease/ids.ts';
import { LEASE_STATES, STATES } from '../../src/lease/states.ts';
import { statement } from '../../src/store/db.ts';
import { alice, ask as askFake, BOB, openDoor, type OpenDoor } from './door.ts';
import { lease } from './fake-manager.ts';
import { all, first, openSiteDoor, type SiteDoor } from './site-door.ts';

const GIB = 2 ** 30;

describe('the id of a volume', () => {
  const leaseId = fc.stringMatching(/^i-(?:[0-9a-f]{8}|[0-9a-f]{17})$/);

  it('is made of its lease\'s, which it tells, and no two leases share one', () => {
    fc.assert(fc.property(leaseId, leaseId, (a, b) => {
      expect(volumeId(a)).toMatch(VOLUME_ID);
      expect(leaseOfVolume(volumeId(a))).toBe(a);
      expect(volumeId(a) === volumeId(b)).toBe(a === b);
    }));
  });

  it('leads to an id of a lease, whichever it is', () => {
    fc.assert(fc.property(fc.stringMatching(/^vol-(?:[0-9a-f]{8}|[0-9a-f]{17})$/), (id) => {
      expect(leaseOfVolume(id)).toMatch(LEASE_ID);
      expect(volumeId(leaseOfVolume(id))).toBe(id);
    }));
  });
});

describe('of a lease in each state', () => {
  let door: OpenDoor;
  beforeAll(async () => { door = await openDoor(); });
  afterAll(() => door.close());

  /** Not yet there, being made, there, going, gone. */
  const expected = (state: (typeof LEASE_STATES)[number]): readonly [volume: string, attachment: string, health: string] | undefined => {
    if (state === 'Pending' || STATES[state].ec2 === 'terminated') return undefined;
    if (state === 'Unpropagated' || state === 'Propagating') return ['creating', 'attaching', 'insufficient-data'];
    return ['in-use', STATES[state].ec2 === 'shutting-down' ? 'detaching' : 'attached', 'ok'];
  };

  it.each(LEASE_STATES)('%s: instance and volumes say the same', async (state) => {
    const l = lease(1, alice, { state });
    door.manager.leasesById.set(l.id, l);
    const [instances, volumes, health] = await Promise.all(['DescribeInstances', 'DescribeVolumes', 'DescribeVolumeStatus'].map((Action) => askFake(door, { Action })));
    const mapping = /<blockDeviceMapping>(.*)<\/blockDeviceMapping>/.exec(instances?.body ?? '')?.[1];
    const wanted = expected(state);
    if (wanted === undefined) {
      expect(mapping).toBeUndefined();
      expect(volumes?.body).toContain('<volumeSet/>');
      expect(health?.body).toContain('<volumeStatusSet/>');
      expect((await askFake(door, { 'Action': 'DescribeVolumes', 'VolumeId.1': volumeId(l.id) })).code).toBe('InvalidVolume.NotFound');
      return;
    }
    expect(mapping).toBe(`<item><deviceName>/dev/vda</deviceName><ebs><volumeId>${volumeId(l.id)}</volumeId><status>${wanted[1]}</status><attachTime>2026-11-22T14:00:00.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item>`);
    expect(all({ body: volumes?.body ?? '' }, 'status')).toEqual([wanted[0], wanted[1]]);
    expect(all({ body: health?.body ?? '' }, 'status')[0]).toBe(wanted[2]);
  });

  it('which is to get a node: none', async () => {
    const l = lease(1, alice, { node: null, state: 'Ending' });
    door.manager.leasesById.set(l.id, l);
    expect((await askFake(door, { Action: 'DescribeInstances' })).body).toContain('<blockDeviceMapping/>');
  });
});

let door: SiteDoor;
beforeAll(async () => {
  door = await openSiteDoor({
    nodes: [{ name: 'n1', memoryMb: 8192, cores: 64 }],
    config: { types: { 'm1.small': { memory_mb: 128, cores: 1 }, 'disk': { memory_mb: 128, cores: 1, disk_mb: 4097 } } },
  });
  const file = join(door.site.saving.repository.path('.'), 'large.qcow2');
  const head = Buffer.alloc(HEAD_BYTES);
  head.write('QFI\xfb', 'latin1');
  head.writeUInt32BE(3, 4);
  head.writeBigUInt64BE(BigInt(6 * GIB), 24);
  writeFileSync(file, head);
  await door.site.saving.repository.add({ name: 'large', owner: null, file, description: '' });
});
afterAll(() => door?.close());
beforeEach(async () => {
  const left = (await door.site.manager.leases.describe(door.site.admin, { live: true })).map((l) => l.id);
  if (left.length > 0) await door.site.manager.leases.end(door.site.admin, left, 'test');
  await door.site.settled();
});

const volumes = (more: Readonly<Record<string, string>> = {}) => door.ask({ Action: 'DescribeVolumes', ...more });
const filtered = (name: string, ...values: string[]) => volumes({ 'Filter.1.Name': name, ...Object.fromEntries(values.map((v, i) => [`Filter.1.Value.${i + 1}`, v])) });

describe('DescribeVolumes', () => {
  it('shows the disk of an instance with the elements of the reference, stopped as well as running, and none when it has ended', async () => {
    const id = await door.run();
    const shown = await volumes();
    expect(shown.body.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z/g, 'TIME')).toContain('<volumeSet><item>'
      + `<volumeId>${volumeId(id)}</volumeId><size>1</size><snapshotId/><availabilityZone>default</availabilityZone><status>in-use</status><createTime>TIME</createTime>`
      + `<attachmentSet><item><volumeId>${volumeId(id)}</volumeId><instanceId>${id}</instanceId><device>/dev/vda</device><status>attached</status><attachTime>TIME</attachTime><deleteOnTermination>true</deleteOnTermination></item></attachmentSet>`
      + '<tagSet/><volumeType>standard</volumeType><encrypted>false</encrypted><fastRestored>false</fastRestored><multiAttachEnabled>false</multiAttachEnabled></item></volumeSet>');
    expect(first(shown, 'createTime')).toBe(first(await door.ask({ Action: 'DescribeInstances' }), 'launchTime'));
    await door.settled({ 'Action': 'StopInstances', 'InstanceId.1': id });
    expect(all(await volumes({ 'VolumeId.1': volumeId(id) }), 'status')).toEqual(['in-use', 'attached']);
    await door.settled({ 'Action': 'TerminateInstances', 'InstanceId.1': id });
    expect((await volumes()).body).toContain('<volumeSet/>');
    expect(await volumes({ 'VolumeId.1': volumeId(id) })).toMatchObject({ status: 400, code: 'InvalidVolume.NotFound' });
    expect((await door.ask({ Action: 'DescribeInstances' })).body).not.toContain(volumeId(id));
  });

  it('has tags of its own: from RunInstances, CreateTags and DeleteTags; found by them, and gone with it', async () => {
    const tag = (n: number, type: string, key: string, value: string): Record<string, string> =>
      ({ [`TagSpecification.${n}.ResourceType`]: type, [`TagSpecification.${n}.Tag.1.Key`]: key, [`TagSpecification.${n}.Tag.1.Value`]: value });
    const id = await door.run({ ...tag(1, 'instance', 'Name', 'web'), ...tag(2, 'volume', 'Name', 'disk of web') });
    const other = await door.run(tag(1, 'instance', 'Name', 'disk of web'));
    const volume = volumeId(id);
    expect((await volumes({ 'VolumeId.1': volume })).body).toContain('<tagSet><item><key>Name</key><value>disk of web</value></item></tagSet>');
    expect(first(await door.ask({ 'Action': 'DescribeInstances', 'Filter.1.Name': 'tag:Name', 'Filter.1.Value.1': 'web' }), 'instanceId')).toBe(id);
    expect(all(await door.ask({ 'Action': 'DescribeInstances', 'Filter.1.Name': 'tag:Name', 'Filter.1.Value.1': 'disk of web' }), 'instanceId')).toEqual([other]);
    expect(first(await door.ask({ 'Action': 'CreateTags', 'ResourceId.1': volume, 'Tag.1.Key': 'team', 'Tag.1.Value': 'blue' }), 'return')).toBe('true');
    expect(all(await filtered('tag:team', 'blue'), 'volumeId')).toEqual([volume, volume]);
    expect((await filtered('tag:team', 'red')).body).toContain('<volumeSet/>');
    const described = await door.ask({ 'Action': 'DescribeTags', 'Filter.1.Name': 'resource-type', 'Filter.1.Value.1': 'volume' });
    expect([all(described, 'resourceId'), all(described, 'key')]).toEqual([[volume, volume], ['Name', 'team']]);
    expect(first(await door.ask({ 'Action': 'DeleteTags', 'ResourceId.1': volume, 'Tag.1.Key': 'team' }), 'return')).toBe('true');
    expect((await door.ask({ 'Action': 'CreateTags', 'ResourceId.1': volume, 'Tag.1.Key': 'team', 'Tag.1.Value': '' }, BOB)).code).toBe('InvalidVolume.NotFound');
    expect((await door.ask({ 'Action': 'CreateTags', 'ResourceId.1': volume, 'Tag.1.Key': 'nimbus:duration', 'Tag.1.Value': '2h' })).code).toBe('InvalidParameterValue');
    expect((await door.ask({ Action: 'RunInstances', ImageId: 'guest', MinCount: '1', MaxCount: '1', ...tag(1, 'volume', 'nimbus:ends', 'x') })).code).toBe('InvalidParameterValue');
    await door.settled({ 'Action': 'TerminateInstances', 'InstanceId.1': id });
    expect((await door.ask({ Action: 'DescribeTags' })).body).not.toContain(volume);
    expect((await door.ask({ 'Action': 'CreateTags', 'ResourceId.1': volume, 'Tag.1.Key': 'team', 'Tag.1.Value': '' })).code).toBe('InvalidVolume.NotFound');
  });

  it('is what block devices of a launch may say that it is, and nothing else', async () => {
    const device = (device: Readonly<Record<string, string>>, n = 1): Record<string, string> => Object.fromEntries(Object.entries(device).map(([k, v]) => [`BlockDeviceMapping.${n}.${k}`, v]));
    for (const DeviceName of ['/dev/vda', '/dev/sda1', '/dev/xvda']) await door.run(device({ DeviceName, 'Ebs.VolumeSize': '1', 'Ebs.DeleteOnTermination': 'true', 'Ebs.VolumeType': 'gp3', 'Ebs.Iops': '3000', 'Ebs.Encrypted': 'false' }));
    const id = await door.run({ InstanceType: 'disk', ...device({ 'DeviceName': '/dev/vda', 'Ebs.VolumeSize': '5' }), ...device({ DeviceName: '/dev/sdb', VirtualName: 'ephemeral0' }, 2), ...device({ DeviceName: '/dev/sdc', NoDevice: '' }, 3) });
    expect(first(await volumes({ 'VolumeId.1': volumeId(id) }), 'size')).toBe('5');
    const refused = async (params: Readonly<Record<string, string>>): Promise<string> => {
      const { code, body } = await door.ask({ Action: 'RunInstances', ImageId: 'guest', MinCount: '1', MaxCount: '1', InstanceType: 'm1.small', ...params });
      return `${code ?? ''}: ${first({ body }, 'Message')}`;
    };
    expect(await refused(device({ 'DeviceName': '/dev/vda', 'Ebs.VolumeSize': '2' }))).toMatch(/^InvalidBlockDeviceMapping: The disk of an instance of this image and type has 1 GiB; 2 are asked for\..*m1\.small/);
    expect(await refused({ ImageId: 'large', ...device({ 'DeviceName': '/dev/vda', 'Ebs.VolumeSize': '7' }) })).toMatch(/has 6 GiB; 7 are asked for/);
    expect(await refused(device({ 'DeviceName': '/dev/sdb', 'Ebs.VolumeSize': '1' }))).toMatch(/^InvalidBlockDeviceMapping: .*one disk, \/dev\/vda: it cannot have \/dev\/sdb beside it/);
    expect(await refused({ ...device({ DeviceName: '/dev/vda' }), ...device({ DeviceName: '/dev/sda1' }, 2) })).toMatch(/^InvalidBlockDeviceMapping: .*are one disk/);
    expect(await refused(device({ DeviceName: '/dev/vda', NoDevice: '' }))).toMatch(/^InvalidBlockDeviceMapping: .*starts from/);
    expect(await refused(device({ DeviceName: '/dev/vda', VirtualName: 'ephemeral0' }))).toMatch(/^InvalidBlockDeviceMapping: .*made of the image/);
    expect(await refused(device({ 'DeviceName': '/dev/vda', 'Ebs.DeleteOnTermination': 'false' }))).toMatch(/^UnsupportedOperation: .*CreateImage/);
    expect(await refused(device({ 'DeviceName': '/dev/vda', 'Ebs.Encrypted': 'true' }))).toMatch(/^UnsupportedOperation: .*not encrypted/);
    expect(await refused(device({ 'DeviceName': '/dev/vda', 'Ebs.SnapshotId': 'snap-1' }))).toMatch(/^UnsupportedOperation: .*no snapshots/);
    expect(await refused({ 'BlockDeviceMapping.1.Ebs.VolumeSize': '1' })).toMatch(/^MissingParameter: .*BlockDeviceMapping\.1\.DeviceName/);
    const spot = await door.ask({ 'Action': 'RequestSpotInstances', 'LaunchSpecification.ImageId': 'guest', 'LaunchSpecification.BlockDeviceMapping.1.DeviceName': '/dev/sdb', 'LaunchSpecification.BlockDeviceMapping.1.Ebs.VolumeSize': '1' });
    expect(spot.code).toBe('InvalidBlockDeviceMapping');
  });

  it('is as large as image or type say, whichever is more, in whole GiB', async () => {
    const [small, typed, imaged, both] = [await door.run(), await door.run({ InstanceType: 'disk' }), await door.run({ ImageId: 'large' }), await door.run({ ImageId: 'large', InstanceType: 'disk' })];
    const sizeOf = async (id: string) => first(await volumes({ 'VolumeId.1': volumeId(id) }), 'size');
    expect(await Promise.all([small, typed, imaged, both].map(sizeOf))).toEqual(['1', '5', '6', '6']);
    expect(all(await filtered('size', '6', '7'), 'instanceId')).toEqual([imaged, both]);
  });

  it('shows what its file is like when the image cannot be read, and says so in the log', async () => {
    await door.site.db.query(statement<never>('test-lost-image', `
      INSERT INTO image (id, name, format, size_bytes, sha256, file, created_at) VALUES ('ami-0000000000000beef', 'lost', 'qcow2', $1, repeat('0', 64), 'common/lost.qcow2', now())`), [2 * GIB + 1]);
    const id = await door.run({ ImageId: 'lost' });
    expect(first(await volumes({ 'VolumeId.1': volumeId(id) }), 'size')).toBe('3');
    expect(door.site.ctx.lines.some((line) => JSON.stringify(line).includes('ami-0000000000000beef'))).toBe(true);
  });

  it('finds them by each filter', async () => {
    const [one, other] = [await door.run(), await door.run({ InstanceType: 'disk' })];
    const created = first(await volumes({ 'VolumeId.1': volumeId(one) }), 'createTime');
    const found = async (name: string, ...values: string[]) => all(await filtered(name, ...values), 'instanceId');
    for (const [name, value] of [
      ['attachment.instance-id', one], ['attachment.instance-id', `${one.slice(0, -1)}?`], ['volume-id', volumeId(one)], ['volume-id', `*${one.slice(-12)}`], ['volume-id', `vol-${one.slice(2, -1)}*`], ['size', '1'],
    ] as const) expect(await found(name, value), `${name} ${value}`).toEqual([one]);
    for (const [name, value] of [
      ['attachment.status', 'attached'], ['attachment.device', '/dev/vda'], ['attachment.delete-on-termination', 'true'], ['attachment.attach-time', '20*'], ['availability-zone', 'default'], ['availability-zone', 'def*'],
      ['create-time', `${created.slice(0, 4)}*`], ['encrypted', 'false'], ['multi-attach-enabled', 'false'], ['status', 'in-use'], ['volume-type', 'standard'], ['volume-id', 'v*'],
    ] as const) expect(await found(name, value), `${name} ${value}`).toEqual([one, other]);
    for (const [name, value] of [
      ['attachment.instance-id', 'i-00000000'], ['attachment.status', 'detaching'], ['attachment.device', '/dev/sda1'], ['attachment.delete-on-termination', 'false'], ['availability-zone', 'moon'], ['encrypted', 'true'],
      ['status', 'available'], ['volume-type', 'gp2'], ['snapshot-id', '*'], ['tag:Name', '*'], ['tag-key', '*'], ['volume-id', 'vol-1'],
    ] as const) expect(await found(name, value), `${name} ${value}`).toEqual([]);
    const both = await volumes({ 'Filter.1.Name': 'volume-id', 'Filter.1.Value.1': volumeId(one), 'Filter.1.Value.2': volumeId(other), 'Filter.2.Name': 'size', 'Filter.2.Value.1': '5' });
    expect(all(both, 'instanceId')).toEqual([other]);
    expect((await filtered('colour', 'x')).code).toBe('InvalidParameterValue');
  });

  it('pages, also those that are named; a token is good for the action that gave it', async () => {
    const ids = [await door.run(), await door.run(), await door.run()];
    await door.run({}, BOB);
    for (const action of ['DescribeVolumes', 'DescribeVolumeStatus']) {
      for (const named of [{}, Object.fromEntries(ids.map((id, i) => [`VolumeId.${i + 1}`, volumeId(id)]))]) {
        const seen: string[] = [];
        let token = '';
        do {
          const page = await door.ask({ Action: action, MaxResults: '2', ...named, ...(token === '' ? {} : { NextToken: token }) });
          const shown = page.body.match(/<item><volumeId>[^<]*<\/volumeId><(?:size|availabilityZone)>/g) ?? [];
          expect(shown.length).toBeLessThanOrEqual(2);
          seen.push(...shown.map((s) => all({ body: s }, 'volumeId')[0] ?? ''));
          token = first(page, 'nextToken');
        } while (token !== '');
        expect(seen, action).toEqual(ids.map(volumeId));
      }
      for (const NextToken of ['x', first(await door.ask({ Action: 'DescribeInstances', MaxResults: '1' }), 'nextToken')]) expect((await door.ask({ Action: action, NextToken })).code).toBe('InvalidNextToken');
    }
  });

  it('shows nobody else\'s, and names what it does not know', async () => {
    const id = await door.run();
    for (const Action of ['DescribeVolumes', 'DescribeVolumeStatus']) {
      expect((await door.ask({ Action }, BOB)).body).not.toContain(id.slice(2));
      for (const unknown of [volumeId(id), 'vol-00000000']) {
        expect(await door.ask({ Action, 'VolumeId.1': unknown }, BOB)).toMatchObject({ status: 400, code: 'InvalidVolume.NotFound', message: `The volume '${unknown}' does not exist.` });
      }
      expect((await door.ask({ Action, 'VolumeId.1': volumeId(id), 'VolumeId.2': 'vol-00000000' })).code).toBe('InvalidVolume.NotFound');
      for (const odd of ['vol-1', id, 'vol-0000000G', `${volumeId(id)}0`]) expect(await door.ask({ Action, 'VolumeId.1': odd })).toMatchObject({ status: 400, code: 'InvalidVolumeID.Malformed' });
    }
  });

  it('is answered in the form of old versions, whose instances have no block devices before 2010-06-15', async () => {
    const id = await door.run();
    const at = async (Version: string, Action: string) => (await door.ask({ Action, Version })).body;
    expect(await at('2008-05-05', 'DescribeInstances')).not.toContain('blockDeviceMapping');
    expect(await at('2009-08-15', 'DescribeInstances')).not.toContain('blockDeviceMapping');
    for (const version of ['2010-06-15', '2010-08-31']) expect(await at(version, 'DescribeInstances')).toContain(`<rootDeviceName>/dev/vda</rootDeviceName><blockDeviceMapping><item><deviceName>/dev/vda</deviceName><ebs><volumeId>${volumeId(id)}</volumeId>`);
    const old = await at('2008-05-05', 'DescribeVolumes');
    expect(old).toMatch(/<\/volumeId><size>1<\/size><snapshotId\/><availabilityZone>/);
    expect(old).not.toMatch(/deleteOnTermination|volumeType|tagSet/);
    expect(await at('2010-08-31', 'DescribeVolumes')).toMatch(/<deleteOnTermination>true<\/deleteOnTermination><\/item><\/attachmentSet><tagSet\/><\/item>/);
  });
});

describe('what else is asked of a volume', () => {
  it('its status: checked, and found good; by filters', async () => {
    const id = await door.run();
    const status = (name?: string, value = '') => door.ask({ Action: 'DescribeVolumeStatus', ...(name === undefined ? {} : { 'Filter.1.Name': name, 'Filter.1.Value.1': value }) });
    expect((await status()).body).toContain(`<item><volumeId>${volumeId(id)}</volumeId><availabilityZone>default</availabilityZone><volumeStatus><status>ok</status><details><item><name>io-enabled</name><status>passed</status></item><item><name>io-performance</name><status>not-applicable</status></item></details></volumeStatus><eventsSet/><actionsSet/></item>`);
    for (const [name, value] of [['volume-status.status', 'ok'], ['volume-status.details-name', 'io-enabled'], ['volume-status.details-status', 'passed'], ['availability-zone', 'default']] as const) expect(first(await status(name, value), 'volumeId'), name).toBe(volumeId(id));
    for (const [name, value] of [['volume-status.status', 'impaired'], ['availability-zone', 'moon'], ['event.event-id', '*'], ['action.code', '*']] as const) expect(first(await status(name, value), 'volumeId'), name).toBe('');
  });

  it('its attributes and changes: none is set, none was made', async () => {
    const id = await door.run();
    const attribute = (Attribute: string, VolumeId = volumeId(id), who?: typeof BOB) => door.ask({ Action: 'DescribeVolumeAttribute', VolumeId, Attribute }, who);
    expect((await attribute('autoEnableIO')).body).toContain(`<volumeId>${volumeId(id)}</volumeId><autoEnableIO><value>false</value></autoEnableIO>`);
    expect((await attribute('productCodes')).body).toContain('<productCodes/>');
    expect((await attribute('colour')).code).toBe('InvalidParameterValue');
    expect((await attribute('autoEnableIO', 'vol-1')).code).toBe('InvalidVolumeID.Malformed');
    expect((await attribute('autoEnableIO', volumeId(id), BOB)).code).toBe('InvalidVolume.NotFound');
    expect((await door.ask({ Action: 'DescribeVolumesModifications' })).body).toContain('<volumeModificationSet/>');
    expect((await door.ask({ 'Action': 'DescribeVolumesModifications', 'VolumeId.1': volumeId(id) })).code).toBe('InvalidVolumeModification.NotFound');
  });

  it('of its instance: the block devices, which go with it', async () => {
    const id = await door.run();
    const shown = await door.ask({ Action: 'DescribeInstanceAttribute', InstanceId: id, Attribute: 'blockDeviceMapping' });
    expect(shown.body).toMatch(new RegExp(`<blockDeviceMapping><item><deviceName>/dev/vda</deviceName><ebs><volumeId>${volumeId(id)}</volumeId><status>attached</status>`));
    const modify = (device: Readonly<Record<string, string>>, more = {}, who?: typeof BOB) => door.ask({ Action: 'ModifyInstanceAttribute', InstanceId: id, ...Object.fromEntries(Object.entries(device).map(([k, v]) => [`BlockDeviceMapping.1.${k}`, v])), ...more }, who);
    const same = { 'DeviceName': '/dev/vda', 'Ebs.DeleteOnTermination': 'true' };
    expect(first(await modify(same), 'return')).toBe('true');
    expect(first(await modify({ ...same, 'Ebs.VolumeId': volumeId(id) }, { Attribute: 'blockDeviceMapping' }), 'return')).toBe('true');
    expect((await modify(same, {}, BOB)).code).toBe('InvalidInstanceID.NotFound');
    expect(await modify({ ...same, 'Ebs.DeleteOnTermination': 'false' })).toMatchObject({ status: 400, code: 'UnsupportedOperation', message: expect.stringContaining('CreateImage') });
    expect((await modify({ ...same, 'Ebs.VolumeId': 'vol-00000000' })).code).toBe('UnsupportedOperation');
    expect((await modify({ ...same, NoDevice: '' })).code).toBe('UnsupportedOperation');
    expect((await modify({ DeviceName: '/dev/vda', VirtualName: 'ephemeral0' })).code).toBe('UnsupportedOperation');
    expect((await modify({ ...same, DeviceName: '/dev/sdb' })).code).toBe('InvalidInstanceAttributeValue');
    expect((await modify({ DeviceName: '/dev/vda' })).code).toBe('MissingParameter');
    expect((await modify({ 'Ebs.DeleteOnTermination': 'true' })).code).toBe('MissingParameter');
    expect((await modify(same, { 'DisableApiStop.Value': 'true' })).code).toBe('InvalidParameterCombination');
    expect(all(await door.ask({ 'Action': 'DescribeInstances', 'Filter.1.Name': 'block-device-mapping.volume-id', 'Filter.1.Value.1': volumeId(id) }), 'instanceId')).toEqual([id]);
  });
});

describe('volumes of a user\'s own', () => {
  const why: Readonly<Record<string, RegExp>> = {
    CreateVolume: /only volume/, AttachVolume: /only volume/, DetachVolume: /goes when/, DeleteVolume: /goes when/, ModifyVolume: /do not grow/, CreateSnapshot: /CreateImage/,
  };

  it.each(Object.entries(why))('%s is refused, with what there is instead', async (Action, sentence) => {
    const id = await door.run();
    const before = (await volumes()).body.replace(/<requestId>[^<]*/, '');
    expect(OPERATIONS.has(Action)).toBe(false);
    expect(await door.ask({ Action, VolumeId: volumeId(id), InstanceId: id, Device: '/dev/sdb', Size: '1', AvailabilityZone: 'default' })).toMatchObject({ status: 400, code: 'UnsupportedOperation', message: expect.stringMatching(sentence) });
    expect((await volumes()).body.replace(/<requestId>[^<]*/, '')).toBe(before);
  });
});
