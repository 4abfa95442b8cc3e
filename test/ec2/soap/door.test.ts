/** Requests and answers of the four versions: what each has, in its order, and what it has not. */
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { alice, bob, openDoor, type OpenDoor } from '../door.ts';
import { behindPort, COMMON_IMAGE, lease } from '../fake-manager.ts';
import { SOAP_VERSIONS } from '../../../src/ec2/soap/shapes.ts';
import { SOAP_TABLES } from '../../../src/ec2/soap/versions.ts';
import { register, sendSoap, signer, soapMessage, type SoapReply } from './sign.ts';

const by = signer();
const [V1, V2, V3, V4] = SOAP_VERSIONS;
let door: OpenDoor;
beforeAll(async () => {
  door = await openDoor({ now: Date.now() });
  register(door, by, alice);
});
afterAll(() => door.close());
beforeEach(() => {
  door.now += 1000;
  door.manager.mutations.length = 0;
  door.manager.leasesById.clear();
});

const ask = (version: string, action: string, content = ''): Promise<SoapReply> => sendSoap(door, soapMessage(door, by, version, action, content));
/** The elements of a part of the answer, in their order. */
const names = (xml: string, of: RegExp): string[] => {
  const inner = of.exec(xml)?.[1] ?? expect.fail(xml);
  const found: string[] = [];
  let depth = 0;
  for (const [, close, name, empty] of inner.matchAll(/<(\/?)([\w-]+)[^>]*?(\/?)>/g)) {
    if (close === '/') { depth -= 1; continue; }
    if (depth === 0) found.push(name as string);
    if (empty !== '/') depth += 1;
  }
  return found;
};

describe('an instance', () => {
  const FIRST = ['instanceId', 'imageId', 'instanceState', 'privateDnsName', 'dnsName', 'reason', 'keyName', 'amiLaunchIndex', 'productCodes', 'instanceType', 'launchTime', 'placement'];
  const SECOND = [...FIRST, 'monitoring', 'ipAddress'];
  const THIRD = [...SECOND, 'stateReason', 'architecture', 'rootDeviceType', 'rootDeviceName', 'blockDeviceMapping', 'virtualizationType'];

  it.each([[V1, FIRST, []], [V2, SECOND, ['requesterId']], [V3, THIRD, ['requesterId']], [V4, [...THIRD, 'clientToken', 'tagSet'], ['requesterId']]])('of %s', async (version, elements, more) => {
    const l = lease(1, alice, { keyName: 'k & k', reach: behindPort, reasonCode: 'Server.Gone', reason: 'gone', tags: { Name: '<a>' } });
    door.manager.leasesById.set(l.id, l);
    const { status, body, headers } = await ask(version, 'DescribeInstances', '<instancesSet/>');
    expect(status).toBe(200);
    expect(names(body, /<DescribeInstancesResponse[^>]*>(.*)<\/DescribeInstancesResponse>/)).toEqual([...(version === V1 ? [] : ['requestId']), 'reservationSet']);
    if (version !== V1) expect(body).toContain(`<requestId>${headers.get('x-amzn-requestid')}</requestId>`);
    expect(names(body, /<reservationSet><item>(.*)<\/item><\/reservationSet>/)).toEqual(['reservationId', 'ownerId', 'groupSet', 'instancesSet', ...more]);
    expect(names(body, /<instancesSet><item>(.*)<\/item><\/instancesSet>/)).toEqual(elements);
    expect(body).toContain('<groupSet><item><groupId>default</groupId></item></groupSet>');
    expect(body).toContain(`<instanceId>${l.id}</instanceId><imageId>${COMMON_IMAGE.id}</imageId><instanceState><code>16</code><name>running</name></instanceState>`);
    expect(body).toContain('<keyName>k &amp; k</keyName><amiLaunchIndex>0</amiLaunchIndex><productCodes/>');
    expect(body).toContain('<launchTime>2026-11-22T14:00:00.000Z</launchTime>');
    expect(body.includes('<key>Name</key><value>&lt;a&gt;</value>')).toBe(version === V4);
  });
});

