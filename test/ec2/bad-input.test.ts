import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ALICE, alice, ask, BOB, bob, form, openDoor, post, reply, sendRaw, signV4, type OpenDoor, type Reply } from './door.ts';
import { lease } from './fake-manager.ts';

let door: OpenDoor;
beforeAll(async () => { door = await openDoor(); });
afterAll(() => door.close());
beforeEach(() => {
  door.manager.mutations.length = 0;
  door.manager.leasesById.clear();
});

const RUN = { Action: 'RunInstances', ImageId: 'guest', MinCount: '1', MaxCount: '1' };
/** Refused with this code and status, in the shape of an error, and nothing was asked of the manager. */
function expectRefused(r: Reply, status: number, code: string): void {
  expect([r.status, r.code], r.body).toEqual([status, code]);
  expect(r.body).toMatch(/^<\?xml version="1\.0" encoding="UTF-8"\?>\n<Response><Errors><Error><Code>[^<]+<\/Code><Message>[^<]+<\/Message><\/Error><\/Errors><RequestID>[0-9a-f-]{36}<\/RequestID><\/Response>$/);
  expect(r.body).toContain(`<RequestID>${r.headers.get('x-amzn-requestid')}</RequestID>`);
  expect(r.body).not.toMatch(/\bat .*\.(?:ts|js|mjs):\d/);
  expect(door.manager.mutations).toEqual([]);
}

describe('credentials', () => {
  const unsigned = async (body: string, headers: Record<string, string> = {}): Promise<Reply> => {
    const r = await fetch(door.url, { method: 'POST', body, headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers } });
    return reply(r.status, r.headers, await r.text());
  };

  it('missing', async () => { expectRefused(await unsigned(form(RUN)), 403, 'MissingAuthenticationToken'); });
  it('of nobody', async () => { expectRefused(await ask(door, RUN, { accessKey: 'AKIDNOBODY', secret: 'x' }), 403, 'InvalidClientTokenId'); });
  it('with the wrong secret', async () => { expectRefused(await ask(door, RUN, { ...ALICE, secret: 'wrong' }), 403, 'SignatureDoesNotMatch'); });
  it('stale', async () => {
    const headers = signV4({ ...door, now: door.now - 301_000 }, form(RUN));
    expectRefused(await unsigned(form(RUN), headers), 400, 'RequestExpired');
  });
  it('for another body', async () => {
    expectRefused(await unsigned(form({ ...RUN, MaxCount: '2' }), signV4(door, form(RUN))), 403, 'SignatureDoesNotMatch');
  });
  it('of version 1', async () => {
    expectRefused(await unsigned(form({ ...RUN, SignatureVersion: '1', AWSAccessKeyId: ALICE.accessKey, Timestamp: '2026-11-22T14:45:00Z', Signature: 'x' })), 401, 'AuthFailure');
  });
  it.each([
    ['AWS4-HMAC-SHA256', 'no parts'], ['Basic YTpi', 'another scheme'], ['AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0', 'a short scope'],
    [`AWS4-HMAC-SHA256 Credential=a/20261122/r/s/aws4_request, SignedHeaders=x-amz-date, Signature=${'0'.repeat(64)}`, 'no host signed'],
    [`AWS4-HMAC-SHA256 ${'x'.repeat(9000)}`, 'too long'],
  ].map(([authorization, what]) => [what, authorization] as [string, string]))('with an Authorization that has %s', async (_what, authorization) => {
    expectRefused(await unsigned(form(RUN), { authorization, 'x-amz-date': '20261122T144500Z' }), 401, 'AuthFailure');
  });
  it('with what is no session token', async () => {
    for (const token of ['a b', 'x'.repeat(8193)]) expectRefused(await post(door, form(RUN), ALICE, { 'x-amz-security-token': token }), 401, 'AuthFailure');
    for (const token of ['a\nb', 'ü']) expectRefused(await ask(door, { ...RUN, SecurityToken: token }), 401, 'AuthFailure');
  });
  it('with a session token, which changes nothing', async () => {
    expect((await post(door, form({ Action: 'DescribeInstances' }), ALICE, { 'x-amz-security-token': 'IQoJ+/=' })).status).toBe(200);
    for (const SecurityToken of ['', 'IQoJ+/=']) expect((await post(door, form({ Action: 'DescribeInstances', SecurityToken }))).status).toBe(200);
  });
  it('an unsigned payload over plain HTTP', async () => {
    expectRefused(await post(door, form(RUN), ALICE, { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }), 403, 'SignatureDoesNotMatch');
    expectRefused(await post(door, form(RUN), ALICE, { 'x-amz-content-sha256': '0'.repeat(64) }), 403, 'SignatureDoesNotMatch');
  });
});

