/**
 * What policies cost a create: 1,000 users, 50 policies (30 templates, 19 groups, the site's), 10,000 live leases, 30 days of
 * charges; each user has a template and a group, and every bound is set. Two databases of the same content, one of them without
 * policies, served by the same code in turns. Prints the check alone (lock, look, decide, for one request and for the 64 that one
 * transaction takes) beside two statements that do nothing, then whole creates with and without policies.
 */
import { configSchema } from '../src/platform/config.ts';
import { createManager, type FullManager } from '../src/manager/index.ts';
import { createNodePool } from '../src/manager/pool.ts';
import { askOf, openBudgets } from '../src/manager/budgets.ts';
import { lookUp } from '../src/manager/resolve.ts';
import type { Caller } from '../src/manager/types.ts';
import { statement, type Db } from '../src/store/db.ts';
import { testContext } from '../test/support/context.ts';
import { openTestDatabase } from '../test/support/database.ts';
import { createFakeControl } from '../test/support/fake-control.ts';

const USERS = 1_000;
const LEASES = 10_000;
const TEMPLATES = 30;
const GROUPS = 19;
const ROUNDS = 5;
const CHECKS = 300;
const CREATES = 64;
/** More in the path of a create, ms. */
const TARGET_MS = 1;

const ctx = testContext();
const config = configSchema.parse({ lease: { max_per_user: 1_000_000 } });
const sql = (db: Db, name: string, text: string, values: unknown[] = []): Promise<unknown> => db.query(statement(`bench-${name}`, text), values);

async function populate(db: Db, policies: boolean): Promise<void> {
  await sql(db, 'users', `INSERT INTO account (name, owner_id, created_at) SELECT 'u' || i, lpad(i::text, 12, '0'), now() FROM generate_series(1, $1::int) i`, [USERS]);
  await sql(db, 'image', `INSERT INTO image (id, name, format, size_bytes, sha256, file, created_at) VALUES ('ami-00000000000000001', 'guest', 'raw', 512, repeat('0', 64), 'common/guest', now())`);
  await sql(db, 'network', `INSERT INTO network (name, kind, prefix, created_at) VALUES ('public', 'user', 24, now())`);
  await sql(db, 'nodes', `INSERT INTO vmm_node (name, zone, memory_mb, cores, access, created_at) SELECT 'n' || i, 'default', 1000000, 10000, '{"transport":"local","stateDir":"/none","driver":"simulated"}', now() FROM generate_series(1, 200) i`);
  await sql(db, 'groups', `INSERT INTO lease_group (id, account_id, request_hash, created_at) SELECT 'r-' || lpad(to_hex(i), 17, '0'), 1 + i % $2::int, '', now() FROM generate_series(1, $1::int) i`, [LEASES, USERS]);
  await sql(db, 'leases', `
    INSERT INTO lease (id, group_id, account_id, launch_index, state, generation, node_id, zone, image_id, type, memory_mb, cores, disk_mb, nics, created_at, duration_s, reserved_minutes, ends_at, running_at)
    SELECT 'i-' || lpad(to_hex(i), 17, '0'), 'r-' || lpad(to_hex(i), 17, '0'), 1 + i % $2::int, 0, 'Running', 1, 1 + i % 200, 'default', 'ami-00000000000000001', 'm1.small', 128, 1, 0, '[]', now(), 86400, 1440, now() + interval '1 day', now()
      FROM generate_series(1, $1::int) i`, [LEASES, USERS]);
  await sql(db, 'records', `INSERT INTO usage_record (lease_id, account_id, created_at, reserved_s) SELECT id, account_id, created_at, duration_s FROM lease`);
  await sql(db, 'intervals', `INSERT INTO usage_interval (lease_id, node, start_at, memory_mb, cores) SELECT id, 'n', created_at, 128, 1 FROM lease`);
  await sql(db, 'days', `INSERT INTO usage_day (account_id, day, total) SELECT id, (now() AT TIME ZONE 'UTC')::date - d, 100 * (60 - d) FROM account, generate_series(0, 59) d`);
  await sql(db, 'charged', 'UPDATE account_use SET charged_minutes = 6000');
  await sql(db, 'site-days', `INSERT INTO usage_site_day (day, part, minutes) SELECT (now() AT TIME ZONE 'UTC')::date - d, p, 12500 FROM generate_series(0, 59) d, generate_series(0, 7) p`);
  if (policies) await addPolicies(db);
  await sql(db, 'analyze', 'ANALYZE');
}

