/** Images through the door, on a whole site: made of instances, opened to others, removed. Each action's success and each of its own errors. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { statement } from '../../src/store/db.ts';
import { SAVED_DISK } from '../support/fake-control.ts';
import { expectInvariants } from '../support/invariants.ts';
import { ALICE, BOB } from './door.ts';
import { all, first, openSiteDoor, type SiteDoor } from './site-door.ts';

let door: SiteDoor;
beforeAll(async () => { door = await openSiteDoor({ nodes: [{ name: 'n1', memoryMb: 4096, cores: 16 }] }); });
afterAll(() => door?.close());
afterEach(async () => {
  const left = (await door.site.manager.leases.describe(door.site.admin, { live: true })).map((l) => l.id);
  if (left.length > 0) await door.site.manager.leases.end(door.site.admin, left, 'test');
  await door.site.settled();
  await expectInvariants(door.site);
});

const setSize = statement<never>('test-image-size', 'UPDATE image SET size_bytes = $2 WHERE id = $1');
let names = 0;
const create = (id: string, more: Readonly<Record<string, string>> = {}) => door.ask({ Action: 'CreateImage', InstanceId: id, Name: `image-${names += 1}`, ...more });
const images = (more: Readonly<Record<string, string>> = {}, who = ALICE) => door.ask({ Action: 'DescribeImages', ...more }, who);
const shown = async (id: string): Promise<string> => {
  const { body } = await images({ 'ImageId.1': id });
  return /<imagesSet><item>(.*)<\/item><\/imagesSet>/.exec(body)?.[1] ?? body;
};
const state = async (id: string): Promise<string> => first({ body: await shown(id) }, 'imageState');
const lease = async (id: string): Promise<string> => first(await door.ask({ 'Action': 'DescribeInstances', 'InstanceId.1': id }), 'name');
/** Disks that were saved are not fetched before the answer is called. */
function holdDisks(): () => void {
  const { control } = door.site;
  const ask = control.ask.bind(control);
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = () => {
      control.ask = ask;
      resolve();
    };
  });
  control.ask = async (node, r) => {
    if (r.op === 'read-saved') await held;
    return ask(node, r);
  };
  return release;
}

/** An image of alice's that is there. */
async function made(more: Readonly<Record<string, string>> = {}): Promise<string> {
  const instance = await door.run();
  const id = first(await create(instance, more), 'imageId');
  await door.site.settled();
  await door.settled({ 'Action': 'TerminateInstances', 'InstanceId.1': instance });
  return id;
}
const modify = (id: string, change: Readonly<Record<string, string>>, who = ALICE) => door.ask({ Action: 'ModifyImageAttribute', ImageId: id, ...change }, who);
const attribute = (id: string, name: string, who = ALICE) => door.ask({ Action: 'DescribeImageAttribute', ImageId: id, Attribute: name }, who);

