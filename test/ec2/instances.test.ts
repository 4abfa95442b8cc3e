/** What is done with instances that exist, through the door, on a whole site: each action's success and each of its own errors. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectInvariants } from '../support/invariants.ts';
import { BOB } from './door.ts';
import { all, first, openSiteDoor, type SiteDoor } from './site-door.ts';

let door: SiteDoor;
beforeAll(async () => {
  door = await openSiteDoor({
    nodes: [{ name: 'n1', memoryMb: 4096, cores: 16 }],
    config: { types: {
      'm1.small': { memory_mb: 128, cores: 1 }, 'm1.large': { memory_mb: 512, cores: 2 }, 'huge': { memory_mb: 65_536, cores: 64 },
      'disk': { memory_mb: 128, cores: 1, disk_mb: 4096 }, 'wide': { memory_mb: 128, cores: 1, networks: ['public', 'public'] },
    } },
  });
});
afterAll(() => door?.close());
afterEach(async () => {
  const left = (await door.site.manager.leases.describe(door.site.admin, { live: true })).map((l) => l.id);
  if (left.length > 0) await door.site.manager.leases.end(door.site.admin, left, 'test');
  await door.site.settled();
  await expectInvariants(door.site);
});

const one = (action: string, id: string, more: Readonly<Record<string, string>> = {}) => ({ Action: action, 'InstanceId.1': id, ...more });
const stop = (id: string, more = {}) => door.settled(one('StopInstances', id, more));
const attribute = async (id: string, name: string): Promise<string> => {
  const { body } = await door.ask({ Action: 'DescribeInstanceAttribute', InstanceId: id, Attribute: name });
  return /<\/instanceId>(.*)<\/DescribeInstanceAttributeResponse>/.exec(body)?.[1] ?? body;
};
const modify = (id: string, change: Readonly<Record<string, string>>) => door.ask({ Action: 'ModifyInstanceAttribute', InstanceId: id, ...change });
const state = async (id: string): Promise<string> => first(await door.ask(one('DescribeInstances', id)), 'name');
const seen = (id: string) => door.site.control.node(1).seen.filter((r) => 'lease' in r && r.lease === id);

describe('RunInstances', () => {
  it('gives as many as there is room for between the least and the most, as one reservation, and none below the least', async () => {
    const large = (least: string, most: string) => door.settled({ Action: 'RunInstances', ImageId: 'guest', InstanceType: 'm1.large', MinCount: least, MaxCount: most });
    expect((await large('9', '20')).code).toBe('InsufficientInstanceCapacity');
    const given = await large('2', '20');
    // The node has 16 cores, the type two.
    expect(all(given, 'instanceId')).toHaveLength(8);
    expect(all(given, 'amiLaunchIndex')).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
    expect(all(await door.ask({ Action: 'DescribeInstances' }), 'reservationId')).toEqual(all(given, 'reservationId'));
    expect((await large('1', '1')).code).toBe('InsufficientInstanceCapacity');
  });
});

describe('StopInstances and StartInstances', () => {
  it('a stopped instance keeps its room, its id and its end, is not charged, and runs again', async () => {
    const id = await door.run({ InstanceType: 'm1.large' });
    const stopping = await door.ask(one('StopInstances', id));
    expect([all(stopping, 'code'), all(stopping, 'name')]).toEqual([['64', '16'], ['stopping', 'running']]);
    await door.site.settled();
    const shown = await door.ask(one('DescribeInstances', id));
    expect([first(shown, 'code'), first(shown, 'name')]).toEqual(['80', 'stopped']);
    expect(shown.body).toContain('<stateReason><code>Client.UserInitiatedShutdown</code><message>stopped by alice</message></stateReason>');
    expect(shown.body).not.toContain('<ipAddress>');
    expect(shown.body).toContain('<key>nimbus:ends</key>');
    const status = await door.ask(one('DescribeInstanceStatus', id, { IncludeAllInstances: 'true' }));
    expect([first(status, 'name'), first(status, 'status')]).toEqual(['stopped', 'not-applicable']);
    expect((await door.ask(one('DescribeInstanceStatus', id))).body).toContain('<instanceStatusSet/>');
    for (const [name, value] of [['instance-state-name', 'stopped'], ['instance-state-code', '80']] as const) {
      expect(all(await door.ask({ Action: 'DescribeInstances', 'Filter.1.Name': name, 'Filter.1.Value.1': value }), 'instanceId')).toEqual([id]);
    }
    const starting = await door.ask(one('StartInstances', id));
    expect([all(starting, 'code'), all(starting, 'name')]).toEqual([['0', '80'], ['pending', 'stopped']]);
    await door.site.settled();
    const again = await door.ask(one('DescribeInstances', id));
    expect(first(again, 'name')).toBe('running');
    expect(again.body).not.toContain('<stateReason>');
    expect(again.body).toContain('<ipAddress>');
    expect(seen(id).map((r) => r.op)).toEqual(['start', 'shutdown', 'start']);
  });

  it('what is asked for and holds already is answered, all of several or none', async () => {
    const [a, b] = [await door.run(), await door.run()];
    await stop(a);
    expect(all(await stop(a), 'name')).toEqual(['stopped', 'stopped']);
    const both = await door.settled({ Action: 'StartInstances', 'InstanceId.1': b, 'InstanceId.2': a });
    expect(all(both, 'instanceId')).toEqual([b, a]);
    expect(all(both, 'name')).toEqual(['running', 'running', 'pending', 'stopped']);
    await door.settled(one('TerminateInstances', b));
    for (const action of ['StartInstances', 'StopInstances']) {
      const refused = await door.ask({ Action: action, 'InstanceId.1': a, 'InstanceId.2': b });
      expect([refused.status, refused.code, refused.message]).toEqual([400, 'IncorrectInstanceState', expect.stringContaining(b)]);
    }
    expect(await state(a)).toBe('running');
  });

  it('with Force, or without the guest’s own shutdown, the guest is not asked; also when it was asked before', async () => {
    for (const [force, graceMs] of [['Force', 0], ['SkipOsShutdown', 0]] as const) {
      const id = await door.run();
      await stop(id, { [force]: 'true' });
      expect(seen(id).at(-1)).toMatchObject({ op: 'shutdown', graceMs });
    }
    const id = await door.run();
    door.site.control.answer = (_node, r) => (r.op === 'shutdown' && r.graceMs !== 0 ? 'silent' : undefined);
    const reached = door.site.control.reached((_node, r) => r.op === 'shutdown' && r.lease === id);
    await door.ask(one('StopInstances', id));
    await reached;
    expect(await state(id)).toBe('stopping');
    await stop(id, { Force: 'true' });
    door.site.control.answer = () => undefined;
    expect(await state(id)).toBe('stopped');
  });

  it('dry runs change nothing, and nobody can do it with another’s', async () => {
    const id = await door.run();
    for (const action of ['StopInstances', 'StartInstances', 'TerminateInstances', 'RebootInstances']) {
      expect((await door.ask(one(action, id, { DryRun: 'true' }))).code, action).toBe('DryRunOperation');
      expect((await door.ask(one(action, id), BOB)).code, action).toBe('InvalidInstanceID.NotFound');
      expect((await door.ask(one(action, 'i-123')))).toMatchObject({ status: 400, code: 'InvalidInstanceID.Malformed' });
    }
    expect(seen(id).map((r) => r.op)).toEqual(['start']);
    expect((await door.ask(one('StopInstances', id, { Hibernate: 'true' }))).code).toBe('UnsupportedOperation');
    expect((await door.ask(one('StopInstances', id, { Hibernate: 'false', DryRun: 'true' }))).code).toBe('DryRunOperation');
  });

  it('a node that refuses leaves the instance running, and says why', async () => {
    const id = await door.run();
    door.site.control.answer = (_node, r) => (r.op === 'shutdown' ? { code: 'NotPermitted', message: 'stuck' } : undefined);
    await stop(id);
    door.site.control.answer = () => undefined;
    const shown = await door.ask(one('DescribeInstances', id));
    expect([first(shown, 'name'), shown.body]).toEqual(['running', expect.stringContaining('<stateReason><code>Server.NotPermitted</code>')]);
  });

  it('a VM that ends later than its node waits for it is stopped, not lost', async () => {
    const id = await door.run();
    let late = 2;
    door.site.control.answer = (_node, r) => (r.op === 'shutdown' && late > 0 ? { code: (late -= 1) === 1 ? 'DriverFailed' : 'DeadlineExceeded', message: 'it does not end' } : undefined);
    await door.ask(one('StopInstances', id));
    await expect.poll(() => door.site.dispatcher.poll().then(() => state(id))).toBe('stopped');
    expect(late).toBe(0);
    expect(new Set(seen(id).filter((r) => r.op === 'shutdown').map((r) => r.id)).size, 'one request, said again').toBe(1);
    await door.settled(one('StartInstances', id));
    expect(await state(id)).toBe('running');
  });

  it('one that does not start again is stopped, with its disk, and says why', async () => {
    const id = await door.run();
    await stop(id);
    door.site.control.answer = (_node, r) => (r.op === 'start' ? { code: 'NoPort', message: 'no port is free' } : undefined);
    await door.settled(one('StartInstances', id));
    door.site.control.answer = () => undefined;
    const shown = await door.ask(one('DescribeInstances', id));
    expect([first(shown, 'name'), shown.body]).toEqual(['stopped', expect.stringContaining('<stateReason><code>Server.NoPort</code>')]);
    // Whether it runs after all, nobody knows: it is ended, and nothing else.
    expect(seen(id).map((r) => r.op)).toEqual(['start', 'shutdown', 'start', 'shutdown']);
    expect(seen(id).at(-1)).toMatchObject({ graceMs: 0 });
    await door.settled(one('StartInstances', id));
    expect(await state(id)).toBe('running');
  });

  it('a node that has nothing of it any more ends it', async () => {
    const id = await door.run();
    door.site.control.answer = (_node, r) => (r.op === 'shutdown' ? { code: 'NoSuchVm', message: 'no VM' } : undefined);
    await stop(id);
    door.site.control.answer = () => undefined;
    await expect.poll(() => state(id)).toBe('terminated');
  });
});

describe('TerminateInstances and RebootInstances', () => {
  it('ends what runs, is stopped or was ended already, in the order of the request', async () => {
    const [running, stopped, over] = [await door.run(), await door.run(), await door.run()];
    await stop(stopped);
    await door.settled(one('TerminateInstances', over));
    const reply = await door.settled({ Action: 'TerminateInstances', 'InstanceId.1': stopped, 'InstanceId.2': over, 'InstanceId.3': running, 'InstanceId.4': over });
    expect(all(reply, 'instanceId')).toEqual([stopped, over, running]);
    expect(all(reply, 'name')).toEqual(['shutting-down', 'stopped', 'terminated', 'terminated', 'shutting-down', 'running']);
    expect(await state(stopped)).toBe('terminated');
  });

  it('only what runs is rebooted', async () => {
    const id = await door.run();
    expect(first(await door.settled(one('RebootInstances', id)), 'return')).toBe('true');
    await stop(id);
    expect((await door.ask(one('RebootInstances', id))).code).toBe('IncorrectInstanceState');
  });
});

describe('protection', () => {
  it('refuses the whole request, until it is taken back; the lease’s time and administrators pass by it', async () => {
    const [kept, other] = [await door.run({ DisableApiTermination: 'true' }), await door.run()];
    expect(await attribute(kept, 'disableApiTermination')).toBe('<disableApiTermination><value>true</value></disableApiTermination>');
    const refused = await door.ask({ Action: 'TerminateInstances', 'InstanceId.1': other, 'InstanceId.2': kept });
    expect([refused.status, refused.code, refused.message]).toEqual([400, 'OperationNotPermitted', expect.stringContaining(kept)]);
    expect(await state(other)).toBe('running');
    // What protects from the end does not protect from a stop.
    expect((await stop(kept)).status).toBe(200);
    await modify(kept, { 'DisableApiTermination.Value': 'false' });
    expect((await door.settled(one('TerminateInstances', kept))).status).toBe(200);
    await modify(other, { 'Attribute': 'disableapitermination', 'Value': 'true' });
    expect((await door.ask(one('TerminateInstances', other))).code).toBe('OperationNotPermitted');
    await door.site.manager.leases.end(door.site.admin, [other], 'by an administrator');
    await door.site.settled();
    expect(await state(other)).toBe('terminated');
    expect((await door.ask(one('TerminateInstances', other))).status).toBe(200);
  });

  it('keeps from stops, and not from the end', async () => {
    const id = await door.run({ DisableApiStop: 'true' });
    expect(await attribute(id, 'disableApiStop')).toBe('<disableApiStop><value>true</value></disableApiStop>');
    const refused = await door.ask(one('StopInstances', id));
    expect([refused.code, refused.message]).toEqual(['OperationNotPermitted', expect.stringContaining("'disableApiStop'")]);
    await modify(id, { 'DisableApiStop.Value': 'false' });
    expect((await stop(id)).status).toBe(200);
    await modify(id, { 'DisableApiStop.Value': 'true' });
    expect((await door.ask(one('TerminateInstances', id))).status).toBe(200);
  });

  it('holds at the other doors too', async () => {
    const id = await door.run({ DisableApiTermination: 'true', DisableApiStop: 'true' });
    const { site } = door;
    const [workspace] = await site.manager.workspaces.list(site.alice);
    for (const to of ['end', 'shutdown'] as const) {
      await expect(site.manager.workspaces.change(site.alice, { number: workspace?.number ?? 0 }, { to })).rejects.toMatchObject({ code: 'StateRefused', reasons: [expect.stringContaining('is protected')] });
    }
    await expect(site.manager.workspaces.change(site.alice, { number: workspace?.number ?? 0 }, { to: 'save', name: null })).rejects.toMatchObject({ code: 'StateRefused' });
    expect(await state(id)).toBe('running');
  });

  it('is part of what a client token stands for', async () => {
    const token = { ClientToken: 'protected', DisableApiTermination: 'true' };
    const id = await door.run(token);
    expect(await door.run(token)).toBe(id);
    const other = await door.ask({ Action: 'RunInstances', ImageId: 'guest', MinCount: '1', MaxCount: '1', ClientToken: 'protected' });
    expect(other.code).toBe('IdempotentParameterMismatch');
  });
});

describe('a guest that powers off', () => {
  it('ends its instance, unless it was asked to stop instead: then its disk is kept and it starts again', async () => {
    const [ends, rests] = [await door.run(), await door.run({ InstanceInitiatedShutdownBehavior: 'stop' })];
    expect(await attribute(ends, 'instanceInitiatedShutdownBehavior')).toBe('<instanceInitiatedShutdownBehavior><value>terminate</value></instanceInitiatedShutdownBehavior>');
    expect(await attribute(rests, 'instanceInitiatedShutdownBehavior')).toBe('<instanceInitiatedShutdownBehavior><value>stop</value></instanceInitiatedShutdownBehavior>');
    for (const id of [ends, rests]) door.site.control.exit(1, id, 'the guest shut itself down');
    await expect.poll(async () => [await state(ends), await state(rests)]).toEqual(['terminated', 'stopped']);
    const shown = await door.ask(one('DescribeInstances', rests));
    expect(shown.body).toContain('<stateReason><code>Client.InstanceInitiatedShutdown</code><message>the guest shut itself down</message></stateReason>');
    await door.settled(one('StartInstances', rests));
    expect(await state(rests)).toBe('running');
    await modify(rests, { 'InstanceInitiatedShutdownBehavior.Value': 'terminate' });
    door.site.control.exit(1, rests, 'the guest shut itself down');
    await expect.poll(() => state(rests)).toBe('terminated');
  });

  it('has ended when its node has nothing of it any more', async () => {
    const id = await door.run({ InstanceInitiatedShutdownBehavior: 'stop' });
    door.site.control.setUp(1, false);
    door.site.control.node(1).vms.delete(id);
    door.site.control.setUp(1, true);
    await expect.poll(() => state(id)).toBe('terminated');
  });

  it('while its node was away is found at rest, and stays so', async () => {
    const id = await door.run({ InstanceInitiatedShutdownBehavior: 'stop' });
    const { control } = door.site;
    for (let again = 0; again < 2; again += 1) {
      control.setUp(1, false);
      const vm = control.node(1).vms.get(id);
      if (vm !== undefined) control.node(1).vms.set(id, { ...vm, state: 'stopped', reason: 'the guest shut itself down' });
      control.setUp(1, true);
      await expect.poll(() => state(id)).toBe('stopped');
    }
    expect((await door.site.manager.leases.events(door.site.alice, id)).filter((e) => e.trigger === 'powered-off')).toHaveLength(1);
  });
});

describe('attributes', () => {
  it('are there with the shape that clients read', async () => {
    const id = await door.run({ UserData: Buffer.from('#!/bin/sh').toString('base64') });
    const shapes: Readonly<Record<string, string>> = {
      instanceType: '<instanceType><value>m1.small</value></instanceType>', userData: '<userData><value>IyEvYmluL3No</value></userData>',
      kernel: '<kernel></kernel>', ramdisk: '<ramdisk></ramdisk>', sriovNetSupport: '<sriovNetSupport></sriovNetSupport>',
      disableApiTermination: '<disableApiTermination><value>false</value></disableApiTermination>', disableApiStop: '<disableApiStop><value>false</value></disableApiStop>',
      rootDeviceName: '<rootDeviceName><value>/dev/vda</value></rootDeviceName>', productCodes: '<productCodes/>',
      sourceDestCheck: '<sourceDestCheck><value>false</value></sourceDestCheck>', ebsOptimized: '<ebsOptimized><value>false</value></ebsOptimized>',
      enaSupport: '<enaSupport><value>false</value></enaSupport>', enclaveOptions: '<enclaveOptions><enabled>false</enabled></enclaveOptions>',
    };
    for (const [name, xml] of Object.entries(shapes)) expect(await attribute(id, name), name).toBe(xml);
    expect(await attribute(id, 'groupSet')).toMatch(/<groupSet><item><groupId>sg-\w+<\/groupId>/);
    const bare = await door.run();
    expect(await attribute(bare, 'userData')).toBe('<userData></userData>');
    expect((await door.ask({ Action: 'DescribeInstanceAttribute', InstanceId: id, Attribute: 'colour' })).code).toBe('InvalidParameterValue');
    expect((await door.ask({ Action: 'DescribeInstanceAttribute', InstanceId: id })).code).toBe('MissingParameter');
    for (const action of ['DescribeInstanceAttribute', 'ResetInstanceAttribute']) {
      expect((await door.ask({ Action: action, InstanceId: id, Attribute: 'sourceDestCheck' }, BOB)).code, action).toBe('InvalidInstanceID.NotFound');
      expect((await door.ask({ Action: action, InstanceId: 'x', Attribute: 'sourceDestCheck' })).code, action).toBe('InvalidInstanceID.Malformed');
    }
    expect(first(await door.ask({ Action: 'ResetInstanceAttribute', InstanceId: id, Attribute: 'sourceDestCheck' }), 'return')).toBe('true');
    expect((await door.ask({ Action: 'ResetInstanceAttribute', InstanceId: id, Attribute: 'kernel' })).code).toBe('UnsupportedOperation');
  });

  it('user data of a stopped instance reach it with its next start', async () => {
    const id = await door.run({ UserData: Buffer.from('first').toString('base64') });
    const second = Buffer.from('second').toString('base64');
    const early = await modify(id, { 'UserData.Value': second });
    expect([early.code, early.message]).toEqual(['IncorrectInstanceState', expect.stringContaining("'stopped'")]);
    await stop(id);
    expect((await modify(id, { 'UserData.Value': second })).status).toBe(200);
    expect(await attribute(id, 'userData')).toBe(`<userData><value>${second}</value></userData>`);
    await door.settled(one('StartInstances', id));
    expect(seen(id).at(-1)).toMatchObject({ op: 'start', vm: { seed: { userData: second } } });
    await stop(id);
    expect((await modify(id, { 'UserData.Value': '' })).status).toBe(200);
    expect(await attribute(id, 'userData')).toBe('<userData></userData>');
    expect((await modify(id, { 'UserData.Value': '*' })).code).toBe('InvalidUserData.Malformed');
    expect((await modify(id, { 'UserData.Value': Buffer.alloc(16_385).toString('base64') })).code).toBe('InvalidUserData.Malformed');
    const trail = await door.site.manager.leases.events(door.site.alice, id);
    expect(trail.filter((e) => e.trigger === 'changed').map((e) => e.why)).toEqual(['other user data', 'other user data']);
  });

  it('the type of a stopped instance is its size from the next start on, and counts at once', async () => {
    const id = await door.run();
    expect((await modify(id, { 'InstanceType.Value': 'm1.large' })).code).toBe('IncorrectInstanceState');
    await stop(id);
    expect((await modify(id, { 'InstanceType.Value': 'm1.large' })).status).toBe(200);
    expect(await attribute(id, 'instanceType')).toBe('<instanceType><value>m1.large</value></instanceType>');
    await expectInvariants(door.site);
    await door.settled(one('StartInstances', id));
    expect(seen(id).at(-1)).toMatchObject({ op: 'start', vm: { memoryMb: 512, cores: 2 } });
    expect(first(await door.ask(one('DescribeInstances', id)), 'coreCount')).toBe('2');
    await stop(id);
    expect((await modify(id, { Attribute: 'instanceType', Value: 'm1.small' })).status).toBe(200);
    const refusals: ReadonlyArray<readonly [string, string, string]> = [
      ['none', 'InvalidParameterValue', 'InstanceType'], ['huge', 'InsufficientInstanceCapacity', 'n1 has'], ['disk', 'UnsupportedOperation', 'disk'], ['wide', 'UnsupportedOperation', 'networks'],
    ];
    for (const [type, code, words] of refusals) {
      const refused = await modify(id, { 'InstanceType.Value': type });
      expect([refused.code, refused.message], type).toEqual([code, expect.stringContaining(words)]);
    }
    expect(await attribute(id, 'instanceType')).toContain('m1.small');
  });

  it('one request changes one of them, and none that no instance has', async () => {
    const id = await door.run();
    const refusals: ReadonlyArray<readonly [Readonly<Record<string, string>>, string]> = [
      [{}, 'MissingParameter'], [{ Value: 'true' }, 'MissingParameter'], [{ Attribute: 'disableApiStop' }, 'MissingParameter'],
      [{ 'DisableApiStop.Value': 'true', 'DisableApiTermination.Value': 'true' }, 'InvalidParameterCombination'],
      [{ 'DisableApiStop.Value': 'perhaps' }, 'InvalidParameterValue'], [{ 'InstanceInitiatedShutdownBehavior.Value': 'hibernate' }, 'InvalidParameterValue'],
      [{ 'SourceDestCheck.Value': 'true' }, 'UnsupportedOperation'], [{ 'EbsOptimized.Value': 'true' }, 'UnsupportedOperation'],
      [{ 'Kernel.Value': 'aki-1' }, 'UnsupportedOperation'], [{ Attribute: 'rootDeviceName', Value: '/dev/sda' }, 'UnsupportedOperation'],
      [{ 'GroupId.1': 'sg-99999999' }, 'InvalidGroup.NotFound'], [{ 'Colour.Value': 'red' }, 'UnknownParameter'],
    ];
    for (const [change, code] of refusals) expect((await modify(id, change)).code, JSON.stringify(change)).toBe(code);
    for (const same of [{ 'SourceDestCheck.Value': 'false' }, { 'EbsOptimized.Value': 'false' }]) expect((await modify(id, same)).status).toBe(200);
    const group = /<groupId>(.*?)<\/groupId>/.exec(await attribute(id, 'groupSet'))?.[1] ?? '';
    expect((await modify(id, { 'GroupId.1': group })).status).toBe(200);
    expect((await modify(id, { 'DisableApiStop.Value': 'true', 'DryRun': 'true' })).code).toBe('DryRunOperation');
    expect(await attribute(id, 'disableApiStop')).toContain('false');
    expect((await door.ask({ Action: 'ModifyInstanceAttribute', InstanceId: id, 'DisableApiStop.Value': 'true' }, BOB)).code).toBe('InvalidInstanceID.NotFound');
    await door.settled(one('TerminateInstances', id));
    expect((await modify(id, { 'DisableApiStop.Value': 'true' })).code).toBe('IncorrectInstanceState');
  });
});

describe('what is answered without effect', () => {
  it.each(['MonitorInstances', 'UnmonitorInstances'])('%s: monitoring is disabled', async (action) => {
    const id = await door.run();
    const reply = await door.ask(one(action, id));
    expect(reply.body).toContain(`<instancesSet><item><instanceId>${id}</instanceId><monitoring><state>disabled</state></monitoring></item></instancesSet>`);
    expect((await door.ask(one(action, id), BOB)).code).toBe('InvalidInstanceID.NotFound');
    expect((await door.ask(one(action, 'i-x'))).code).toBe('InvalidInstanceID.Malformed');
    expect((await door.ask(one(action, id, { DryRun: 'true' }))).code).toBe('DryRunOperation');
  });

  it('GetPasswordData: empty', async () => {
    const id = await door.run();
    const reply = await door.ask({ Action: 'GetPasswordData', InstanceId: id });
    expect([first(reply, 'instanceId'), reply.body]).toEqual([id, expect.stringContaining('<passwordData/>')]);
    expect((await door.ask({ Action: 'GetPasswordData', InstanceId: id }, BOB)).code).toBe('InvalidInstanceID.NotFound');
    expect((await door.ask({ Action: 'GetPasswordData', InstanceId: 'i-x' })).code).toBe('InvalidInstanceID.Malformed');
  });

  it('ModifyInstanceMetadataOptions: there is no endpoint, and none can be had', async () => {
    const id = await door.run();
    const ask = (more: Readonly<Record<string, string>>, who?: typeof BOB) => door.ask({ Action: 'ModifyInstanceMetadataOptions', InstanceId: id, ...more }, who);
    const reply = await ask({ HttpEndpoint: 'disabled', HttpTokens: 'required', HttpPutResponseHopLimit: '1' });
    expect(reply.body).toContain('<instanceMetadataOptions><state>applied</state>');
    expect(first(reply, 'httpEndpoint')).toBe('disabled');
    expect((await ask({ HttpEndpoint: 'enabled' })).code).toBe('UnsupportedOperation');
    expect((await ask({}, BOB)).code).toBe('InvalidInstanceID.NotFound');
    expect((await door.ask({ Action: 'ModifyInstanceMetadataOptions', InstanceId: 'i-x' })).code).toBe('InvalidInstanceID.Malformed');
  });

  it('GetConsoleOutput: a node that does not answer, or refuses, is said to', async () => {
    const id = await door.run();
    const refused = async (): Promise<string> => (await door.ask({ Action: 'GetConsoleOutput', InstanceId: id })).code;
    door.site.control.answer = (_node, r) => (r.op === 'console' ? { code: 'DriverFailed', message: 'no' } : undefined);
    expect(await refused()).toBe('InternalError');
    door.site.control.answer = () => undefined;
    door.site.control.setUp(1, false);
    expect(await refused()).toBe('Unavailable');
    door.site.control.setUp(1, true);
    expect(Buffer.from(first(await door.ask({ Action: 'GetConsoleOutput', InstanceId: id }), 'output'), 'base64').toString()).toBe(`console of ${id}`);
  });
});
