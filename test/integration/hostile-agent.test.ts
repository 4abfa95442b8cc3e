/** The whole service with one node whose agent is a liar: another node's leases, the service's memory and its other users are safe. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Caller, LeaseView } from '../../src/manager/types.ts';
import { configSchema } from '../../src/platform/config.ts';
import { startService, type Service } from '../../src/service.ts';
import { testContext, type TestContext } from '../support/context.ts';

const AGENT = fileURLToPath(new URL('../fixtures/hostile-agent.cjs', import.meta.url));
const MIB = 1024 * 1024;

let root: string;
let ctx: TestContext;
let service: Service;
let alice: Caller;
/** On the honest node. */
let victim: LeaseView;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'evil-'));
  ctx = testContext();
  const node = (name: string): object => ({ name, zone: name, driver: 'simulated', memory_mb: 4096, cores: 32 });
  const config = configSchema.parse({
    ec2: { listen: '127.0.0.1:0' }, monitoring: { listen: '' }, local_nodes: [node('good'), node('evil')], simulated: { start_ms: 0, stop_ms: 0 }, control: { reconnect_max_ms: 300 },
  });
  service = await startService({ ctx, config, dataDir: join(root, 'data'), agentProgram: AGENT });
  const { ownerId } = await service.admin.users.add('alice', false);
  const found = (await service.manager.credentials.find((await service.admin.users.list())[0]?.accessKeys[0]?.accessKey ?? ''));
  alice = { accountId: found?.accountId ?? 0, name: 'alice', ownerId, requestId: 'req', door: 'ec2', admin: false };
  victim = await running('good');
});
afterAll(async () => {
  await service?.stop();
  rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
});
/** What the agent did before is over: it is there anew, and the log is this test's. */
beforeEach(async () => {
  await until(async () => expect((await nodes()).map((n) => n.reachable)).toEqual([true, true]));
  ctx.lines.length = 0;
});

const until = (holds: () => Promise<void>): Promise<void> => vi.waitFor(holds, { timeout: 60_000, interval: 20 });
const nodes = () => service.admin.nodes.list();
const see = async (id: string): Promise<LeaseView | undefined> => (await service.manager.leases.describe(alice, { ids: [id] }))[0];
const state = (file: string): string => join(root, 'data', 'nodes', 'evil', file);
const order = (...lines: Array<object | string>): void => writeFileSync(state('orders'), lines.map((l) => `${typeof l === 'string' ? l : JSON.stringify(l)}\n`).join(''));
const said = (text: string) => ctx.lines.filter((l) => l.message.includes(text));
const hangup = (reason: RegExp) => expect.poll(() => said('agent cannot be reached').map((l) => l.fields['reason']), { timeout: 60_000 }).toContainEqual(expect.stringMatching(reason));

async function running(zone: string): Promise<LeaseView> {
  const group = await service.manager.leases.create(alice, { minCount: 1, maxCount: 1, image: 'nimbus-guest', zone });
  const id = group.leases[0]?.id ?? '';
  await until(async () => expect((await see(id))?.state).toBe('Running'));
  return await see(id) as LeaseView;
}

/** The honest node takes leases while the other one misbehaves, and the victim is what it was. */
async function othersAreServed(): Promise<void> {
  const lease = await running('good');
  await service.manager.leases.end(alice, [lease.id], '');
  await expect.poll(async () => (await see(lease.id))?.state, { timeout: 60_000 }).toBe('Terminated');
  expect(await see(victim.id)).toEqual(victim);
}