describe('CreateImage', () => {
  it('is pending at once and available later; the instance runs on afterwards, and another one runs of it', async () => {
    const id = await door.run();
    const release = holdDisks();
    const image = first(await create(id, { 'Name': 'golden', 'Description': 'with all <that> I need', 'TagSpecification.1.ResourceType': 'image', 'TagSpecification.1.Tag.1.Key': 'stage', 'TagSpecification.1.Tag.1.Value': 'test' }), 'imageId');
    expect(image).toMatch(/^ami-[0-9a-f]{17}$/);
    expect([await state(image), await lease(id)]).toEqual(['pending', 'stopping']);
    expect(all(await images({ 'Filter.1.Name': 'state', 'Filter.1.Value.1': 'pending' }), 'imageId')).toEqual([image]);
    expect((await images({ 'ImageId.1': image }, BOB)).code).toBe('InvalidAMIID.NotFound');
    expect((await door.ask({ Action: 'RunInstances', ImageId: image, MinCount: '1', MaxCount: '1' })).code).toBe('InvalidAMIID.NotFound');
    expect((await door.ask({ Action: 'DeregisterImage', ImageId: image })).code).toBe('InvalidAMIID.Unavailable');
    expect((await create(id, { Name: 'golden' })).code).toBe('InvalidAMIName.Duplicate');
    release();
    await door.site.settled();
    expect(await shown(image)).toMatch(new RegExp([
      `^<imageId>${image}</imageId><imageLocation>alice/golden</imageLocation><imageState>available</imageState><imageOwnerId>000000000000</imageOwnerId>`,
      '<creationDate>\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d.000Z</creationDate><isPublic>false</isPublic>.*<name>golden</name><description>with all &lt;that&gt; I need</description>',
      '.*<tagSet><item><key>stage</key><value>test</value></item></tagSet>',
    ].join('')));
    expect(all(await images({ 'Filter.1.Name': 'tag:stage', 'Filter.1.Value.1': 't*' }), 'imageId')).toEqual([image]);
    expect(await lease(id)).toBe('running');
    expect(door.site.control.node(1).seen.filter((r) => 'lease' in r && r.lease === id).map((r) => r.op)).toEqual(['start', 'save', 'start']);
    expect(door.site.saving.files()).toHaveLength(1);
    const [row] = await door.site.db.query(statement<{ size_bytes: number }>('test-size', 'SELECT size_bytes FROM image WHERE id = $1'), [image]);
    expect(row?.size_bytes).toBe(SAVED_DISK.length);
    expect(await lease(await door.run({ ImageId: image }))).toBe('running');
  });

  it('of a stopped instance leaves it stopped', async () => {
    const id = await door.run();
    await door.settled({ 'Action': 'StopInstances', 'InstanceId.1': id });
    const image = first(await create(id), 'imageId');
    await door.site.settled();
    expect([await state(image), await lease(id)]).toEqual(['available', 'stopped']);
    await door.settled({ 'Action': 'StartInstances', 'InstanceId.1': id });
    expect(await lease(id)).toBe('running');
  });

  it('without a reboot is the disk as it is at one moment, of an instance that runs all the while', async () => {
    const id = await door.run();
    const release = holdDisks();
    const image = first(await create(id, { Name: 'alive', NoReboot: 'true' }), 'imageId');
    expect([await state(image), await lease(id)]).toEqual(['pending', 'running']);
    expect((await create(id, { Name: 'another' })).code).toBe('IncorrectInstanceState');
    expect((await create(id, { Name: 'another', NoReboot: 'true' })).code).toBe('IncorrectInstanceState');
    expect((await door.ask({ Action: 'DeregisterImage', ImageId: image })).code).toBe('InvalidAMIID.Unavailable');
    release();
    await door.site.settled();
    expect([await state(image), await lease(id)]).toEqual(['available', 'running']);
    expect(door.site.control.node(1).seen.filter((r) => 'lease' in r && r.lease === id).map((r) => r.op)).toEqual(['start', 'copy']);
    expect((await door.site.manager.leases.events(door.site.alice, id)).slice(-2).map((e) => [e.from, e.trigger, e.to])).toEqual([['Running', 'copy', 'Running'], ['Running', 'copy-done', 'Running']]);
    // And another one, now that it is made; of a stopped instance it makes no difference.
    expect(first(await create(id, { NoReboot: 'true' }), 'imageId')).toMatch(/^ami-/);
    await door.settled({ 'Action': 'StopInstances', 'InstanceId.1': id });
    const stopped = first(await create(id, { NoReboot: 'true' }), 'imageId');
    await door.site.settled();
    expect([await state(stopped), await lease(id)]).toEqual(['available', 'stopped']);
  });

  it('without a reboot fails when the node cannot make it, and when something else is asked of the instance meanwhile', async () => {
    const id = await door.run();
    door.site.control.answer = (_node, r) => (r.op === 'copy' ? { code: 'DiskFull', message: 'no room for it' } : undefined);
    const image = first(await create(id, { NoReboot: 'true' }), 'imageId');
    await door.site.settled();
    expect([await state(image), await lease(id)]).toEqual(['failed', 'running']);
    expect(await shown(image)).toContain('<message>node n1: no room for it</message>');
    door.site.control.answer = (_node, r) => (r.op === 'copy' ? 'silent' : undefined);
    const other = first(await create(id, { NoReboot: 'true' }), 'imageId');
    expect(await state(other)).toBe('pending');
    await door.settled({ 'Action': 'RebootInstances', 'InstanceId.1': id });
    door.site.control.answer = () => undefined;
    expect([await state(other), await lease(id)]).toEqual(['failed', 'running']);
    expect(first(await create(id, { NoReboot: 'true' }), 'imageId')).toMatch(/^ami-/);
    await door.site.settled();
    expect(await lease(id)).toBe('running');
  });

  it('that fails says why, leaves the instance running, and its name free; what failed can be removed', async () => {
    const id = await door.run();
    door.site.control.answer = (_node, r) => (r.op === 'save' ? { code: 'DiskFull', message: 'no room for it' } : undefined);
    const image = first(await create(id, { Name: 'unlucky' }), 'imageId');
    await door.site.settled();
    door.site.control.answer = () => undefined;
    expect(await shown(image)).toContain('<imageState>failed</imageState>');
    expect(await shown(image)).toContain('<stateReason><code>Client.InvalidSnapshot</code><message>node n1: no room for it</message></stateReason>');
    expect(await lease(id)).toBe('running');
    expect(first(await create(id, { Name: 'unlucky' }), 'imageId')).toMatch(/^ami-/);
    await door.site.settled();
    expect((await door.ask({ Action: 'DeregisterImage', ImageId: image, DryRun: 'true' })).code).toBe('DryRunOperation');
    expect((await door.ask({ Action: 'DeregisterImage', ImageId: image })).status).toBe(200);
    expect((await images({ 'ImageId.1': image })).code).toBe('InvalidAMIID.NotFound');
  });

  it('has failed when the instance ends meanwhile', async () => {
    const id = await door.run();
    door.site.control.answer = (_node, r) => (r.op === 'save' ? 'silent' : undefined);
    const image = first(await create(id), 'imageId');
    expect(await state(image)).toBe('pending');
    await door.ask({ 'Action': 'TerminateInstances', 'InstanceId.1': id });
    await door.site.settled();
    door.site.control.answer = () => undefined;
    expect([await state(image), await lease(id)]).toEqual(['failed', 'terminated']);
    expect(await shown(image)).toContain('the instance ended, or was asked for something else, before its disk was saved');
  });

  it('keeps the disk under another name when its own was given away meanwhile', async () => {
    const id = await door.run();
    const release = holdDisks();
    const image = first(await create(id, { Name: 'wanted' }), 'imageId');
    await door.site.db.query(statement('test-taken', `INSERT INTO image (id, account_id, name, format, size_bytes, sha256, file, created_at) VALUES ('ami-0000aaaa', $1, 'wanted', 'raw', 512, repeat('0', 64), 'alice/wanted', now())`), [door.site.alice.accountId]);
    release();
    await door.site.settled();
    expect(await state(image)).toBe('available');
    expect(await shown(image)).toContain(`<name>saved-${image.slice(4)}</name>`);
  });

  it('refuses what it cannot do', async () => {
    const id = await door.run();
    const refusals: ReadonlyArray<readonly [Readonly<Record<string, string>>, string]> = [
      [{ 'BlockDeviceMapping.1.DeviceName': '/dev/sdb' }, 'UnsupportedOperation'],
      [{ Name: 'ami-1234' }, 'InvalidAMIName.Malformed'], [{ Name: 'a b' }, 'InvalidAMIName.Malformed'], [{ Name: '' }, 'MissingParameter'],
      [{ InstanceId: 'i-1' }, 'InvalidInstanceID.Malformed'], [{ InstanceId: 'i-00000000' }, 'InvalidInstanceID.NotFound'],
      [{ DryRun: 'true' }, 'DryRunOperation'],
    ];
    for (const [more, code] of refusals) expect((await create(id, more)).code, JSON.stringify(more)).toBe(code);
    expect((await door.ask({ Action: 'CreateImage', InstanceId: id, Name: 'mine' }, BOB)).code).toBe('InvalidInstanceID.NotFound');
    await door.settled({ 'Action': 'TerminateInstances', 'InstanceId.1': id });
    expect((await create(id)).code).toBe('IncorrectInstanceState');
  });

  it('refuses when the images of its user are as large as the site allows, and says how large', async () => {
    const image = await made();
    const id = await door.run();
    await door.site.db.query(setSize, [image, door.site.config.images.user_mb * 2 ** 20]);
    const { code, message } = await create(id);
    expect([code, message]).toEqual(['InstanceLimitExceeded', expect.stringMatching(/images\.user_mb allows 1048576 MiB together, \d+ MiB are used, 1 MiB more/)]);
    await door.site.db.query(setSize, [image, SAVED_DISK.length]);
    expect(first(await create(id), 'imageId')).toMatch(/^ami-/);
    await door.site.settled();
  });
});

