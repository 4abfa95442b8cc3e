import {
  CancelSpotInstanceRequestsCommand, CreateTagsCommand, DescribeInstancesCommand, DescribeSpotInstanceRequestsCommand, DescribeSpotPriceHistoryCommand, RequestSpotInstancesCommand,
  RunInstancesCommand, StartInstancesCommand, StopInstancesCommand, TerminateInstancesCommand, paginateDescribeSpotInstanceRequests, paginateDescribeSpotPriceHistory, waitUntilSpotInstanceRequestFulfilled,
  type RequestSpotInstancesCommandInput, type RunInstancesCommandInput, type SpotInstanceRequest,
} from '@aws-sdk/client-ec2';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AgentRequest } from '../../src/control/protocol.ts';
import { realClock } from '../../src/platform/real.ts';
import { statement } from '../../src/store/db.ts';
import { policiesOf } from '../support/policies.ts';
import { form, post as postTo, type OpenDoor } from './door.ts';
import { openRealDoor, refused, type RealDoor } from './real-door.ts';

let door: RealDoor;
/** Room for two small instances. */
const NODES = [{ name: 'n1', memoryMb: 256, cores: 4 }];
let skewed = 0;
/** Grows only. */
let leapt = 0;
const open = async (grace: number, nodes = NODES) => {
  skewed = 0;
  door = await openRealDoor({ site: { nodes, clock: { ...realClock, now: () => realClock.now() + skewed, monotonic: () => realClock.monotonic() + leapt }, config: { scheduler: { preemption_grace: grace } } } });
};
beforeAll(() => open(0));
afterAll(() => door.close());
/** Each test finds the site as if nothing had ever been preempted. */
afterEach(async () => {
  skewed = 0;
  for (const who of [door.site.alice, door.site.bob]) {
    const live = await door.site.manager.leases.describe(who, { live: true });
    if (live.length > 0) await door.site.manager.leases.end(who, live.map((l) => l.id), 'the test is over');
  }
  await door.site.settled();
  await door.site.db.query(statement<never>('test-forget', `
    WITH l AS (UPDATE lease SET spot_request_id = NULL, preempted_at = NULL), t AS (DELETE FROM tag) DELETE FROM spot_request`));
});

const due = statement<never>('test-due', 'UPDATE spot_request SET next_at = created_at');
const again = statement<never>('test-again', "UPDATE intent SET next_at = now() - interval '1 s' WHERE state = 'open'");
const tend = async (): Promise<number> => {
  // A request that found no room is tried again after a while.
  await door.site.db.query(due);
  const given = await door.site.manager.work.spot();
  await door.site.settled();
  return given;
};
const launch = (): NonNullable<RequestSpotInstancesCommandInput['LaunchSpecification']> => ({ ImageId: door.site.imageId, InstanceType: 'm1.small' as never });
const request = async (more: Partial<RequestSpotInstancesCommandInput> = {}, client = door.alice): Promise<string[]> =>
  ((await client.send(new RequestSpotInstancesCommand({ SpotPrice: '0.5', LaunchSpecification: launch(), ...more }))).SpotInstanceRequests ?? []).map((r) => r.SpotInstanceRequestId ?? '');
const run = (more: Partial<RunInstancesCommandInput> = {}, client = door.bob) => client.send(new RunInstancesCommand({ ImageId: door.site.imageId, InstanceType: 'm1.small' as never, MinCount: 1, MaxCount: 1, ...more }));
const requests = async (ids?: string[]): Promise<SpotInstanceRequest[]> => (await door.alice.send(new DescribeSpotInstanceRequestsCommand({ SpotInstanceRequestIds: ids }))).SpotInstanceRequests ?? [];
const standing = async (id: string): Promise<Array<string | undefined>> => { const [r] = await requests([id]); return [r?.State, r?.Status?.Code]; };
const instance = async (id: string) => (await door.alice.send(new DescribeInstancesCommand({ InstanceIds: [id] }))).Reservations?.[0]?.Instances?.[0];

