/**
 * An agent is killed at each of its steps (files, processes, lines to the service) in a life of two leases: start, reboot,
 * shutdown and another start, remove. The steps are counted, so that a new one is a moment by itself. With simulated VMs all of them,
 * with QEMU a part. Afterwards leases, the agent's list, its directories, the image cache and the usage records are true and agree.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { configSchema } from '../../src/platform/config.ts';
import { startService, type Service } from '../../src/service.ts';
import { statement } from '../../src/store/db.ts';
import { accountByName } from '../../src/store/users.ts';
import { countedOn, countingGuestImage } from '../guests/counting.ts';
import { hasPart } from '../parts.ts';
import { callerOf } from '../support/caller.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectTablesAgree } from '../support/invariants.ts';
import { processesWith } from '../support/processes.ts';
import { urlOf } from '../support/services.ts';

const AGENT = fileURLToPath(new URL('../../dist/workspace-control.cjs', import.meta.url));
const FIXTURE = fileURLToPath(new URL('../fixtures/mortal-agent.cjs', import.meta.url));

const CALLER = 'ada';
const COUNTING = 'counting';
const states = statement<{ id: string; state: string; reason: string | null }>('agent-crash-states', 'SELECT id, state, reason FROM lease WHERE id = ANY($1::text[]) ORDER BY id');
const open = statement<{ n: number }>('agent-crash-open', "SELECT count(*)::int AS n FROM intent WHERE state = 'open'");
const openUsage = statement<{ n: number }>('agent-crash-usage', 'SELECT count(*)::int AS n FROM usage_record WHERE closed_at IS NULL');

class Node {
  private lives = 0;

  private constructor(readonly root: string, readonly database: TestDatabase, readonly service: Service, readonly account: number, readonly driver: 'simulated' | 'qemu') {}

  static async open(driver: 'simulated' | 'qemu'): Promise<Node> {
    const root = mkdtempSync(join(tmpdir(), 'agent-crash-'));
    copyFileSync(FIXTURE, join(root, 'mortal-agent.cjs'));
    const database = await openTestDatabase();
    plan(root, 0);
    const config = configSchema.parse({
      database: { url: urlOf(database) }, ec2: { listen: '127.0.0.1:0' }, monitoring: { listen: '' }, control: { reconnect_max_ms: 100 }, simulated: { start_ms: 0, stop_ms: 0 },
      local_nodes: [{ name: 'n1', driver, memory_mb: 1024, cores: 8 }],
    });
    const service = await startService({ ctx: testContext(), config, dataDir: join(root, 'data'), agentProgram: join(root, 'mortal-agent.cjs') });
    await service.admin.users.add(CALLER, false);
    const [account] = await database.db.query(accountByName, [CALLER]);
    return new Node(root, database, service, account?.id ?? 0, driver);
  }

  get stateDir(): string {
    return join(this.root, 'data', 'nodes', 'n1');
  }

  /** The agent that runs is ended first, so that the next one has the plan and counts from its own start. */
  async plan(dieAt: number): Promise<void> {
    plan(this.root, dieAt);
    for (const p of this.agents()) process.kill(p, 'SIGKILL');
    await expect.poll(() => readdirSync(join(this.root, 'notes')), { timeout: 30_000 }).toContain('steps');
  }

  agents = (): number[] => processesWith(this.stateDir).filter((p) => p.argv.includes('mortal-agent.cjs')).map((p) => p.pid);
  died = (): string | undefined => (existsSync(join(this.root, 'notes', 'died')) ? readFileSync(join(this.root, 'notes', 'died'), 'utf8') : undefined);
  steps = (): string[] => readFileSync(join(this.root, 'notes', 'steps'), 'utf8').trim().split('\n');

  async live(): Promise<void> {
    const { leases } = this.service.manager;
    const caller = callerOf(this.account, { name: CALLER });
    // While its agent is away the node has no room: asked again, with the same token.
    const request = { minCount: 2, maxCount: 2, image: 'nimbus-guest', clientToken: `life-${this.lives += 1}` };
    const ids = (await vi.waitFor(() => leases.create(caller, request), { timeout: 30_000, interval: 20 })).leases.map((l) => l.id).sort();
    await this.until(ids, 'Running');
    await leases.reboot(caller, ids);
    await this.until(ids, 'Running');
    await this.stopAndStart(ids[0] ?? '');
    await leases.end(caller, ids, '');
    await this.until(ids, 'Terminated', `ended by ${CALLER}`);
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
    await expect.poll(() => this.database.db.query(states, [ids]), { timeout: 60_000, interval: 10, message: `after a kill at ${this.died() ?? 'no step'}` })
      .toEqual(ids.map((id) => ({ id, state, reason })));
    await expect.poll(() => this.database.db.query(open), { timeout: 30_000, interval: 10 }).toEqual([{ n: 0 }]);
  }

  /** A lease is serialized and goes on. Tells how many steps there were when that was asked for, and when it ran again. */
  async serialize(image: string): Promise<readonly [from: number, to: number]> {
    const { leases, workspaces } = this.service.manager;
    const caller = callerOf(this.account, { name: CALLER });
    const request = { minCount: 1, maxCount: 1, image, clientToken: `life-${this.lives += 1}` };
    const ids = (await vi.waitFor(() => leases.create(caller, request), { timeout: 30_000, interval: 20 })).leases.map((l) => l.id);
    // Its answer may be the step at which the agent dies.
    const said = (): Promise<string> => vi.waitFor(async () => (await leases.console(caller, ids[0] ?? '')).bytes.toString(), { timeout: 30_000, interval: 20 });
    await this.until(ids, 'Running');
    const [workspace] = await workspaces.list(caller);
    const change = (to: 'serialize' | 'start'): Promise<void> => workspaces.change(caller, { number: workspace?.number ?? 0 }, { to });
    await expect.poll(said, { timeout: 30_000 }).not.toBe('');
    const from = this.steps().length;
    await change('serialize');
    await this.until(ids, 'Serialized');
    const before = await said();
    await change('start');
    await this.until(ids, 'Running');
    const to = this.steps().length;
    const after = `what it said after a kill at ${this.died() ?? 'no step'}`;
    if (image === COUNTING) {
      await expect.poll(async () => (await said()).length, { timeout: 30_000, message: after }).toBeGreaterThan(before.length + 2);
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
    expect(processesWith(join(this.stateDir, 'vms')).filter((p) => p.argv.includes('qemu')), `VMs that are left ${what}`).toEqual([]);
    const vms = join(this.stateDir, 'vms');
    expect(existsSync(vms) ? readdirSync(vms) : [], `directories that are left ${what}`).toEqual([]);
    // Whatever has the name of a digest has its content.
    const cache = join(this.stateDir, 'cache');
    for (const file of existsSync(cache) ? readdirSync(cache, { recursive: true, encoding: 'utf8' }) : []) {
      const digest = /([0-9a-f]{64})$/.exec(file)?.[1];
      if (digest !== undefined) expect(createHash('sha256').update(readFileSync(join(cache, file))).digest('hex'), `${file} ${what}`).toBe(digest);
    }
  }

  async close(): Promise<void> {
    await this.service.stop();
    await this.database.close();
    rmSync(this.root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

function plan(root: string, dieAt: number): void {
  const notes = join(root, 'notes');
  rmSync(notes, { recursive: true, force: true });
  mkdirSync(notes);
  writeFileSync(join(root, 'mortal-agent.json'), JSON.stringify({ agent: AGENT, notes, dieAt }));
}

let node: Node | undefined;
afterEach(async () => {
  await node?.close();
  node = undefined;
});

async function walk(driver: 'simulated' | 'qemu', every: number): Promise<void> {
  node = await Node.open(driver);
  await node.plan(0);
  await node.live();
  const all = node.steps();
  expect(all.length).toBeGreaterThan(20);
  let died = 0;
  for (let k = 1; k <= all.length; k += every) {
    await node.plan(k);
    await node.live();
    if (node.died() !== undefined) died += 1;
    await node.expectTruth(`after a kill at step ${k}, ${node.died() ?? 'which it did not reach'}`);
  }
  expect(died).toBeGreaterThan((all.length / every) * 0.8);
}

describe('an agent may be killed', () => {
  it('at each of its steps, with simulated VMs', { timeout: 300_000 }, () => walk('simulated', 1));
  it.skipIf(!hasPart('qemu'))('at its steps with QEMU', { timeout: 300_000 }, () => walk('qemu', 9));
});

/** What happens between is the agent's and QEMU's: the VM goes on, with its memory, whenever the agent dies. */
async function walkSerializing(driver: 'simulated' | 'qemu', every: number): Promise<void> {
  node = await Node.open(driver);
  const file = join(node.root, 'counting.img');
  writeFileSync(file, countingGuestImage());
  await node.service.admin.images.add({ name: COUNTING, owner: null, file, description: '' });
  const image = driver === 'qemu' ? COUNTING : 'nimbus-guest';
  await node.plan(0);
  const [from, to] = await node.serialize(image);
  expect(to - from).toBeGreaterThan(10);
  let died = 0;
  for (let k = from + 1; k <= to; k += every) {
    await node.plan(k);
    await node.serialize(image);
    if (node.died() !== undefined) died += 1;
    await node.expectTruth(`after a kill at step ${k}, ${node.died() ?? 'which it did not reach'}`);
  }
  expect(died).toBeGreaterThan(((to - from) / every) * 0.8);
}

describe('an agent may be killed while a VM is serialized and goes on', () => {
  it('at each of its steps, with simulated VMs', { timeout: 300_000 }, () => walkSerializing('simulated', 1));
  it.skipIf(!hasPart('qemu'))('at its steps with QEMU', { timeout: 300_000 }, () => walkSerializing('qemu', 3));
});
