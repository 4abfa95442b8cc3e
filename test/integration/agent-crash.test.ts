/**
 * An agent is killed at each of its steps (files, processes, lines to the service) in a life of two leases: start, reboot,
 * shutdown and another start, remove. The steps are named and counted, so that a new one is a moment by itself. With simulated VMs all of
 * them, with QEMU, on a bridge, a part (all with `npm run test:every-moment`). Afterwards leases, the agent's list, its directories, the image cache and the usage records are true and agree.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { guestImage } from '../../src/images/builtin/guest.ts';
import { configSchema } from '../../src/platform/config.ts';
import { startService, type Service } from '../../src/service.ts';
import { statement } from '../../src/store/db.ts';
import { accountByName } from '../../src/store/users.ts';
import { countedOn, countingGuestImage } from '../guests/counting.ts';
import { hasPart } from '../parts.ts';
import { expectTrueCache } from '../support/agents.ts';
import { openBridge, type Bridge } from '../support/bridge.ts';
import { callerOf } from '../support/caller.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectTablesAgree } from '../support/invariants.ts';
import { deadline, oneIn } from '../support/moments.ts';
import { processesWith, signal } from '../support/processes.ts';
import { urlOf } from '../support/services.ts';

const AGENT = fileURLToPath(new URL('../../dist/workspace-control.cjs', import.meta.url));
const FIXTURE = fileURLToPath(new URL('../fixtures/mortal-agent.cjs', import.meta.url));

const CALLER = 'ada';
/** A few more than a life has at a time. */
const ADDRESSES = 4;
const COUNTING = 'counting';
const states = statement<{ id: string; state: string; reason: string | null }>('agent-crash-states', 'SELECT id, state, reason FROM lease WHERE id = ANY($1::text[]) ORDER BY id');
const open = statement<{ n: number }>('agent-crash-open', "SELECT count(*)::int AS n FROM intent WHERE state = 'open'");
const taken = statement<{ n: number }>('agent-crash-taken', 'SELECT count(*)::int AS n FROM network_address WHERE lease_id IS NOT NULL');
const openUsage = statement<{ n: number }>('agent-crash-usage', 'SELECT count(*)::int AS n FROM usage_record WHERE closed_at IS NULL');

class Node {
  private lives = 0;

  private constructor(readonly root: string, readonly database: TestDatabase, readonly service: Service, readonly account: number, readonly driver: 'simulated' | 'qemu', readonly bridge: Bridge | undefined) {}

  static async open(driver: 'simulated' | 'qemu'): Promise<Node> {
    const root = mkdtempSync(join(tmpdir(), 'agent-crash-'));
    copyFileSync(FIXTURE, join(root, 'mortal-agent.cjs'));
    const database = await openTestDatabase();
    const bridge = driver === 'qemu' ? await openBridge() : undefined;
    plan(root, bridge, []);
    const config = configSchema.parse({
      database: { url: urlOf(database) }, ec2: { listen: '127.0.0.1:0' }, monitoring: { listen: '' }, control: { reconnect_max_ms: 100 }, simulated: { start_ms: 0, stop_ms: 0 }, lease: { default_network: 'wire' },
      local_nodes: [{ name: 'n1', driver, memory_mb: 1024, cores: 8 }],
    });
    const service = await startService({ ctx: testContext(), config, dataDir: join(root, 'data'), agentProgram: join(root, 'mortal-agent.cjs') });
    await service.admin.users.add(CALLER, false);
    // As the service makes it by itself it has no pool.
    await service.admin.networks.remove('wire');
    await service.admin.networks.add({ name: 'wire', kind: 'bridge', bridge: 'br-lease', netmask: '24' });
    await service.admin.networks.addAddresses('wire', Array.from({ length: ADDRESSES }, (_, i) => ({ ip: `10.77.0.${10 + i}` })));
    const [account] = await database.db.query(accountByName, [CALLER]);
    return new Node(root, database, service, account?.id ?? 0, driver, bridge);
  }

  get stateDir(): string {
    return join(this.root, 'data', 'nodes', 'n1');
  }

  /** The agent that runs is ended first, so that the next one has the plan and counts from its own start. */
  async plan(at: readonly string[] | null, past: readonly string[] = []): Promise<void> {
    plan(this.root, this.bridge, at, past);
    for (const p of this.agents()) signal(p, 'SIGKILL');
    await expect.poll(() => readdirSync(join(this.root, 'notes')), { timeout: 60_000 }).toContain('steps');
  }

