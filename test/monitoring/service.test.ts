/** A running service, watched from outside: its monitoring door, and one request followed through the logs of service and agent. */
import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { askAs, newUser, type Ask, type Keys } from '../support/query.ts';
import { startServe, type Serve } from '../support/serve.ts';
import { readExposition } from './exposition.ts';

const SITE = '[[local_nodes]]\nname = "n1"\ndriver = "simulated"\nmemory_mb = 1024\ncores = 8\n';
const RUN = { Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '2', MaxCount: '2' };

let serve: Serve;
let keys: Keys;
let alice: Ask;
let url: string;
beforeAll(async () => {
  serve = await startServe(SITE);
  keys = await newUser(serve, 'alice');
  alice = askAs(serve, keys);
  url = (JSON.parse(readFileSync(join(serve.root, 'ready.json'), 'utf8')) as { monitoring: string }).monitoring;
});
afterAll(async () => { expect(await serve?.stop()).toBe(0); });

const lines = (text: string): Array<Record<string, unknown>> => text.split('\n').filter((l) => l !== '').map((l) => JSON.parse(l) as Record<string, unknown>);
const agentLog = (): Array<Record<string, unknown>> => lines(readFileSync(join(serve.dataDir, 'nodes', 'n1', 'agent.log'), 'utf8'));
const get = async (path: string): Promise<{ status: number; text: string }> => {
  const r = await fetch(url + path);
  return { status: r.status, text: await r.text() };
};
const first = (body: string, element: string): string => new RegExp(`<${element}>([^<]+)`).exec(body)?.[1] ?? '';

it('one request id is in the answer, in the service’s log and in the agent’s, and in the trail of the lease', async () => {
  const run = (await alice(RUN)).body;
  const [requestId, lease] = [first(run, 'requestId'), first(run, 'instanceId')];
  await vi.waitFor(() => expect(agentLog().filter((l) => l['requestId'] === requestId)).toMatchObject([
    { level: 'info', message: 'operation done', op: 'start' }, { level: 'info', message: 'operation done', op: 'start' },
  ]), { timeout: 60_000 });
  await vi.waitFor(() => expect(lines(serve.log()).filter((l) => l['requestId'] === requestId)).toMatchObject([{ level: 'info', message: 'RunInstances', user: 'alice' }]), { timeout: 60_000 });
  expect(agentLog().find((l) => l['lease'] === lease)).toMatchObject({ requestId });
  const { events } = await serve.admin<{ events: Array<{ requestId: string | null; trigger: string }> }>('lease', 'show', lease);
  expect(events.filter((e) => e.requestId === requestId).map((e) => e.trigger)).toContain('created');
  const end = (await alice({ Action: 'TerminateInstances', 'InstanceId.1': lease })).body;
  await vi.waitFor(() => expect(agentLog().find((l) => l['op'] === 'remove')).toMatchObject({ lease, requestId: first(end, 'requestId') }), { timeout: 60_000 });
});

it('says that it lives and serves, and its figures in the text format', async () => {
  expect(await get('/healthz')).toMatchObject({ status: 200 });
  expect(await get('/readyz')).toEqual({ status: 200, text: '{"ready":true,"missing":[]}\n' });
  expect((await alice({ ...RUN, InstanceType: 'm9.huge' })).status).toBe(400);
  await alice({ ...RUN, MinCount: '50', MaxCount: '50' });
  await vi.waitFor(async () => {
    const figures = readExposition((await get('/metrics')).text);
    const figure = (name: string, labels: Record<string, string>): number | undefined =>
      figures.get(name.replace(/_count$/, ''))?.samples.find((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v))?.value;
    expect({
      running: figure('nimbus_leases', { state: 'Running' }), up: figure('nimbus_nodes', { kind: 'own', state: 'up' }), used: figure('nimbus_node_memory_mebibytes', { what: 'used' }),
      types: figure('nimbus_refusals_total', { door: 'ec2', code: 'TypeUnknown' }), capacity: figure('nimbus_refusals_total', { door: 'ec2', code: 'NoCapacity' }),
      total: figure('nimbus_lease_step_seconds_count', { step: 'total' }), create: figure('nimbus_lease_step_seconds_count', { step: 'create' }), destroy: figure('nimbus_lease_step_seconds_count', { step: 'destroy' }),
      starts: figure('nimbus_operation_seconds_count', { operation: 'start', outcome: 'done' }), ends: figure('nimbus_operation_seconds_count', { operation: 'remove', outcome: 'done' }),
    }).toEqual({ running: 1, up: 1, used: 128, types: 1, capacity: 1, total: 2, create: 2, destroy: 1, starts: 2, ends: 1 });
    expect(figure('nimbus_agent_round_trip_seconds_count', {})).toBeGreaterThan(0);
    expect(figure('nimbus_database_connections', { state: 'idle' })).toBeGreaterThan(0);
  }, { timeout: 60_000 });
});

it('tells nobody of users, leases, keys or passwords', async () => {
  const password = readFileSync(join(serve.dataDir, 'keys', 'postgresql-password'), 'utf8').trim();
  const all = (await Promise.all(['/healthz', '/readyz', '/metrics'].map(get))).map((a) => a.text).join('');
  for (const secret of ['alice', keys.accessKey, keys.secret, password, serve.dataDir]) expect(all).not.toContain(secret);
  expect(all).not.toMatch(/\bi-[0-9a-f]{8,17}\b/);
});

it('a log that is copied and truncated goes on at its beginning', async () => {
  // The line of what was asked last is written, after its answer, before the log is cut.
  const last = first((await alice({ Action: 'CreateKeyPair', KeyName: 'before' })).body, 'requestId');
  await vi.waitFor(() => expect(lines(serve.log()).at(-1)).toMatchObject({ requestId: last }), { timeout: 60_000 });
  truncateSync(join(serve.root, 'service.log'), 0);
  await alice({ Action: 'CreateKeyPair', KeyName: 'k' });
  await vi.waitFor(() => expect(lines(serve.log())).toMatchObject([{ message: 'CreateKeyPair' }]), { timeout: 60_000 });
});