describe('the disk of an instance', () => {
  const disk = '<deviceName>/dev/vda</deviceName><ebs><volumeId>vol-00000000000000001</volumeId><status>attached</status><attachTime>2026-11-22T14:00:00.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></ebs>';
  const volume = (ends: string, tags: string): string => '<volumeSet><item><volumeId>vol-00000000000000001</volumeId><size>1</size><snapshotId/><availabilityZone>default</availabilityZone><status>in-use</status><createTime>2026-11-22T14:00:00.000Z</createTime>'
    + `<attachmentSet><item><volumeId>vol-00000000000000001</volumeId><instanceId>i-00000000000000001</instanceId><device>/dev/vda</device><status>attached</status><attachTime>2026-11-22T14:00:00.000Z</attachTime>${ends}</item></attachmentSet>${tags}</item></volumeSet>`;
  const END = '<deleteOnTermination>true</deleteOnTermination>';

  it.each([[V1, '', '', ''], [V2, '', '', ''], [V3, `<blockDeviceMapping><item>${disk}</item></blockDeviceMapping>`, END, ''], [V4, `<blockDeviceMapping><item>${disk}</item></blockDeviceMapping>`, END, '<tagSet/>']])('of %s', async (version, mapping, ends, tags) => {
    const l = lease(1, alice);
    door.manager.leasesById.set(l.id, l);
    const { body } = await ask(version, 'DescribeInstances', '<instancesSet/>');
    expect(/<blockDeviceMapping>.*<\/blockDeviceMapping>/.exec(body)?.[0] ?? '').toBe(mapping);
    for (const set of ['<volumeSet/>', '<volumeSet><item><volumeId>vol-00000000000000001</volumeId></item></volumeSet>']) expect((await ask(version, 'DescribeVolumes', set)).body).toContain(volume(ends, tags));
    expect(await ask(version, 'DescribeVolumes', '<volumeSet><item><volumeId>vol-00000000</volumeId></item></volumeSet>')).toMatchObject({ code: 'aws:Client.InvalidVolume.NotFound' });
    expect(await ask(version, 'DeleteVolume', '<volumeId>vol-00000000000000001</volumeId>')).toMatchObject({ code: 'aws:Client.UnsupportedOperation', body: expect.stringContaining('goes when the instance is terminated') });
  });

  it('is an attribute from the third version on, and goes with the instance', async () => {
    const l = lease(1, alice);
    door.manager.leasesById.set(l.id, l);
    const change = (device: string) => ask(V3, 'ModifyInstanceAttribute', `<instanceId>${l.id}</instanceId><blockDeviceMapping><item><deviceName>/dev/vda</deviceName>${device}</item></blockDeviceMapping>`);
    expect((await ask(V3, 'DescribeInstanceAttribute', `<instanceId>${l.id}</instanceId><blockDeviceMapping/>`)).body).toContain(`<blockDeviceMapping><item>${disk}</item></blockDeviceMapping>`);
    expect((await change(`<ebs><volumeId>vol-00000000000000001</volumeId>${END}</ebs>`)).body).toContain('<return>true</return>');
    expect(await change('<ebs><volumeId>vol-00000000000000001</volumeId><deleteOnTermination>false</deleteOnTermination></ebs>')).toMatchObject({ code: 'aws:Client.UnsupportedOperation' });
    expect(await change('<noDevice/>')).toMatchObject({ code: 'aws:Client.UnsupportedOperation' });
  });
});