describe('launch permissions', () => {
  it('let another account see and run an image, until they are taken back', async () => {
    const id = await made();
    const [bob, alice] = [door.site.bob.ownerId, door.site.alice.ownerId];
    const bobs = async (more: Readonly<Record<string, string>> = {}): Promise<string[]> => all(await images({ 'Filter.1.Name': 'image-id', 'Filter.1.Value.1': id, ...more }, BOB), 'imageId');
    expect(await bobs()).toEqual([]);
    // As Ansible writes it.
    expect((await modify(id, { 'Attribute': 'LaunchPermission', 'LaunchPermission.Add.1.UserId': bob })).status).toBe(200);
    expect((await attribute(id, 'launchPermission')).body).toContain(`<launchPermission><item><userId>${bob}</userId></item></launchPermission>`);
    expect([await bobs(), await bobs({ 'ExecutableBy.1': 'self' }), await bobs({ 'ExecutableBy.1': 'all' }), await bobs({ 'Owner.1': alice }), await bobs({ 'Owner.1': 'self' })]).toEqual([[id], [id], [], [id], []]);
    expect(all(await images({ 'ExecutableBy.1': bob, 'Owner.1': 'self' }), 'imageId')).toEqual([id]);
    expect(first(await images({ 'ImageId.1': id }, BOB), 'isPublic')).toBe('false');
    expect(await door.run({ ImageId: id }, BOB)).toMatch(/^i-/);
    // Its owner's alone to change, and by its id only.
    for (const refused of [await modify(id, { 'Description.Value': 'mine now' }, BOB), await attribute(id, 'launchPermission', BOB), await door.ask({ Action: 'DeregisterImage', ImageId: id }, BOB), await door.ask({ Action: 'ResetImageAttribute', ImageId: id, Attribute: 'launchPermission' }, BOB)]) {
      expect([refused.status, refused.code]).toEqual([403, 'AuthFailure']);
    }
    const name = first(await images({ 'ImageId.1': id }), 'name');
    expect((await door.ask({ Action: 'RunInstances', ImageId: name, MinCount: '1', MaxCount: '1' }, BOB)).code).toBe('InvalidAMIID.NotFound');
    expect((await door.ask({ Action: 'DeregisterImage', ImageId: id })).code).toBe('InvalidAMIID.Unavailable');
    expect((await modify(id, { Attribute: 'launchPermission', OperationType: 'remove', 'UserId.1': bob })).status).toBe(200);
    expect(await bobs()).toEqual([]);
    expect((await door.ask({ Action: 'RunInstances', ImageId: id, MinCount: '1', MaxCount: '1' }, BOB)).code).toBe('InvalidAMIID.NotFound');
    expect((await images({ 'ImageId.1': id }, BOB)).code).toBe('InvalidAMIID.NotFound');
  });

  it('to all: everybody sees it as public, until it is reset', async () => {
    const id = await made();
    expect((await modify(id, { 'OperationType': 'add', 'UserGroup.1': 'all' })).status).toBe(200);
    expect(first(await images({ 'ImageId.1': id }, BOB), 'isPublic')).toBe('true');
    expect(all(await images({ 'ExecutableBy.1': 'all', 'Filter.1.Name': 'is-public', 'Filter.1.Value.1': 'true' }, BOB), 'imageId')).toEqual(expect.arrayContaining([id, door.site.imageId]));
    expect((await attribute(id, 'launchPermission')).body).toContain('<launchPermission><item><group>all</group></item></launchPermission>');
    expect((await door.ask({ Action: 'ResetImageAttribute', ImageId: id, Attribute: 'launchPermission', DryRun: 'true' })).code).toBe('DryRunOperation');
    expect((await door.ask({ Action: 'ResetImageAttribute', ImageId: id, Attribute: 'launchPermission' })).status).toBe(200);
    expect((await attribute(id, 'launchPermission')).body).toContain('<launchPermission/>');
    expect((await images({ 'ImageId.1': id }, BOB)).code).toBe('InvalidAMIID.NotFound');
  });

  it('go to accounts that exist, and not in two directions at once', async () => {
    const id = await made();
    const bob = door.site.bob.ownerId;
    const refusals: ReadonlyArray<readonly [Readonly<Record<string, string>>, string]> = [
      [{ 'LaunchPermission.Add.1.UserId': '999999999999' }, 'InvalidAMIAttributeItemValue'], [{ 'LaunchPermission.Add.1.UserId': 'bob' }, 'InvalidParameterValue'],
      [{ 'LaunchPermission.Add.1.Group': 'some' }, 'InvalidParameterValue'], [{ 'LaunchPermission.Add.1.UserId': bob, 'LaunchPermission.Remove.1.UserId': bob }, 'InvalidParameterCombination'],
      [{ 'UserId.1': bob }, 'MissingParameter'], [{}, 'MissingParameter'], [{ Attribute: 'description' }, 'MissingParameter'],
      [{ 'Description.Value': 'x', 'LaunchPermission.Add.1.UserId': bob }, 'InvalidParameterCombination'],
      [{ 'ProductCode.1': 'x' }, 'UnsupportedOperation'], [{ 'OrganizationArn.1': 'x' }, 'UnsupportedOperation'], [{ 'Description.Value': 'x'.repeat(256) }, 'InvalidParameterValue'],
    ];
    for (const [change, code] of refusals) expect((await modify(id, change)).code, JSON.stringify(change)).toBe(code);
    expect((await modify(id, { 'LaunchPermission.Add.1.UserId': door.site.alice.ownerId })).status).toBe(200);
    expect((await attribute(id, 'launchPermission')).body).toContain('<launchPermission/>');
    expect((await modify(id, { 'LaunchPermission.Add.1.UserId': bob, 'DryRun': 'true' })).code).toBe('DryRunOperation');
    await door.site.db.query(statement('test-many', `INSERT INTO account (name, owner_id, created_at) SELECT 'many' || n, '7' || lpad(n::text, 11, '0'), now() FROM generate_series(1, 1000) n`));
    await door.site.db.query(statement('test-granted', `INSERT INTO image_grant (image_id, account_id) SELECT $1, id FROM account WHERE name LIKE 'many%'`), [id]);
    expect((await modify(id, { 'LaunchPermission.Add.1.UserId': bob })).code).toBe('ResourceLimitExceeded');
  });
});