async function addPolicies(db: Db): Promise<void> {
  const bounds = (n: number): string => JSON.stringify({ leases: n, cores: 8 * n, memory_mb: 4096 * n, group_size: 50, duration: 7 * 86_400, reserved_minutes: 100_000 * n, used_minutes: 100_000 * n, zones: ["*"], images: ['common/*', '~/*'], types: ['m1.*'], networks: ['public'] });
  await sql(db, 'templates', `INSERT INTO policy (name, kind, bounds, created_at, changed_at) SELECT 't' || i, 'template', $2::jsonb, now(), now() FROM generate_series(0, $1::int - 1) i`, [TEMPLATES, bounds(100_000)]);
  await sql(db, 'group-policies', `INSERT INTO policy (name, kind, bounds, created_at, changed_at) SELECT 'g' || i, 'group', $2::jsonb, now(), now() FROM generate_series(0, $1::int - 1) i`, [GROUPS, bounds(1_000_000)]);
  await sql(db, 'site', `INSERT INTO policy (name, kind, bounds, created_at, changed_at) VALUES ('site', 'site', '{"leases":10000000,"cores":10000000,"memory_mb":100000000,"reserved_minutes":1000000000}', now(), now())`);
  await sql(db, 'assign', `
    INSERT INTO policy_user (account_id, policy_id, template)
    SELECT a.id, p.id, p.kind = 'template' FROM account a JOIN policy p ON p.name IN ('t' || a.id % $1::int, 'g' || a.id % $2::int)`, [TEMPLATES, GROUPS]);
}

interface Side {
  readonly db: Db;
  readonly manager: FullManager;
  close(): Promise<void>;
}

async function open(policies: boolean): Promise<Side> {
  const { db, close } = await openTestDatabase({ max: 8 });
  await populate(db, policies);
  const pool = createNodePool({ db, clock: ctx.clock, strategy: 'round-robin', reachable: () => true });
  return { db, close, manager: createManager({ ctx, db, config, control: createFakeControl(ctx.clock), pool, handOver: () => undefined }) };
}

const caller = (n: number): Caller => ({ accountId: n, name: `u${n}`, ownerId: String(n).padStart(12, '0'), requestId: `r${n}`, door: 'ec2', admin: false });
let next = 0;
const someone = (): Caller => caller(1 + ((next += 37) % USERS));
const request = { minCount: 1, maxCount: 1, image: 'guest', type: 'm1.small' };

/** What two questions to the database cost by themselves: the floor under every check with policies. */
async function nothing({ db }: Side): Promise<number> {
  return db.transaction(async (tx) => {
    const started = performance.now();
    for (const _ of [1, 2]) await tx.query(statement('bench-nothing', 'SELECT 1'));
    return performance.now() - started;
  });
}

/** Time from the lock to the decision, inside a transaction that then ends. */
async function check({ db }: Side, requests: number): Promise<number> {
  const orders = await Promise.all(Array.from({ length: requests }, async () => [await lookUp({ ctx, db, config }, someone(), request)] as const));
  return db.transaction(async (tx) => {
    const started = performance.now();
    const budgets = await openBudgets(tx, config, orders.map(([r]) => r.accountId), { now: ctx.clock.now(), lock: true, kind: 'create' });
    for (const order of orders) {
      const ask = askOf(config, order, ['default']);
      if (!(await budgets.decide(order[0].accountId, ask)).allowed) throw new Error('refused');
      budgets.take(order[0].accountId, ask, [1]);
    }
    return performance.now() - started;
  });
}

async function creates({ manager }: Side, atOnce: number): Promise<number> {
  const started = performance.now();
  for (let made = 0; made < CREATES; made += atOnce) await Promise.all(Array.from({ length: atOnce }, () => manager.leases.create(someone(), request)));
  return (performance.now() - started) / CREATES;
}

const quantile = (values: number[], q: number): number => [...values].sort((a, b) => a - b)[Math.floor(q * (values.length - 1))] ?? NaN;
const show = (ms: number): string => `${ms.toFixed(3)} ms`;

const [bare, full] = [await open(false), await open(true)];
try {
  for (const side of [bare, full]) for (let i = 0; i < 20; i++) await check(side, 1);
  for (const n of [1, 64]) {
    const times = { bare: [] as number[], full: [] as number[], floor: [] as number[] };
    for (let i = 0; i < CHECKS / (n === 1 ? 1 : 10); i++) {
      times.bare.push(await check(bare, n));
      times.full.push(await check(full, n));
      times.floor.push(await nothing(full));
    }
    const each = (values: number[], q: number): string => show(quantile(values, q) / n);
    console.log(`check of ${n === 1 ? '1 request ' : '64 at once'}  p50 ${each(times.full, 0.5)} each, p99 ${each(times.full, 0.99)}   without policies ${each(times.bare, 0.5)}, ${each(times.bare, 0.99)}   two empty statements ${show(quantile(times.floor, 0.5))}`);
  }
  for (const atOnce of [1, 64]) {
    const times = { bare: [] as number[], full: [] as number[] };
    for (let i = 0; i < ROUNDS * 3; i++) {
      times.bare.push(await creates(bare, atOnce));
      times.full.push(await creates(full, atOnce));
    }
    const [without, withPolicies] = [quantile(times.bare, 0.5), quantile(times.full, 0.5)];
    console.log(`create, ${String(atOnce).padStart(2)} at once   ${show(withPolicies)} each with policies, ${show(without)} without: ${(withPolicies / without).toFixed(2)} times, ${show(withPolicies - without)} more   target ${TARGET_MS} ms: ${withPolicies - without <= TARGET_MS ? 'met' : 'MISSED'}`);
  }
} finally {
  await Promise.all([bare.close(), full.close()]);
}