describe('spot requests', () => {
  it('are open until there is room, then active with an instance that says so, and closed with its end', async () => {
    const [first = '', second = ''] = await request({ InstanceCount: 2, LaunchSpecification: { ...launch(), UserData: Buffer.from('hello').toString('base64'), SecurityGroups: ['default'] } });
    const other = await run({ MinCount: 1, MaxCount: 1 });
    expect(await standing(first)).toEqual(['open', 'pending-evaluation']);
    expect(await tend()).toBe(1);
    const states = await Promise.all([first, second].map(standing));
    expect(states).toEqual([['active', 'fulfilled'], ['open', 'capacity-not-available']]);
    await waitUntilSpotInstanceRequestFulfilled({ client: door.alice, minDelay: 1, maxDelay: 1, maxWaitTime: 60 }, { SpotInstanceRequestIds: [first] });
    const [r] = await requests([first]);
    expect(r).toMatchObject({ SpotPrice: '0.500000', Type: 'one-time', ProductDescription: 'Linux/UNIX', LaunchedAvailabilityZone: 'default', LaunchSpecification: { ImageId: door.site.imageId, InstanceType: 'm1.small', SecurityGroups: [{ GroupName: 'default' }] } });
    const i = await instance(r?.InstanceId ?? '');
    expect(i).toMatchObject({ InstanceLifecycle: 'spot', SpotInstanceRequestId: first, State: { Name: 'running' } });
    expect((await door.alice.send(new DescribeInstancesCommand({ Filters: [{ Name: 'instance-lifecycle', Values: ['spot'] }, { Name: 'spot-instance-request-id', Values: [first] }] }))).Reservations).toHaveLength(1);
    await door.bob.send(new TerminateInstancesCommand({ InstanceIds: [other.Instances?.[0]?.InstanceId ?? ''] }));
    await door.site.settled();
    expect(await tend()).toBe(1);
    await door.alice.send(new TerminateInstancesCommand({ InstanceIds: [r?.InstanceId ?? ''] }));
    await door.site.settled();
    expect(await standing(first)).toEqual(['closed', 'instance-terminated-by-user']);
    expect(await tend()).toBe(0);
  });

  it('of higher prices are served first, and persistent ones again and again', async () => {
    const [cheap = ''] = await request({ SpotPrice: '0.1' });
    const [dear = ''] = await request({ SpotPrice: '2', Type: 'persistent' });
    await run();
    expect(await tend()).toBe(1);
    expect([await standing(cheap), await standing(dear)]).toEqual([['open', 'capacity-not-available'], ['active', 'fulfilled']]);
    const [{ InstanceId: id = '' } = {}] = await requests([dear]);
    await door.alice.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
    await door.site.settled();
    expect(await standing(dear)).toEqual(['open', 'instance-terminated-by-user']);
    expect(await tend()).toBe(1);
    expect((await requests([dear]))[0]?.InstanceId).not.toBe(id);
    expect(await standing(dear)).toEqual(['active', 'fulfilled']);
  });

  it('of one user, however many, keep nobody else\'s from being tried', async () => {
    const policies = policiesOf(door.site);
    await policies.set('one', { leases: 1 });
    await policies.assign('one', 'alice');
    await request({ InstanceCount: 60 });
    const [bobs = ''] = await request({}, door.bob);
    expect(await door.site.manager.work.spot()).toBe(2);
    await door.site.settled();
    expect((await door.site.manager.spot.list(door.site.bob, [bobs]))[0]?.code).toBe('fulfilled');
    expect((await requests()).map((r) => r.Status?.Code).filter((c) => c === 'constraint-not-fulfillable').length).toBeGreaterThan(40);
    await policies.admin.unassign('one', 'alice');
  });

  it('that were refused for long are tried less often, and get the room that comes before cheaper ones', async () => {
    const made = await run({ MinCount: 2, MaxCount: 2 });
    const [dear = ''] = await request({ SpotPrice: '2' });
    await tend();
    await door.site.db.query(statement<never>('test-refused-long', "UPDATE spot_request SET status_at = status_at - interval '10 min'"));
    expect(await tend()).toBe(0);
    const [row] = await door.site.db.query(statement<{ s: number }>('test-asleep', 'SELECT extract(epoch FROM next_at - now())::float8 AS s FROM spot_request WHERE id = $1'), [dear]);
    expect(row?.s).toBeGreaterThan(20);
    const [cheap = ''] = await request({ SpotPrice: '0.1' });
    await door.bob.send(new TerminateInstancesCommand({ InstanceIds: [made.Instances?.[0]?.InstanceId ?? ''] }));
    await door.site.settled();
    leapt += 6_000;
    expect(await door.site.manager.work.spot()).toBe(1);
    expect([await standing(cheap), await standing(dear)]).toEqual([['open', 'capacity-not-available'], ['active', 'fulfilled']]);
  });

  it('rest while their instances are stopped', async () => {
    const [id = ''] = await request();
    await tend();
    const [{ InstanceId = '' } = {}] = await requests([id]);
    await door.alice.send(new StopInstancesCommand({ InstanceIds: [InstanceId] }));
    await door.site.settled();
    expect(await standing(id)).toEqual(['disabled', 'instance-stopped-by-user']);
    expect(await tend()).toBe(0);
    await door.alice.send(new StartInstancesCommand({ InstanceIds: [InstanceId] }));
    await door.site.settled();
    expect(await standing(id)).toEqual(['active', 'fulfilled']);
  });

  it('are over with an instance that could not be started; persistent ones get another after a minute', async () => {
    door.site.control.answer = (_node, r) => (r.op === 'start' ? { code: 'DriverFailed', message: 'qemu did not start' } : undefined);
    const [once = '', persistent = ''] = [...await request(), ...await request({ Type: 'persistent' })];
    expect(await tend()).toBe(2);
    door.site.control.answer = () => undefined;
    const [{ InstanceId: failed = '' } = {}] = await requests([persistent]);
    expect(await tend()).toBe(0);
    expect([await standing(once), await standing(persistent)]).toEqual([['closed', 'instance-terminated-by-service'], ['open', 'instance-terminated-by-service']]);
    expect((await instance(failed))?.StateReason).toMatchObject({ Code: 'Server.DriverFailed', Message: expect.stringContaining('qemu did not start') });
    expect((await door.site.manager.leases.describe(door.site.alice, { live: true })).map((l) => l.id)).toEqual([]);
    await door.site.db.query(statement<never>('test-a-minute', "UPDATE lease SET ended_at = ended_at - interval '61 s'"));
    expect(await tend()).toBe(1);
    expect(await standing(persistent)).toEqual(['active', 'fulfilled']);
  });

  it('wait for their time, and are over with it', async () => {
    const in10 = new Date(door.now + 600_000);
    const [later = ''] = await request({ ValidFrom: in10 });
    const [until = ''] = await request({ ValidUntil: in10 });
    await run({ MinCount: 2, MaxCount: 2 });
    expect(await tend()).toBe(0);
    expect([await standing(later), await standing(until)]).toEqual([['open', 'not-scheduled-yet'], ['open', 'capacity-not-available']]);
    skewed = 601_000;
    const states = [later, until].map((id) => door.site.manager.spot.list(door.site.alice, [id]).then(([r]) => [r?.state, r?.code]));
    expect(await Promise.all(states)).toEqual([['open', 'pending-evaluation'], ['closed', 'schedule-expired']]);
  });

  it('are cancelled, by their owner only, while their instances run on', async () => {
    const [a = '', b = ''] = await request({ InstanceCount: 2 });
    await run();
    await tend();
    expect(await refused(door.bob.send(new CancelSpotInstanceRequestsCommand({ SpotInstanceRequestIds: [a] })))).toBe('InvalidSpotInstanceRequestID.NotFound');
    const { CancelledSpotInstanceRequests: cancelled = [] } = await door.alice.send(new CancelSpotInstanceRequestsCommand({ SpotInstanceRequestIds: [a, b] }));
    expect(cancelled.map((c) => c.State)).toEqual(['cancelled', 'cancelled']);
    const codes = (await requests()).map((r) => r.Status?.Code).sort();
    expect(codes).toEqual(['canceled-before-fulfillment', 'request-canceled-and-instance-running']);
    expect(await tend()).toBe(0);
  });

  it('that cannot be launched any more have failed, and say why', async () => {
    await door.site.manager.keys.create(door.site.alice, 'gone', 'ed25519');
    const [id = ''] = await request({ LaunchSpecification: { ...launch(), KeyName: 'gone' } });
    await door.site.manager.keys.remove(door.site.alice, { name: 'gone' });
    await tend();
    expect((await requests([id]))[0]).toMatchObject({ State: 'failed', Status: { Code: 'bad-parameters' }, Fault: { Message: 'The key pair \'gone\' does not exist' } });
  });

  it('are shown by id, filter, tag and page; so are prices', async () => {
    const ids = [...await request({ InstanceCount: 3, TagSpecifications: [{ ResourceType: 'spot-instances-request', Tags: [{ Key: 'k', Value: 'v' }] }] }), ...await request({ SpotPrice: '1.25', Type: 'persistent' }, door.alice)];
    await request({}, door.bob);
    await door.alice.send(new CreateTagsCommand({ Resources: [ids[3] ?? ''], Tags: [{ Key: 'k', Value: 'w' }] }));
    const find = async (...f: Array<[string, string]>) => ((await door.alice.send(new DescribeSpotInstanceRequestsCommand({ Filters: f.map(([Name, v]) => ({ Name, Values: [v] })) }))).SpotInstanceRequests ?? []).map((r) => r.SpotInstanceRequestId).sort();
    expect(await find(['state', 'open'])).toEqual([...ids].sort());
    expect(await find(['tag:k', 'v'], ['type', 'one-time'], ['launch.instance-type', 'm1.*'])).toEqual(ids.slice(0, 3).sort());
    expect(await find(['spot-price', '1.25*'])).toEqual([ids[3]]);
    const paged: string[] = [];
    for await (const p of paginateDescribeSpotInstanceRequests({ client: door.alice, pageSize: 3 }, {})) paged.push(...(p.SpotInstanceRequests ?? []).map((r) => r.SpotInstanceRequestId ?? ''));
    expect(paged).toEqual([...ids].sort());
    await tend();
    const history = (await door.bob.send(new DescribeSpotPriceHistoryCommand({ InstanceTypes: ['m1.small' as never] }))).SpotPriceHistory ?? [];
    expect(history.map((h) => h.SpotPrice).sort()).toEqual(['0.500000', '1.250000']);
    const pages: number[] = [];
    for await (const p of paginateDescribeSpotPriceHistory({ client: door.alice, pageSize: 1 }, { StartTime: new Date(door.now - 60_000) })) pages.push(p.SpotPriceHistory?.length ?? 0);
    expect(pages.reduce((a, b) => a + b, 0)).toBe(2);
    expect((await door.alice.send(new DescribeSpotPriceHistoryCommand({ EndTime: new Date(door.now - 3_600_000) }))).SpotPriceHistory).toEqual([]);
  });

  it('come with the parameters of the first clients, and are made once for a token', async () => {
    const ask = (params: Record<string, string>) => postTo({ now: door.now, port: door.port, url: `http://127.0.0.1:${door.port}` } as OpenDoor, form(params, '2010-08-31'));
    const old = { 'Action': 'RequestSpotInstances', 'SpotPrice': '0.03', 'InstanceCount': '1', 'LaunchSpecification.ImageId': door.site.imageId, 'LaunchSpecification.InstanceType': 'm1.small', 'LaunchSpecification.SecurityGroup.1': 'default', 'LaunchSpecification.UserData': 'aGVsbG8=\n', 'ClientToken': 'once' };
    const [a, b] = [await ask(old), await ask(old)];
    const id = (body: string) => /<spotInstanceRequestId>([^<]+)/.exec(body)?.[1];
    expect(id(a.body)).toMatch(/^sir-[0-9a-f]{17}$/);
    expect(id(b.body)).toBe(id(a.body));
    expect((await ask({ ...old, SpotPrice: '0.04' })).code).toBe('IdempotentParameterMismatch');
    expect(await requests()).toHaveLength(1);
  });

  it('are refused with the codes of EC2', async () => {
    const cases: Array<[Partial<RequestSpotInstancesCommandInput>, string]> = [
      [{ SpotPrice: '0' }, 'InvalidParameterValue'], [{ SpotPrice: '-1' }, 'InvalidParameterValue'], [{ SpotPrice: 'free' }, 'InvalidParameterValue'], [{ InstanceCount: 101 }, 'InvalidParameterValue'],
      [{ Type: 'sometimes' as never }, 'InvalidParameterValue'], [{ ValidUntil: new Date(1) }, 'InvalidParameterValue'], [{ LaunchGroup: 'g' }, 'UnsupportedOperation'], [{ AvailabilityZoneGroup: 'g' }, 'UnsupportedOperation'],
      [{ InstanceInterruptionBehavior: 'stop' }, 'InvalidParameterValue'], [{ LaunchSpecification: { ...launch(), ImageId: 'ami-12345678' } }, 'InvalidAMIID.NotFound'], [{ LaunchSpecification: { ...launch(), KeyName: 'none' } }, 'InvalidKeyPair.NotFound'],
      [{ LaunchSpecification: { ...launch(), InstanceType: 't2.micro' } }, 'InvalidParameterValue'], [{ LaunchSpecification: { ...launch(), SecurityGroups: ['none'] } }, 'InvalidGroup.NotFound'], [{ LaunchSpecification: { ...launch(), SubnetId: 'subnet-1' } }, 'InvalidSubnetID.NotFound'],
      [{ DryRun: true }, 'DryRunOperation'], [{ TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'a', Value: 'b' }] }] }, 'InvalidParameterValue'],
    ];
    for (const [more, code] of cases) expect(await refused(request(more)), JSON.stringify(more)).toBe(code);
    for (const send of [(id: string) => requests([id]), (id: string) => door.alice.send(new CancelSpotInstanceRequestsCommand({ SpotInstanceRequestIds: [id] }))]) {
      expect(await refused(send('sir-12345678'))).toBe('InvalidSpotInstanceRequestID.NotFound');
      expect(await refused(send('sir-x'))).toBe('InvalidSpotInstanceRequestID.Malformed');
    }
    expect(await refused(door.alice.send(new CancelSpotInstanceRequestsCommand({ SpotInstanceRequestIds: [] })))).toBe('MissingParameter');
    for (const SpotOptions of [{ MaxPrice: '0' }, { ValidUntil: new Date(door.now + 60_000) }]) {
      expect(await refused(run({ InstanceMarketOptions: { MarketType: 'spot', SpotOptions } }))).toMatch(/^InvalidParameter(?:Value|Combination)$/);
    }
    expect(await refused(run({ InstanceMarketOptions: { SpotOptions: { MaxPrice: '1' } } }))).toBe('MissingParameter');
    expect(await refused(run({ InstanceMarketOptions: { MarketType: 'capacity-block' } }))).toBe('InvalidParameterValue');
    await door.site.db.query(statement<never>('test-many', `INSERT INTO spot_request (id, account_id, persistent, price, created_at, launch, status_code, status_message, status_at, next_at)
      SELECT 'sir-' || lpad(to_hex(i), 8, '0'), $1::bigint, false, 1, now(), '{}', '', '', now(), now() + '1 day' FROM generate_series(1, 1000) i`), [door.site.alice.accountId]);
    expect(await refused(request())).toBe('MaxSpotInstanceCountExceeded');
    expect(await requests()).toHaveLength(1000);
    // One that is launched at once and stays open is one more too; one that is over with its instance is none.
    const persistent = { MarketType: 'spot' as const, SpotOptions: { SpotInstanceType: 'persistent' as const } };
    expect(await refused(run({ InstanceMarketOptions: persistent }, door.alice))).toBe('MaxSpotInstanceCountExceeded');
    expect((await run({ InstanceMarketOptions: { MarketType: 'spot' } }, door.alice)).Instances).toHaveLength(1);
    await door.site.db.query(statement<never>('test-over', "UPDATE spot_request SET valid_until = now() - interval '1 s' WHERE id = 'sir-00000001'"));
    expect(await request()).toHaveLength(1);
    expect(await refused(request())).toBe('MaxSpotInstanceCountExceeded');
  });
});