  agents = (): number[] => processesWith(this.stateDir).filter((p) => p.argv.includes('mortal-agent.cjs')).map((p) => p.pid);
  died = (): string | undefined => (existsSync(join(this.root, 'notes', 'died')) ? readFileSync(join(this.root, 'notes', 'died'), 'utf8') : undefined);
  steps = (): string[] => readFileSync(join(this.root, 'notes', 'steps'), 'utf8').trim().split('\n');

  async live(): Promise<void> {
    const { leases } = this.service.manager;
    const caller = callerOf(this.account, { name: CALLER });
    const token = `life-${this.lives += 1}`;
    // While its agent is away the node has no room: asked again, with the same token.
    const request = { minCount: 2, maxCount: 2, image: await this.addImage(token), clientToken: token };
    const ids = (await vi.waitFor(() => leases.create(caller, request), { timeout: 60_000, interval: 20 })).leases.map((l) => l.id).sort();
    await this.until(ids, 'Running');
    expect(await this.database.db.query(taken)).toEqual([{ n: 2 }]);
    await leases.reboot(caller, ids);
    await this.until(ids, 'Running');
    await this.stopAndStart(ids[0] ?? '');
    await leases.end(caller, ids, '');
    await this.until(ids, 'Terminated', `ended by ${CALLER}`);
  }

  /** One that the node does not have yet. */
  private async addImage(name: string): Promise<string> {
    const file = join(this.root, 'guest.img');
    writeFileSync(file, Buffer.concat([guestImage(), Buffer.alloc(512, name)]));
    await this.service.admin.images.add({ name, owner: null, file, description: '' });
    return name;
  }

  /** The VM goes, its disk stays, and it is started again. The built-in guest has no power button. */
  private async stopAndStart(id: string): Promise<void> {
    const { leases } = this.service.manager;
    await leases.stop(callerOf(this.account, { name: CALLER }), [id], { hard: this.driver === 'qemu' });
    await this.until([id], 'Propagated', `stopped by ${CALLER}`);
    await leases.start(callerOf(this.account, { name: CALLER }), [id]);
    await this.until([id], 'Running', `stopped by ${CALLER}`);
  }

  async until(ids: readonly string[], state: string, reason: string | null = null): Promise<void> {
    await expect.poll(() => this.database.db.query(states, [ids]), { timeout: 120_000, interval: 10, message: `after a kill at ${this.died() ?? 'no step'}` })
      .toEqual(ids.map((id) => ({ id, state, reason })));
    await expect.poll(() => this.database.db.query(open), { timeout: 60_000, interval: 10 }).toEqual([{ n: 0 }]);
  }

  /** A lease is serialized and goes on. Tells how many steps there were when that was asked for, and when it ran again. */
  async serialize(image: string): Promise<readonly [from: number, to: number]> {
    const { leases, workspaces } = this.service.manager;
    const caller = callerOf(this.account, { name: CALLER });
    const request = { minCount: 1, maxCount: 1, image, clientToken: `life-${this.lives += 1}` };
    const ids = (await vi.waitFor(() => leases.create(caller, request), { timeout: 60_000, interval: 20 })).leases.map((l) => l.id);
    // Its answer may be the step at which the agent dies.
    const said = (): Promise<string> => vi.waitFor(async () => (await leases.console(caller, ids[0] ?? '')).bytes.toString(), { timeout: 60_000, interval: 20 });
    await this.until(ids, 'Running');
    const [workspace] = await workspaces.list(caller);
    const change = (to: 'serialize' | 'start'): Promise<void> => workspaces.change(caller, { number: workspace?.number ?? 0 }, { to });
    await expect.poll(said, { timeout: 60_000 }).not.toBe('');
    const from = this.steps().length;
    await change('serialize');
    await this.until(ids, 'Serialized');
    const before = await said();
    await change('start');
    await this.until(ids, 'Running');
    const to = this.steps().length;
    const after = `what it said after a kill at ${this.died() ?? 'no step'}`;
    if (image === COUNTING) {
      await expect.poll(async () => (await said()).length, { timeout: 60_000, message: after }).toBeGreaterThan(before.length + 2);
      expect(countedOn(await said()), `${after}: ${await said()}`).toBe(true);
    } else {
      expect(await said(), after).toBe(before);
    }
    await leases.end(caller, ids, '');
    await this.until(ids, 'Terminated', `ended by ${CALLER}`);
    return [from, to];
  }

