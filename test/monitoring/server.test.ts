/** The door for those who watch, over HTTP: what it says of a site that works and of one that does not, and what it costs to ask. */
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import type { SiteFigures } from '../../src/manager/figures.ts';
import { createMeter } from '../../src/monitoring/meter.ts';
import type { ProcessFigures } from '../../src/monitoring/gauges.ts';
import { readiness } from '../../src/monitoring/readiness.ts';
import { createMonitoringServer, type MonitoringOptions, type MonitoringServer } from '../../src/monitoring/server.ts';
import { createPulses } from '../../src/platform/pulses.ts';
import type { Db } from '../../src/store/db.ts';
import { manualClock } from '../control/client/manual-clock.ts';
import { testContext, type TestContext } from '../support/context.ts';
import { readExposition } from './exposition.ts';

const EMPTY: SiteFigures = { leases: [], intents: [], nodes: [], pools: [], slots: [], sinks: [] };
const FULL: SiteFigures = {
  leases: [{ state: 'Running', leases: 7 }], intents: [{ kind: 'start', waiting: 2, oldest_s: 1.5 }],
  nodes: [{ zone: 'default', borrowed: false, up: 3, down: 1, drained: 2, memory_mb: 4096, memory_used: 128, cores: 8, cores_used: 1 }],
  pools: [{ network: 'lab "1"\\', addresses: 10, in_use: 4 }], slots: [{ state: 'Ready', slots: 1 }], sinks: [{ sink: 'ledger', attempts: 4 }],
};
const QUIET: ProcessFigures = { pool: { total: 3, idle: 1, waiting: 5 }, reports: 0, underWay: 0 };

let server: MonitoringServer | undefined;
afterEach(() => server?.close());

async function open(over: Partial<MonitoringOptions> = {}, ctx: TestContext = testContext()) {
  const register = over.register ?? new Registry();
  server = createMonitoringServer(ctx, {
    listen: '127.0.0.1:0', version: '1.2.3', register, site: () => Promise.resolve(FULL), process: () => QUIET, readiness: () => Promise.resolve({ ready: true, missing: [] }), ...over,
  });
  const { url } = await server.listen();
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(url + path, init);
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
  };
  const figure = async (name: string, labels: Record<string, string> = {}) =>
    readExposition((await get('/metrics')).text).get(name.replace(/_(bucket|sum|count)$/, ''))?.samples.find((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v))?.value;
  return { get, figure, ctx };
}