describe('preemptible instances', () => {
  const spot = (MaxPrice: string, more: object = {}) => run({ InstanceMarketOptions: { MarketType: 'spot', SpotOptions: { MaxPrice, ...more } } }, door.alice);

  it('of RunInstances have a request each, and end for a normal one: the cheapest first, no more than needed', async () => {
    const dear = (await spot('2', { SpotInstanceType: 'persistent' })).Instances?.[0];
    const cheap = (await spot('0.2')).Instances?.[0];
    expect(cheap).toMatchObject({ InstanceLifecycle: 'spot', SpotInstanceRequestId: expect.stringMatching(/^sir-/) });
    await door.site.settled();
    const made = await run();
    await door.site.settled();
    expect(made.Instances).toHaveLength(1);
    expect(await instance(cheap?.InstanceId ?? '')).toMatchObject({ State: { Name: 'terminated' }, StateReason: { Code: 'Server.SpotInstanceTermination' } });
    expect((await instance(dear?.InstanceId ?? ''))?.State?.Name).toBe('running');
    expect(await standing(cheap?.SpotInstanceRequestId ?? '')).toEqual(['closed', 'instance-terminated-no-capacity']);
    // Whoever is preemptible does not end others, and nobody takes what was made for others.
    expect(await refused(spot('9'))).toBe('InsufficientInstanceCapacity');
    expect(await refused(run({ MinCount: 2, MaxCount: 2 }))).toBe('InsufficientInstanceCapacity');
    expect((await instance(dear?.InstanceId ?? ''))?.State?.Name).toBe('running');
    await run();
    await door.site.settled();
    const id = dear?.SpotInstanceRequestId ?? '';
    expect(await standing(id)).toEqual(['open', 'instance-terminated-no-capacity']);
    expect(await tend()).toBe(0);
    expect(await standing(id)).toEqual(['open', 'capacity-not-available']);
  });

  it('wait their turn while room is made for others', async () => {
    await spot('1');
    await spot('1');
    await door.site.settled();
    const [waiting = ''] = await request({ SpotPrice: '5' });
    const made = await run();
    await door.site.settled();
    const [{ InstanceId: id = '' } = {}] = made.Instances ?? [];
    await door.bob.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
    await door.site.settled();
    expect(await tend()).toBe(0);
    expect((await requests([waiting]))[0]?.Status).toMatchObject({ Code: 'capacity-not-available', Message: 'Room is being made for others.' });
    await door.site.db.query(statement<never>('test-long-ago', "UPDATE lease SET ended_at = ended_at - interval '31 s' WHERE preempted_at IS NOT NULL AND final"));
    expect(await tend()).toBe(1);
  });

  it('wait no longer for a node that does not answer: what is free is theirs again', async () => {
    const { Instances: [stuck] = [] } = await spot('1');
    const { Instances: [other] = [] } = await spot('2');
    await door.site.settled();
    const removal = door.site.control.reached((_node, r) => r.op === 'remove');
    door.site.control.answer = (_node, r) => (r.op === 'remove' && r.lease === stuck?.InstanceId ? 'silent' : undefined);
    const made = run();
    await removal;
    const [waiting = ''] = await request();
    await door.alice.send(new TerminateInstancesCommand({ InstanceIds: [other?.InstanceId ?? ''] }));
    await expect.poll(async () => (await instance(other?.InstanceId ?? ''))?.State?.Name).toBe('terminated');
    const tried = async (): Promise<number> => { await door.site.db.query(due); return door.site.manager.work.spot(); };
    expect(await tried()).toBe(0);
    expect((await requests([waiting]))[0]?.Status?.Message).toBe('Room is being made for others.');
    skewed = 61_000;
    expect(await tried()).toBe(1);
    skewed = 0;
    door.site.control.answer = () => undefined;
    await door.site.db.query(again);
    await door.site.dispatcher.poll();
    expect((await made).Instances).toHaveLength(1);
  });

  it('end for whom their room is enough, though another of them never does', async () => {
    await door.close();
    await open(0, [...NODES, { name: 'n2', memoryMb: 256, cores: 4 }]);
    const { Instances: [lost] = [] } = await spot('1');
    for (const price of ['1', '1', '1']) await spot(price);
    await door.site.settled();
    const [{ node_id: node } = { node_id: 0 }] = await door.site.db.query(statement<{ node_id: number }>('test-node-of', 'SELECT node_id FROM lease WHERE id = $1'), [lost?.InstanceId]);
    door.site.control.setUp(node, false);
    await door.alice.send(new TerminateInstancesCommand({ InstanceIds: [lost?.InstanceId ?? ''] }));
    expect((await run()).Instances).toHaveLength(1);
    expect((await instance(lost?.InstanceId ?? ''))?.State?.Name).toBe('shutting-down');
    door.site.control.setUp(node, true);
    await door.site.db.query(again);
    await door.site.dispatcher.poll();
  });

  it('get the site\'s grace: the guest\'s power button, and time; the request for their room is told when to come back', async () => {
    await door.close();
    await open(120);
    const { Instances: [one] = [] } = await run({ InstanceMarketOptions: { MarketType: 'spot' } }, door.alice);
    await run({}, door.alice);
    await door.site.settled();
    const removal = door.site.control.reached((_node, r) => r.op === 'remove');
    door.site.control.answer = (_node, r: AgentRequest) => (r.op === 'remove' ? 'silent' : undefined);
    const made = run();
    const asked = await removal as AgentRequest & { lease: string; graceMs: number; notice: string };
    expect(asked.lease).toBe(one?.InstanceId);
    expect(asked.graceMs).toBeGreaterThan(110_000);
    expect(asked.deadlineMs).toBeGreaterThan(asked.graceMs);
    const [, action = '{}'] = /^Others need the room of this spot instance\. (\{.*\})$/.exec(asked.notice) ?? [];
    const { action: what, time } = JSON.parse(action) as { action: string; time: string };
    expect(what).toBe('terminate');
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(Math.abs(Date.parse(time) - door.now - asked.graceMs)).toBeLessThan(10_000);
    const going = await instance(one?.InstanceId ?? '');
    expect(going).toMatchObject({ State: { Name: 'shutting-down' }, StateReason: { Code: 'Server.SpotInstanceTermination' } });
    expect(await standing(one?.SpotInstanceRequestId ?? '')).toEqual(['active', 'marked-for-termination']);
    expect((await requests([one?.SpotInstanceRequestId ?? '']))[0]?.Status?.Message).toMatch(/its guest has until 20\d\d-.*Z to power down/);
    expect(going?.StateReason?.Message).toMatch(/^Server\.SpotInstanceTermination: others need the room; the guest has until 20\d\d-/);
    // Its guest has powered down at once: who waits gets the room.
    door.site.control.answer = () => undefined;
    await door.site.dispatcher.poll();
    await door.site.db.query(again);
    await door.site.dispatcher.poll();
    expect((await made).Instances).toHaveLength(1);
  });
});