describe('a repeated signature', () => {
  it('is refused where doing it twice does more than once', async () => {
    door.now += 1000;
    const id = lease(1, alice).id;
    door.manager.leasesById.set(id, lease(1, alice));
    for (const params of [RUN, { Action: 'RebootInstances', 'InstanceId.1': id }, { Action: 'CreateTags', 'ResourceId.1': id, 'Tag.1.Key': 'nimbus:duration', 'Tag.1.Value': '1h' }]) {
      door.manager.mutations.length = 0;
      expect((await ask(door, params)).status).toBe(200);
      const again = await ask(door, params);
      expect([again.status, again.code, again.message]).toEqual([400, 'RequestExpired', expect.stringContaining('received before')]);
      expect(door.manager.mutations).toHaveLength(1);
    }
  });

  it('is harmless, and allowed, elsewhere', async () => {
    for (const params of [{ ...RUN, ClientToken: 'once' }, { Action: 'DescribeInstances' }]) {
      for (let i = 0; i < 2; i++) expect((await ask(door, params)).status).toBe(200);
    }
    expect(door.manager.mutations).toHaveLength(1);
  });
});

describe('the request', () => {
  it.each([
    ['%', 'Action=%'], ['a cut escape', 'Action=%4'], ['no hex', 'Action=%zz'], ['no UTF-8', 'Action=%ff%fe'], ['an overlong NUL', 'Action=%c0%80'],
    ['NUL', 'Action=a%00b'], ['a lone surrogate', 'Action=%ed%a0%80'], ['no name', '=x'], ['a strange name', 'A%3Cb=1'], ['a repeated name', 'Action=a&Action=b'],
    ['a deep name', `Action=DescribeRegions&${'a.'.repeat(20)}b=1`],
  ])('with %s is malformed', async (_what, body) => {
    expectRefused(await post(door, `Version=2016-11-15&${body}`), 400, 'MalformedQueryString');
  });

  it('with raw octets that are no UTF-8 is malformed', async () => {
    expectRefused(await post(door, Buffer.from([0x41, 0x3d, 0xff])), 400, 'MalformedQueryString');
  });

  it('with 10,000 parameters is refused before they are read', async () => {
    expectRefused(await post(door, Array.from({ length: 10_000 }, (_, i) => `InstanceId.${i}=i-1`).join('&')), 413, 'RequestEntityTooLarge');
  });

  it('with a body over the limit is refused, with and without a length', async () => {
    const big = 'a'.repeat(1024 * 1024 + 1);
    expectRefused(await post(door, big), 413, 'RequestEntityTooLarge');
    const head = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
    expectRefused(await sendRaw(door.port, `${head}${big.length.toString(16)}\r\n${big}\r\n0\r\n\r\n`), 413, 'RequestEntityTooLarge');
    expectRefused(await sendRaw(door.port, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n'), 413, 'RequestEntityTooLarge');
    expectRefused(await sendRaw(door.port, 'POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n'), 413, 'RequestEntityTooLarge');
  });

  it('of another content type is no form', async () => {
    for (const type of ['application/json', 'multipart/form-data; boundary=x']) {
      expectRefused(await post(door, 'a=b', ALICE, { 'content-type': type }), 400, 'MalformedQueryString');
    }
  });

  it('with another method', async () => {
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const r = await fetch(door.url, { method });
      expect(r.headers.get('allow')).toBe('GET, POST');
      expectRefused(reply(r.status, r.headers, await r.text()), 405, 'UnsupportedOperation');
    }
    const head = await fetch(door.url, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([405, '']);
  });

  it('that is no HTTP', async () => {
    expectRefused(await sendRaw(door.port, 'HELO you\r\n\r\n'), 400, 'MalformedQueryString');
    expectRefused(await sendRaw(door.port, `GET /?${'a'.repeat(200_000)} HTTP/1.1\r\nHost: x\r\n\r\n`), 431, 'RequestEntityTooLarge');
    expectRefused(await sendRaw(door.port, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'), 400, 'MalformedQueryString');
  });

  it.each([['', 'none'], ['2016-11', 'half'], ['latest', 'a word'], ['2016-11-15/x', 'a path'], ['"><a>', 'markup']])('with Version %s (%s)', async (version) => {
    expectRefused(await post(door, form(RUN, version)), 400, 'NoSuchVersion');
  });

  it('with an unknown action, or none', async () => {
    for (const Action of ['Fly', 'runinstances', '__proto__', 'constructor', '../RunInstances', '<x>&']) {
      expectRefused(await ask(door, { Action }), 400, 'InvalidAction');
    }
    expectRefused(await ask(door, {}), 400, 'MissingParameter');
  });
});

describe('parameters', () => {
  const shortly = (value: unknown): string => JSON.stringify(value).slice(0, 60);
  it.each<[string, Record<string, string>, string]>(([
    [{ MinCount: '0' }, 'InvalidParameterValue'], [{ MinCount: '-1' }, 'InvalidParameterValue'], [{ MaxCount: '99999999999' }, 'InvalidParameterValue'],
    [{ MinCount: '1e3' }, 'InvalidParameterValue'], [{ MinCount: 'NaN' }, 'InvalidParameterValue'], [{ MinCount: '1.5' }, 'InvalidParameterValue'],
    [{ MinCount: '' }, 'MissingParameter'], [{ ImageId: '' }, 'MissingParameter'], [{ MinCount: '3' }, 'InvalidParameterCombination'],
    [{ ImageId: '../../etc/passwd' }, 'InvalidAMIID.Malformed'], [{ ImageId: 'a..b' }, 'InvalidAMIID.Malformed'], [{ ImageId: 'a;reboot' }, 'InvalidAMIID.Malformed'],
    [{ ImageId: 'ami-1' }, 'InvalidAMIID.Malformed'], [{ ImageId: 'file:///x' }, 'InvalidAMIID.Malformed'], [{ ImageId: 'x'.repeat(65) }, 'InvalidAMIID.Malformed'],
    [{ InstanceType: '$(id)' }, 'InvalidParameterValue'], [{ InstanceType: 'm1 small' }, 'InvalidParameterValue'],
    [{ KeyName: '../key' }, 'InvalidParameterValue'], [{ KeyName: 'a`id`' }, 'InvalidParameterValue'], [{ KeyName: 'a\nb' }, 'InvalidParameterValue'],
    [{ 'Placement.AvailabilityZone': '| cat' }, 'InvalidParameterValue'], [{ 'Placement.Tenancy': 'dedicated' }, 'InvalidParameterValue'],
    [{ UserData: 'not base64!' }, 'InvalidUserData.Malformed'], [{ UserData: 'aGVsbG8' }, 'InvalidUserData.Malformed'], [{ UserData: 'aGVs bG8=' }, 'InvalidUserData.Malformed'],
    [{ UserData: Buffer.alloc(16_385).toString('base64') }, 'InvalidUserData.Malformed'],
    [{ ClientToken: 'x'.repeat(65) }, 'InvalidParameterValue'], [{ ClientToken: 'a b' }, 'InvalidParameterValue'],
    [{ 'SubnetId': 'subnet-1', 'NetworkInterface.1.DeviceIndex': '0' }, 'InvalidParameterCombination'], [{ 'NetworkInterface.1.DeviceIndex': '32' }, 'InvalidParameterValue'], [{ 'NetworkInterface.1.PrivateIpAddress': '10.0.0.1' }, 'UnsupportedOperation'],
    [{ PrivateIpAddress: '10.0.0.1' }, 'UnsupportedOperation'], [{ 'LaunchTemplate.LaunchTemplateName': 'x' }, 'UnsupportedOperation'],
    [{ Colour: 'red' }, 'UnknownParameter'], [{ 'Placement.Colour': 'red' }, 'UnknownParameter'], [{ 'ImageId.1': 'x' }, 'UnknownParameter'],
    [{ '__proto__.polluted': '1' }, 'UnknownParameter'], [{ 'constructor.prototype.x': '1' }, 'UnknownParameter'],
    [{ 'TagSpecification.1.ResourceType': 'moon' }, 'InvalidParameterValue'], [{ 'TagSpecification.1.Tag.1.Key': 'a' }, 'MissingParameter'],
    [{ 'TagSpecification.x.ResourceType': 'instance' }, 'UnknownParameter'], [{ 'TagSpecification.99999999.ResourceType': 'instance' }, 'UnknownParameter'],
    [{ 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'nimbus:duration', 'TagSpecification.1.Tag.1.Value': '-1h' }, 'InvalidParameterValue'],
    [{ 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'nimbus:ends', 'TagSpecification.1.Tag.1.Value': 'x' }, 'InvalidParameterValue'],
    [{ DryRun: 'maybe' }, 'InvalidParameterValue'], [{ 'Monitoring.Enabled': '2' }, 'InvalidParameterValue'],
  ] as Array<[Record<string, string>, string]>).map(([change, code]) => [shortly(change), change, code]))('RunInstances with %s', async (_what, change, code) => {
    expectRefused(await ask(door, { ...RUN, ...change }), 400, code);
  });

  it('nothing pollutes prototypes', async () => {
    await ask(door, { ...RUN, '__proto__.polluted': '1', '__proto__': 'x' });
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('unknown and foreign ids touch nothing', async () => {
    const foreign = lease(7, bob).id;
    door.manager.leasesById.set(foreign, lease(7, bob));
    for (const [id, code] of [[foreign, 'InvalidInstanceID.NotFound'], ['i-00000000', 'InvalidInstanceID.NotFound'], ['i-0000000', 'InvalidInstanceID.Malformed'],
      ['i-0000000g', 'InvalidInstanceID.Malformed'], ['../i-00000000', 'InvalidInstanceID.Malformed'], ['I-00000000', 'InvalidInstanceID.Malformed']] as const) {
      for (const Action of ['TerminateInstances', 'RebootInstances']) expectRefused(await ask(door, { Action, 'InstanceId.1': id }), 400, code);
      expectRefused(await ask(door, { Action: 'GetConsoleOutput', InstanceId: id }), 400, code);
    }
    expectRefused(await ask(door, { Action: 'TerminateInstances' }), 400, 'MissingParameter');
    expect((await ask(door, { Action: 'TerminateInstances', 'InstanceId.1': foreign }, BOB)).status).toBe(200);
  });

  it('reads lists as clients write them', async () => {
    const ids = [1, 2, 3].map((n) => lease(n, alice).id);
    ids.forEach((id, i) => door.manager.leasesById.set(id, lease(i + 1, alice)));
    const [a, b, c] = ids as [string, string, string];
    for (const params of [{ InstanceId: a }, { 'InstanceId.0': a, 'InstanceId.7': b }, { 'InstanceId.01': c, 'InstanceId.11': a }]) {
      const r = await ask(door, { Action: 'DescribeInstances', ...params });
      expect([...r.body.matchAll(/<instanceId>([^<]+)/g)].map((m) => m[1])).toEqual(Object.values(params));
    }
  });

  it('a message never carries more than a little of what was sent', async () => {
    const r = await ask(door, { ...RUN, InstanceType: `<${'x'.repeat(200)}` });
    expect(r.body.length).toBeLessThan(600);
    expect(r.body).toContain('&lt;xxx');
  });

  it('no parameter makes the door fail', async () => {
    const names = fc.constantFrom('ImageId', 'MinCount', 'MaxCount', 'KeyName', 'UserData', 'Placement', 'Placement.AvailabilityZone', 'Filter.1.Name', 'Filter.1.Value.1', 'InstanceId.1', 'NextToken', 'MaxResults', 'TagSpecification.1.Tag.1.Key', 'ResourceId.1', 'Tag.1.Key', 'Tag.1.Value', 'DryRun', 'KeyType', 'Owner.1', 'x.y.z');
    const actions = fc.constantFrom('RunInstances', 'DescribeInstances', 'DescribeImages', 'CreateTags', 'DescribeTags', 'DescribeKeyPairs', 'CreateKeyPair', 'ImportKeyPair', 'DescribeInstanceTypes', 'DescribeRegions', 'DescribeAvailabilityZones', 'GetConsoleOutput');
    await fc.assert(fc.asyncProperty(actions, fc.dictionary(names, fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.constant('1')), { maxKeys: 6 }), async (Action, params) => {
      door.now += 1000;
      const r = await ask(door, { Action, ...params });
      expect([200, 400, 412], r.body).toContain(r.status);
    }), { numRuns: 400 });
  });
});

describe('a failure inside', () => {
  it('is answered without a trace of where, and logged with it', async () => {
    door.now += 1000;
    door.manager.broken = new Error('secret detail of the database');
    const r = await ask(door, { Action: 'DescribeInstances' });
    door.manager.broken = undefined;
    expectRefused(r, 500, 'InternalError');
    expect(r.body).not.toContain('secret detail');
    const line = door.ctx.lines.find((l) => l.level === 'error');
    expect(line?.fields).toMatchObject({ requestId: r.headers.get('x-amzn-requestid'), action: 'DescribeInstances', error: expect.stringMatching(/secret detail[^]*\n +at /) });
  });
});