describe('/metrics', () => {
  it('is the text format, with the figures of site and process', async () => {
    const register = new Registry();
    const meter = createMeter(register);
    meter.refused('ec2', 'NoCapacity');
    meter.step('invoke', 30);
    meter.operation('start', false, 2_000);
    meter.roundTrip(3);
    const { get, figure } = await open({ register });
    expect(await get('/metrics')).toMatchObject({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
    expect(await figure('nimbus_info', { version: '1.2.3' })).toBe(1);
    expect(await figure('nimbus_database_up')).toBe(1);
    expect(await figure('nimbus_leases', { state: 'Running' })).toBe(7);
    expect(await figure('nimbus_intents_waiting', { operation: 'start' })).toBe(2);
    expect(await figure('nimbus_intent_oldest_seconds', { operation: 'start' })).toBe(1.5);
    expect(await figure('nimbus_nodes', { zone: 'default', kind: 'own', state: 'down' })).toBe(1);
    expect(await figure('nimbus_node_memory_mebibytes', { what: 'used' })).toBe(128);
    expect(await figure('nimbus_pool_addresses', { network: 'lab \\"1\\"\\\\', what: 'used' })).toBe(4);
    expect(await figure('nimbus_slots', { state: 'Ready' })).toBe(1);
    expect(await figure('nimbus_usage_sink_failures', { sink: 'ledger' })).toBe(4);
    expect(await figure('nimbus_database_connections', { state: 'busy' })).toBe(2);
    expect(await figure('nimbus_database_connections', { state: 'waiting' })).toBe(5);
    expect(await figure('nimbus_refusals_total', { door: 'ec2', code: 'NoCapacity' })).toBe(1);
    expect(await figure('nimbus_lease_step_seconds_bucket', { step: 'invoke', le: '0.05' })).toBe(1);
    expect(await figure('nimbus_operation_seconds_sum', { operation: 'start', outcome: 'failed' })).toBe(2);
    expect(await figure('nimbus_agent_round_trip_seconds_count')).toBe(1);
  });

  it('says nothing of the site while the database is away, and does not repeat what is no more', async () => {
    const clock = manualClock();
    const answers: Array<() => Promise<SiteFigures>> = [() => Promise.resolve(FULL), () => Promise.reject(new Error('postgres://nimbus:s3cret@db is away')), () => Promise.resolve(EMPTY)];
    const { get, figure } = await open({ site: () => answers.shift()?.() ?? Promise.resolve(EMPTY) }, testContext({ clock }));
    expect(await figure('nimbus_leases', { state: 'Running' })).toBe(7);
    await clock.advance(1_000);
    const away = (await get('/metrics')).text;
    expect(away).not.toContain('s3cret');
    expect(readExposition(away).get('nimbus_leases')?.samples).toEqual([]);
    expect(await figure('nimbus_database_up')).toBe(0);
    await clock.advance(1_000);
    expect([await figure('nimbus_database_up'), await figure('nimbus_leases', { state: 'Running' })]).toEqual([1, undefined]);
  });

  it('looks once for all who ask, and not again before that look is over', async () => {
    const clock = manualClock();
    let looks = 0;
    let answer: (f: SiteFigures) => void = () => undefined;
    const slow = new Promise<SiteFigures>((resolve) => { answer = resolve; });
    const { get } = await open({ site: () => { looks += 1; return looks === 1 ? slow : Promise.resolve(FULL); } }, testContext({ clock }));
    let unanswered = 20;
    const asked = Array.from({ length: unanswered }, () => get('/metrics').finally(() => { unanswered -= 1; }));
    // The database is slow: the answers come without it, and whoever asks meanwhile starts no second look.
    while (unanswered > 0) await clock.advance(10_000);
    for (const a of await Promise.all(asked)) expect(a.text).toContain('nimbus_database_up 0\n');
    expect(looks).toBe(1);
    answer(FULL);
    await clock.advance(10_000);
    expect((await get('/metrics')).text).toContain('nimbus_database_up 1\n');
  });

  it('a clock that lies spoils no sum', async () => {
    const register = new Registry();
    const meter = createMeter(register);
    meter.step('create', 8e15);
    meter.step('create', -8e15);
    const { figure } = await open({ register });
    expect(await figure('nimbus_lease_step_seconds_sum', { step: 'create' })).toBe(86_400);
  });
});

describe('health and readiness', () => {
  it('alive is not ready', async () => {
    const { get } = await open({ readiness: () => Promise.resolve({ ready: false, missing: ['the database does not answer'] }) });
    expect(await get('/healthz')).toMatchObject({ status: 200, text: 'ok\n' });
    expect(await get('/readyz')).toMatchObject({ status: 503, type: 'application/json', text: '{"ready":false,"missing":["the database does not answer"]}\n' });
  });

  it('needs the database and every worker', async () => {
    const clock = manualClock();
    const ctx = testContext({ clock });
    const pulses = createPulses(clock);
    const db = (query: () => Promise<never[]>): Db => ({ query, transaction: () => Promise.reject(new Error('not here')), close: () => Promise.resolve() } as Db);
    const works = db(() => Promise.resolve([]));
    expect(await readiness(ctx, works, pulses)).toEqual({ ready: true, missing: [] });
    expect(await readiness(ctx, db(() => Promise.reject(new Error('s3cret'))), pulses)).toEqual({ ready: false, missing: ['the database does not answer'] });
    const beat = pulses.watch('sweeper', 15_000);
    await clock.advance(15_001);
    expect(await readiness(ctx, works, pulses)).toEqual({ ready: false, missing: ['the sweeper has finished no turn for 15 s'] });
    beat();
    expect((await readiness(ctx, works, pulses)).ready).toBe(true);
    // A database that hangs is one that does not answer.
    const hanging = readiness(ctx, db(() => new Promise(() => undefined)), pulses);
    await clock.advance(3_000);
    expect(await hanging).toEqual({ ready: false, missing: ['the database does not answer'] });
  });
});

describe('what is asked wrongly', () => {
  it.each([['/', 'GET', 404], ['/metrics/../etc/passwd', 'GET', 404], ['/constructor', 'GET', 404], ['/metrics', 'POST', 405], ['/healthz', 'DELETE', 405], ['/metrics?name[]=x', 'GET', 200], ['/healthz', 'HEAD', 200]])('%s %s is %i', async (path, method, status) => {
    const { get } = await open();
    const answer = await get(path, { method });
    expect(answer.status).toBe(status);
    if (method === 'HEAD') expect(answer.text).toBe('');
  });
});
