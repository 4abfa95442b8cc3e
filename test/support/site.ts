/** A whole site but its doors and agents: real PostgreSQL, real manager and workers, fake nodes. */
import { configSchema, type Config } from '../../src/platform/config.ts';
import { realClock, realRandom } from '../../src/platform/real.ts';
import type { Clock } from '../../src/platform/context.ts';
import { createManager, type FullManager } from '../../src/manager/index.ts';
import { createNodePool } from '../../src/manager/pool.ts';
import type { Caller } from '../../src/manager/types.ts';
import { createDispatcher, type Dispatcher } from '../../src/workers/dispatcher.ts';
import { createNodeMonitor, type NodeMonitor } from '../../src/workers/node-monitor.ts';
import { statement, type Db, type DbAddress } from '../../src/store/db.ts';
import { createInbox, type Inbox } from '../../src/manager/slots/inbox.ts';
import type { Lrm } from '../../src/pilot/lrm/types.ts';
import { createSlotWorker, type SlotWorker } from '../../src/workers/slots.ts';
import { testContext, type TestContext } from './context.ts';
import { openTestDatabase } from './database.ts';
import { testSaving, type TestSaving } from './saving.ts';
import { createFakeControl, type FakeControl } from './fake-control.ts';

export interface TestSite {
  readonly ctx: TestContext;
  readonly address: DbAddress;
  readonly db: Db;
  readonly config: Config;
  readonly control: FakeControl;
  readonly manager: FullManager;
  readonly dispatcher: Dispatcher;
  readonly monitor: NodeMonitor;
  /** An ordinary user, made with the site. */
  readonly alice: Caller;
  readonly bob: Caller;
  readonly admin: Caller;
  imageId: string;
  readonly saving: TestSaving;
  /** In pilot mode. */
  readonly slots: SlotWorker;
  readonly inbox: Inbox;
  /** Waits until every intent that can be done is done and recorded. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

export async function openTestSite(options: {
  config?: object; clock?: Clock;
  /** What manager and workers see instead of the database itself, for tests of its failures. */
  seenDb?: (db: Db) => Db;
  /** Pilot mode, with this batch system. */
  lrm?: Lrm;
  nodes?: ReadonlyArray<{ name: string; memoryMb: number; cores: number; zone?: string; networks?: string[] }>;
} = {}): Promise<TestSite> {
  const ctx = testContext({ clock: options.clock ?? realClock });
  const database = await openTestDatabase({ max: 8 });
  const { db: realDb } = database;
  const config = configSchema.parse(options.config ?? {});
  const { accounts, imageId } = await populate(realDb, options.nodes ?? [{ name: 'n1', memoryMb: 4096, cores: 16 }, { name: 'n2', memoryMb: 4096, cores: 16 }]);
  const control = createFakeControl(ctx.clock);
  const db = options.seenDb?.(realDb) ?? realDb;
  const pool = createNodePool({ db, clock: ctx.clock, strategy: config.scheduler.strategy, reachable: (id) => control.state(id).up });
  let dispatcher: Dispatcher | undefined;
  const late: { slots?: SlotWorker; monitor?: NodeMonitor } = {};
  const borrowing = options.lrm === undefined ? undefined : {
    facts: () => late.slots?.facts() ?? null, wake: () => late.slots?.wake(), nodesChanged: () => late.monitor?.reload() ?? Promise.resolve(), hostKeys: () => null,
  };
  const manager = createManager({ ctx, db, config, control, pool, borrowing, repository: { remove: (which) => saving.repository.remove(which), diskBytes: (image) => saving.repository.diskBytes(image) }, handOver: (intents) => dispatcher?.handOver(intents) });
  const saving = testSaving({ ctx, db, control, recorder: manager.work.recorder, userMb: config.images.user_mb });
  dispatcher = createDispatcher({ ctx, db, config, control, recorder: manager.work.recorder, save: saving.save, imagePath: (f) => `/images/${f}` });
  const d = dispatcher;
  const monitor = createNodeMonitor({
    ctx, db, control, nodes: manager.work.nodes, recorder: manager.work.recorder, nodeName: (id) => pool.name(id),
    refreshPool: (nodes) => pool.refresh(nodes), poll: (id) => d.poll(id),
  });
  late.monitor = monitor;
  await monitor.start();
  const slots = createSlotWorker({ ctx, config, lrm: options.lrm ?? noBatchSystem, work: manager.work.slots, control, contacts: () => ['http://127.0.0.1:1'], ca: undefined });
  late.slots = slots;
  const inbox = createInbox({ ctx, db, stored: (ids) => slots.heard(ids) });
  if (options.lrm !== undefined) await slots.start();
  const caller = (i: number, name: string, admin = false): Caller => ({
    accountId: accounts[i] ?? 0, name, ownerId: `00000000000${i}`, requestId: `req-${name}`, door: admin ? 'admin' : 'ec2', admin,
  });
  return {
    ctx, address: database.address, db: realDb, config, control, manager, dispatcher: d, monitor, imageId, saving, slots, inbox,
    alice: caller(0, 'alice'), bob: caller(1, 'bob'), admin: caller(2, 'root', true),
    async settled() {
      for (let quiet = 0; quiet < 2;) {
        await manager.work.recorder.idle();
        await new Promise((resolve) => setImmediate(resolve));
        const [row] = await realDb.query(statement<{ n: number }>('test-open', "SELECT count(*) AS n FROM intent WHERE state = 'open' AND error IS NULL"));
        quiet = d.underWay === 0 && row?.n === 0 ? quiet + 1 : 0;
      }
    },
    async close() {
      await slots.stop();
      await monitor.stop();
      await d.stop();
      await manager.work.recorder.idle();
      await database.close();
      saving.remove();
    },
  };
}

const noBatchSystem: Lrm = {
  name: 'slurm',
  submit: () => Promise.resolve({ kind: 'rejected', reason: 'there is none' }),
  cancel: () => Promise.resolve({ kind: 'gone' }),
  list: () => Promise.resolve({ kind: 'unavailable', reason: 'there is none', tookMs: 0 }),
  facts: () => Promise.reject(new Error('there is none')),
};

async function populate(db: Db, nodes: NonNullable<Parameters<typeof openTestSite>[0]>['nodes'] & object): Promise<{ accounts: number[]; imageId: string }> {
  const now = new Date(realClock.now());
  const accounts: number[] = [];
  for (const [i, name] of ['alice', 'bob', 'root'].entries()) {
    const [row] = await db.query(statement<{ id: number }>('test-account', 'INSERT INTO account (name, owner_id, admin, created_at) VALUES ($1, $2, $3, $4) RETURNING id'), [name, `00000000000${i}`, name === 'root', now]);
    accounts.push(row?.id ?? 0);
  }
  for (const n of nodes) {
    await db.query(statement('test-node', 'INSERT INTO vmm_node (name, zone, memory_mb, cores, networks, access, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)'),
      [n.name, n.zone ?? 'default', n.memoryMb, n.cores, n.networks ?? ['*'], JSON.stringify({ transport: 'local', stateDir: '/none', driver: 'simulated' }), now]);
  }
  const imageId = `ami-${realRandom.bytes(9).toString('hex').slice(0, 17)}`;
  await db.query(statement('test-image', `INSERT INTO image (id, name, format, size_bytes, sha256, file, created_at) VALUES ($1, 'guest', 'raw', 512, repeat('0', 64), 'common/guest', $2)`), [imageId, now]);
  await db.query(statement('test-network', `INSERT INTO network (name, kind, prefix, created_at) VALUES ('public', 'user', 24, $1)`), [now]);
  return { accounts, imageId };
}