  async expectTruth(what: string): Promise<void> {
    const { db } = this.database;
    await expectTablesAgree(db, what);
    expect(await db.query(openUsage), what).toEqual([{ n: 0 }]);
    expect(await db.query(taken), what).toEqual([{ n: 0 }]);
    expect(this.bridge?.taps() ?? [], `taps that are left ${what}`).toEqual([]);
    expect(processesWith(join(this.stateDir, 'vms')).filter((p) => p.argv.includes('qemu')), `VMs that are left ${what}`).toEqual([]);
    const vms = join(this.stateDir, 'vms');
    expect(existsSync(vms) ? readdirSync(vms) : [], `directories that are left ${what}`).toEqual([]);
    expectTrueCache(this.stateDir, what);
  }

  async close(): Promise<void> {
    await this.service.stop();
    await this.database.close();
    await this.bridge?.close();
    rmSync(this.root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

function plan(root: string, bridge: Bridge | undefined, at: readonly string[] | null, past: readonly string[] = []): void {
  const notes = join(root, 'notes');
  rmSync(notes, { recursive: true, force: true });
  mkdirSync(notes);
  writeFileSync(join(root, 'mortal-agent.json'), JSON.stringify({ agent: AGENT, notes, within: bridge?.within ?? [], at, past }));
}

let node: Node | undefined;
afterEach(async () => {
  await node?.close();
  node = undefined;
});

/**
 * A life for each of the steps `at`, or for each that any life has: it dies at the first at which none before has died, until one comes
 * to its end. Whatever had no kill is none of that one's steps.
 */
async function killAtEach(n: Node, at: readonly string[] | null, most: number, live: () => Promise<unknown>): Promise<string[]> {
  const past: string[] = [];
  for (;;) {
    await n.plan(at, past);
    await live();
    const died = n.died();
    await n.expectTruth(`after a kill at ${died ?? 'no step'}`);
    if (died === undefined) return past;
    past.push(died);
    expect(past.length, 'lives go on to have steps that none before had').toBeLessThan(most);
  }
}

const kinds = (steps: readonly string[]): string[] => [...new Set(steps.map((s) => s.replace(/ \d+$/, '')))].sort();

/** Every so many of these. */
const some = (steps: readonly string[], every: number): string[] => steps.filter((_, i) => i % every === 0);

async function walk(driver: 'simulated' | 'qemu', every: number): Promise<void> {
  const n = node = await Node.open(driver);
  await n.plan([]);
  await n.live();
  const all = n.steps();
  expect(all.length).toBeGreaterThan(20);
  const at = every === 1 ? null : some(all, every);
  const died = await killAtEach(n, at, all.length * 2, () => n.live());
  if (at === null) expect(kinds(died)).toEqual(expect.arrayContaining(kinds(all)));
  else expect(died.length).toBeGreaterThan(at.length / 2);
}

describe('an agent may be killed', () => {
  it('at each of its steps, with simulated VMs', { timeout: 600_000 }, () => walk('simulated', 1));
  it.skipIf(!hasPart('qemu') || !hasPart('root'))('at its steps with QEMU', { timeout: deadline(600_000) }, () => walk('qemu', oneIn(9)));
});

/** What happens between is the agent's and QEMU's: the VM goes on, with its memory, whenever the agent dies. */
async function walkSerializing(driver: 'simulated' | 'qemu', every: number): Promise<void> {
  const n = node = await Node.open(driver);
  const file = join(n.root, 'counting.img');
  writeFileSync(file, countingGuestImage());
  await n.service.admin.images.add({ name: COUNTING, owner: null, file, description: '' });
  const image = driver === 'qemu' ? COUNTING : 'nimbus-guest';
  await n.plan([]);
  const [from, to] = await n.serialize(image);
  expect(to - from).toBeGreaterThan(10);
  const at = some(n.steps().slice(from, to), every);
  const died = await killAtEach(n, at, at.length + 1, () => n.serialize(image));
  expect(died.length).toBeGreaterThan(at.length / 2);
}

describe('an agent may be killed while a VM is serialized and goes on', () => {
  it('at each of its steps, with simulated VMs', { timeout: 600_000 }, () => walkSerializing('simulated', 1));
  it.skipIf(!hasPart('qemu') || !hasPart('root'))('at its steps with QEMU', { timeout: deadline(600_000) }, () => walkSerializing('qemu', oneIn(3)));
});