describe('what a version calls by another name, or has not', () => {
  it.each([[V1, 'shutdownState'], [V2, 'shutdownState'], [V3, 'currentState'], [V4, 'currentState']])('the new state in TerminateInstances of %s is %s', async (version, name) => {
    const l = lease(1, alice);
    door.manager.leasesById.set(l.id, l);
    const { body } = await ask(version, 'TerminateInstances', `<instancesSet><item><instanceId>${l.id}</instanceId></item></instancesSet>`);
    expect(body).toContain(`<item><instanceId>${l.id}</instanceId><${name}><code>32</code><name>shutting-down</name></${name}><previousState><code>16</code><name>running</name></previousState></item>`);
  });

  it('zones have a region from the second version on', async () => {
    expect(names((await ask(V1, 'DescribeAvailabilityZones')).body, /<item>(.*?)<\/item>/)).toEqual(['zoneName', 'zoneState']);
    expect(names((await ask(V2, 'DescribeAvailabilityZones')).body, /<item>(.*?)<\/item>/)).toEqual(['zoneName', 'zoneState', 'regionName', 'messageSet']);
  });

  it('actions, elements and filters of later versions', async () => {
    expect(await ask(V1, 'DescribeRegions', '<regionSet/>')).toMatchObject({ status: 500, code: 'aws:Client.InvalidAction' });
    expect((await ask(V2, 'DescribeRegions', '<regionSet/>')).body).toContain('<regionInfo><item><regionName>');
    expect(await ask(V3, 'ImportKeyPair', '<keyName>k</keyName>')).toMatchObject({ code: 'aws:Client.InvalidAction' });
    expect(await ask(V1, 'AllocateAddress')).toMatchObject({ code: 'aws:Client.UnsupportedOperation', text: expect.stringContaining(V1) });
    const filter = '<instancesSet/><filterSet><item><name>instance-state-name</name><valueSet><item><value>pending</value></item><item><value>run*</value></item></valueSet></item></filterSet>';
    expect(await ask(V3, 'DescribeInstances', filter)).toMatchObject({ code: 'aws:Client.UnknownParameter', text: expect.stringContaining('filterSet') });
    const [running, ended] = [lease(1, alice), lease(2, alice, { state: 'Terminated' })];
    for (const l of [running, ended]) door.manager.leasesById.set(l.id, l);
    const { body } = await ask(V4, 'DescribeInstances', filter);
    expect([body.includes(running.id), body.includes(ended.id)]).toEqual([true, false]);
    expect(await ask(V4, 'DescribeInstances', filter.replace('instance-state-name', 'no-such'))).toMatchObject({ code: 'aws:Client.InvalidParameterValue' });
  });

  it('versions and actions that nobody has', async () => {
    expect(await ask('2016-11-15', 'DescribeInstances')).toMatchObject({ status: 500, code: 'aws:Client.NoSuchVersion', text: expect.stringContaining(V4) });
    expect(await ask(V4, 'MakeCoffee')).toMatchObject({ status: 500, code: 'aws:Client.InvalidAction' });
    expect(await ask(V4, '__proto__')).toMatchObject({ code: 'aws:Client.InvalidAction' });
  });
});