describe('an image', () => {
  it('has attributes, of which the description changes', async () => {
    const id = await made();
    for (const change of [{ 'Description.Value': 'one' }, { Attribute: 'description', Value: 'two' }]) expect((await modify(id, change)).status).toBe(200);
    expect((await attribute(id, 'description')).body).toContain('<description><value>two</value></description>');
    for (const [name, xml] of [['kernel', '<kernel></kernel>'], ['ramdisk', '<ramdisk></ramdisk>'], ['productCodes', '<productCodes/>'], ['blockDeviceMapping', '<blockDeviceMapping/>'], ['sriovNetSupport', '<sriovNetSupport></sriovNetSupport>']] as const) {
      expect((await attribute(id, name)).body, name).toContain(`<imageId>${id}</imageId>${xml}`);
    }
    expect((await attribute(id, 'colour')).code).toBe('InvalidParameterValue');
    expect((await attribute(id, 'launchPermission')).body).toContain('<launchPermission/>');
    expect((await attribute(door.site.imageId, 'launchPermission')).code).toBe('AuthFailure');
  });

  it('has tags of its own', async () => {
    const id = await made();
    expect((await door.ask({ 'Action': 'CreateTags', 'ResourceId.1': id, 'Tag.1.Key': 'a', 'Tag.1.Value': 'b' })).status).toBe(200);
    expect(await shown(id)).toContain('<tagSet><item><key>a</key><value>b</value></item></tagSet>');
    expect(all(await images({ 'Filter.1.Name': 'tag-key', 'Filter.1.Value.1': 'a' }), 'imageId')).toEqual([id]);
    await modify(id, { 'LaunchPermission.Add.1.Group': 'all' });
    expect(all(await images({ 'Filter.1.Name': 'tag-key', 'Filter.1.Value.1': 'a' }, BOB), 'imageId')).toEqual([]);
  });

  it('of malformed, unknown or another’s id is refused by every action', async () => {
    for (const [id, code] of [['ami-x', 'InvalidAMIID.Malformed'], ['ami-00000000', 'InvalidAMIID.NotFound'], ['ami-00000000000000000', 'InvalidAMIID.NotFound']] as const) {
      const asked = [images({ 'ImageId.1': id }), attribute(id, 'description'), modify(id, { 'Description.Value': '' }), door.ask({ Action: 'ResetImageAttribute', ImageId: id, Attribute: 'launchPermission' }), door.ask({ Action: 'DeregisterImage', ImageId: id })];
      expect((await Promise.all(asked)).map((r) => r.code), id).toEqual(Array(5).fill(code));
    }
    expect((await images({ NextToken: 'nonsense' })).code).toBe('InvalidNextToken');
    expect((await images({ 'Filter.1.Name': 'colour', 'Filter.1.Value.1': 'red' })).code).toBe('InvalidParameterValue');
  });

  it('is removed for good, but not while an instance of it lives', async () => {
    const id = await made();
    const files = door.site.saving.files().length;
    const instance = await door.run({ ImageId: id });
    expect((await door.ask({ Action: 'DeregisterImage', ImageId: id })).code).toBe('InvalidAMIID.Unavailable');
    await door.settled({ 'Action': 'TerminateInstances', 'InstanceId.1': instance });
    expect((await door.ask({ Action: 'DeregisterImage', ImageId: id, DryRun: 'true' })).code).toBe('DryRunOperation');
    expect(first(await door.ask({ Action: 'DeregisterImage', ImageId: id }), 'return')).toBe('true');
    // As in EC2, its owner is told of no fault at first; it is in no answer all the same.
    expect((await images({ 'ImageId.1': id })).body).toContain('<imagesSet/>');
    expect((await images({ 'ImageId.1': id }, BOB)).code).toBe('InvalidAMIID.NotFound');
    expect((await door.ask({ Action: 'DescribeImageAttribute', ImageId: id, Attribute: 'description' })).code).toBe('InvalidAMIID.NotFound');
    expect((await door.ask({ Action: 'RunInstances', ImageId: id, MinCount: '1', MaxCount: '1' })).code).toBe('InvalidAMIID.NotFound');
    expect(door.site.saving.files()).toHaveLength(files - 1);
    expect((await door.ask({ Action: 'DeregisterImage', ImageId: door.site.imageId })).code).toBe('AuthFailure');
  });

  it('is registered already when its location is known, and cannot be when it is not', async () => {
    const register = (more: Readonly<Record<string, string>>) => door.ask({ Action: 'RegisterImage', ...more });
    expect(first(await register({ ImageLocation: 'common/guest' }), 'imageId')).toBe(door.site.imageId);
    expect(first(await register({ ImageLocation: 'common/guest', Name: 'guest' }), 'imageId')).toBe(door.site.imageId);
    expect((await register({ ImageLocation: 'common/guest', Name: 'other' })).code).toBe('UnsupportedOperation');
    expect((await register({ ImageLocation: 'bucket/image.manifest.xml' })).code).toBe('InvalidManifest');
    expect((await register({ 'Name': 'x', 'RootDeviceName': '/dev/xvda', 'BlockDeviceMapping.1.DeviceName': '/dev/xvda', 'BlockDeviceMapping.1.Ebs.SnapshotId': 'snap-1' })).code).toBe('UnsupportedOperation');
    expect((await register({ Name: 'x' })).code).toBe('UnsupportedOperation');
    expect((await register({ ImageLocation: 'common/guest', KernelId: 'aki-1' })).code).toBe('UnsupportedOperation');
  });
});