describe('leases of another node', () => {
  it('do not end when it says that their VMs have', async () => {
    order(...[victim.generation, victim.generation + 1, 0].map((generation) => ({ event: { kind: 'vm-exited', lease: victim.id, generation, at: Date.now(), reason: 'mine now' } })));
    await expect.poll(() => said('does not hold').map((l) => l.fields), { timeout: 60_000 }).toMatchObject([{ node: 'evil', lease: victim.id, holder: 'good' }]);
    await othersAreServed();
  });

  it.each<[string, (intent: string) => object]>([
    ['answered', (id) => ({ done: [{ id, ok: false, error: { code: 'DriverFailed', message: 'no' }, stamps: {} }] })],
    ['acknowledged', (id) => ({ ack: [id] })],
    ['reported to be under way', (id) => ({ progress: { id, phase: 'started', at: 1 } })],
  ])('have operations that it must not have %s', async (_what, line) => {
    // Whatever it may have learned of ids: no request of another node's is its to answer.
    order(line('op-0123456789abcdef0'));
    await hangup(/broke the protocol/);
    await othersAreServed();
  });

  it('stay where they are when it claims their VMs, and its own stay too', async () => {
    const own = await running('evil');
    const claim = (lease: LeaseView, generation: number) => ({ lease: lease.id, generation, state: 'running', memoryMb: 1, cores: 1, image: 'x', pid: 1, reach: { host: '198.51.100.1', sshPort: 22, forwarded: true }, startedAt: 1, reason: null });
    writeFileSync(state('lies'), JSON.stringify([claim(victim, 2 ** 31 - 1), claim(own, own.generation)]));
    order('{"bye":"for a moment"}');
    await expect.poll(() => said('agent is there'), { timeout: 60_000 }).toHaveLength(1);
    await othersAreServed();
    expect(await see(own.id)).toMatchObject({ state: 'Running', node: 'evil' });
    rmSync(state('lies'));
    await service.manager.leases.end(alice, [own.id], '');
  });
});

describe('the service', () => {
  it.each<[string, string, RegExp]>([
    ['a line without end', 'pour xxxxxxxxxxxxxxxx', /a line is too long/],
    ['exits without end', `flood {"event":{"kind":"vm-exited","lease":"i-00000000","generation":1,"at":1,"reason":""}}`, /says too much that nobody asked for/],
    ['empty answers without end', 'flood {"done":[]}', /says too much that nobody asked for/],
    ['empty acknowledgements without end', 'flood {"ack":[]}', /says too much that nobody asked for/],
    ['few but enormous lines', `flood {"ack":[],"more":"${'y'.repeat(900_000)}"}`, /says too much that nobody asked for/],
    ['what is no line at all', 'flood ;', /no JSON/],
  ])('reads only so much of %s', async (_what, text, reason) => {
    rmSync(state('poured'), { force: true });
    order(text);
    await hangup(reason);
    // What was read, and what lay in pipes and buffers when it was over.
    const poured = existsSync(state('poured')) ? Number(readFileSync(state('poured'), 'utf8')) : 0;
    expect(poured).toBeLessThan(8 * MIB);
    await othersAreServed();
  });

  it('reads only so much of groans without end, from one that answers all the while', async () => {
    rmSync(state('poured'), { force: true });
    order('groan x');
    await expect.poll(() => said('agent says too much').length, { timeout: 60_000 }).toBeGreaterThan(0);
    await othersAreServed();
    const lease = await running('evil');
    await service.manager.leases.end(alice, [lease.id], '');
    expect(Number(readFileSync(state('poured'), 'utf8'))).toBeLessThan(8 * MIB);
    expect(said('agent says').length).toBeLessThan(110);
    order('{"bye":"enough"}');
    await expect.poll(() => said('agent is there').length, { timeout: 60_000 }).toBe(1);
  });

  it('takes no words that steer a terminal, a statement or a command', async () => {
    const event = (over: object): object => ({ event: { kind: 'vm-exited', lease: 'i-00000000', generation: 1, at: 1, reason: '', ...over } });
    for (const line of [event({ lease: 'i-\0' }), event({ lease: '../../x' }), event({ generation: 2 ** 53 - 1 }), event({ at: 1e300 }), '{"pong":1,"at":1e999}']) {
      ctx.lines.length = 0;
      order(line);
      await hangup(/broke the protocol: "(event|pong)" with a wrong/);
      await expect.poll(() => said('agent is there').length, { timeout: 60_000 }).toBeGreaterThan(0);
    }
    await othersAreServed();
  });
});