describe('a request', () => {
  it.each(SOAP_VERSIONS)('for instances of %s says what it wants as Query does', async (version) => {
    const later = [
      ...(version >= V2 ? ['<monitoring><enabled>false</enabled></monitoring>'] : []), ...(version >= V4 ? ['<clientToken>t-1</clientToken>'] : []),
    ].join('');
    const { body, code, text } = await ask(version, 'RunInstances', `<imageId>guest</imageId><minCount>1</minCount><maxCount>2</maxCount>
      <groupSet><item><groupId>default</groupId></item></groupSet><additionalInfo/><userData version="1.0" encoding="base64"><data>aGVs\nbG8=</data></userData>
      <addressingType>public</addressingType><instanceType>m1.small</instanceType><placement><availabilityZone>default</availabilityZone></placement><kernelId/>${later}`);
    expect(code, text).toBe('');
    expect(body).toContain('<instancesSet><item><instanceId>i-');
    expect(door.manager.mutations).toMatchObject([{ what: 'create', caller: { name: 'alice', door: 'ec2' }, args: {
      minCount: 1, maxCount: 2, image: 'guest', type: 'm1.small', zone: 'default', userData: Buffer.from('hello'), clientToken: version >= V4 ? 't-1' : undefined,
    } }]);
  });

  it('may have its elements in any order, nil ones, and text of user data without an element', async () => {
    const { code } = await ask(V4, 'RunInstances', '<instanceType>m1.small</instanceType><maxCount>1</maxCount><imageId>guest</imageId><keyName xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"/><minCount>1</minCount><groupSet/><userData version="1.0" encoding="base64">aGVsbG8=</userData>');
    expect(code).toBe('');
    expect(door.manager.mutations).toMatchObject([{ args: { keyName: undefined, userData: Buffer.from('hello') } }]);
  });

  it.each([
    ['an element that no version has', '<coffee/>', 'UnknownParameter'],
    ['an element of another namespace', '<imageId xmlns="urn:x">guest</imageId>', 'UnknownParameter'],
    ['an element twice', '<imageId>guest</imageId><imageId>mine</imageId>', 'InvalidParameterValue'],
    ['elements in a value', '<imageId><b>guest</b></imageId>', 'UnknownParameter'],
    ['text between elements', 'guest<imageId>guest</imageId>', 'InvalidParameterValue'],
    ['something else than items', '<groupSet><groupId>default</groupId></groupSet>', 'UnknownParameter'],
    ['an item with something else', '<groupSet><item><id>default</id></item></groupSet>', 'UnknownParameter'],
    ['a count that is none', '<imageId>guest</imageId><minCount>many</minCount>', 'InvalidParameterValue'],
    ['a count missing', '<imageId>guest</imageId>', 'MissingParameter'],
    ['an address', '<imageId>guest</imageId><minCount>1</minCount><maxCount>1</maxCount><groupSet/><instanceType>m1.small</instanceType><privateIpAddress>10.0.0.1</privateIpAddress>', 'UnsupportedOperation'],
    ['user data that is not base64', '<imageId>guest</imageId><minCount>1</minCount><maxCount>1</maxCount><userData version="1.0" encoding="base64"><data>%</data></userData>', 'InvalidUserData.Malformed'],
    ['user data of another encoding', '<imageId>guest</imageId><minCount>1</minCount><maxCount>1</maxCount><userData version="1.0" encoding="hex"><data>00</data></userData>', 'InvalidUserData.Malformed'],
  ])('with %s is refused', async (_name, content, code) => {
    expect(await ask(V4, 'RunInstances', content)).toMatchObject({ status: 500, code: `aws:Client.${code}` });
    expect(door.manager.mutations).toEqual([]);
  });

  it('sees what is its user’s only, and counts of the service are the server’s', async () => {
    const theirs = lease(3, bob);
    door.manager.leasesById.set(theirs.id, theirs);
    expect(await ask(V1, 'TerminateInstances', `<instancesSet><item><instanceId>${theirs.id}</instanceId></item></instancesSet>`)).toMatchObject({ code: 'aws:Client.InvalidInstanceID.NotFound' });
    door.manager.broken = new Error('lost');
    expect(await ask(V1, 'DescribeInstances', '<instancesSet/>')).toMatchObject({ status: 500, code: 'aws:Server.InternalError' });
    door.manager.broken = undefined;
  });

  it('of any kind is answered as such: names, namespaces and text from anywhere', async () => {
    const tables = [...SOAP_TABLES.values()];
    const some = fc.constantFrom(...tables.flatMap((t) => [...t.actions.keys()].map((a) => [t, a] as const)));
    const text = fc.string({ unit: fc.constantFrom('a', '1', '-', ' ', '&amp;', '&lt;', 'é', '\u{1f600}', '*', 'i-00000001'), maxLength: 12 });
    const content: fc.Arbitrary<string> = fc.letrec<{ one: string; many: string }>((tie) => ({
      many: fc.array(tie('one'), { maxLength: 4 }).map((a) => a.join('')),
      one: fc.tuple(fc.constantFrom(...new Set(tables.flatMap((t) => [...t.actions.values()].flatMap((a) => a.request.map((f) => f.name)))), 'item', 'value', 'name', 'x'), fc.oneof({ maxDepth: 4 }, text, tie('many'))).map(([n, c]) => `<${n}>${c}</${n}>`),
    })).many;
    await fc.assert(fc.asyncProperty(some, content, async ([table, action], xml) => {
      const answer = await ask(table.version, action, xml);
      if (answer.status === 200) expect(answer.body).toContain(`<${action}Response xmlns="${table.namespace}">`);
      else expect(answer).toMatchObject({ status: 500, code: expect.stringMatching(/^aws:Client\.(?!AuthFailure|RequestExpired)/) });
    }), { numRuns: 150 });
  });
});
