/** Accounting sinks: events are written with what they tell of, and delivered in order until the sink has taken them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { usageAdministration } from '../../src/manager/admin/usage.ts';
import type { Clock, Timer } from '../../src/platform/context.ts';
import { createOutsideModule } from '../../src/platform/outside/module.ts';
import { OutsideFailed, type Outside } from '../../src/platform/outside/index.ts';
import { realClock } from '../../src/platform/real.ts';
import { statement, type Db } from '../../src/store/db.ts';
import { createUsageSinks, type Sink, type UsageSinks } from '../../src/workers/usage-sinks.ts';
import { testContext, type TestContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

interface Event { readonly id: string; readonly kind: string; readonly lease: string; readonly user: string; readonly [fact: string]: unknown }
interface Delivery { readonly sink: string; readonly events: readonly Event[] }

let site: TestSite;
let held: TestDatabase;
let ctx: TestContext;
let clock: Clock & { pass(ms: number): void };
let workers: UsageSinks[];
let got: Delivery[];
let take: (d: Delivery) => void | Promise<void>;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });
beforeEach(async () => {
  site = await openTestSite();
  clock = handClock();
  ctx = testContext({ clock });
  workers = [];
  got = [];
  take = () => undefined;
});
afterEach(async () => {
  await Promise.all(workers.map((w) => w.stop()));
  await site.settled();
  await site.close();
});

/** Time passes when the test says so. */
function handClock(): Clock & { pass(ms: number): void } {
  let now = realClock.now();
  const timers = new Set<Timer & { at: number; fn: () => void }>();
  return {
    now: () => now, monotonic: () => now,
    after(ms, fn) {
      const timer = { at: now + ms, fn, cancel: () => void timers.delete(timer) };
      timers.add(timer);
      return timer;
    },
    pass(ms) {
      now += ms;
      for (const t of [...timers].filter((x) => x.at <= now)) {
        timers.delete(t);
        t.fn();
      }
    },
  };
}

const scripted: Outside = {
  async ask(input) {
    const d = input as Delivery;
    got.push(d);
    await take(d);
    return undefined;
  },
  close: () => Promise.resolve(),
};
const sink = (over: Partial<Sink> = {}): Sink => ({ name: 'billing', outside: scripted, deadlineMs: 1_000, keep: 1_000, ...over });

async function start(sinks: readonly Sink[] = [sink()], db: Db = site.db): Promise<UsageSinks> {
  const w = createUsageSinks(ctx, db, sinks);
  workers.push(w);
  await w.start();
  return w;
}
const sinks = () => usageAdministration({ ctx, db: site.db, config: site.config }).sinks();

/** Lets rounds of the workers come and go until it is so. */
async function until(so: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await so())) {
    clock.pass(1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
const delivered = () => until(async () => (await sinks()).every((s) => s.backlog === 0));
const lease = async (durationS = 3600): Promise<string> => (await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest', type: 'm1.small', durationS })).leases[0]?.id ?? '';
const live = async (): Promise<string> => {
  const id = await lease();
  await site.settled();
  await site.manager.leases.setEnd(site.alice, [id], { durationS: 7200 });
  await site.manager.leases.end(site.alice, [id], 'test');
  await site.settled();
  return id;
};

describe('a lease', () => {
  it('is told whole, in order, with what each event is about', async () => {
    await start();
    const id = await live();
    await delivered();
    const events = got.flatMap((d) => d.events);
    expect(events.map((e) => e.kind)).toEqual(['record-opened', 'interval-opened', 'reservation-moved', 'interval-closed', 'record-closed']);
    expect(new Set(events.map((e) => `${e.lease} ${e.user} ${String(e['ownerId'])}`))).toEqual(new Set([`${id} alice 000000000000`]));
    expect(events[0]).toMatchObject({ at: expect.any(Number) as number, reservedSeconds: 3600 });
    expect(events[1]).toMatchObject({ at: expect.any(Number) as number, node: expect.stringMatching(/^n\d$/) as string, memoryMb: 128, cores: 1, interval: expect.any(Number) as number });
    expect(events[2]).toMatchObject({ reservedSecondsBefore: 3600 });
    expect(events[3]).toMatchObject({ interval: events[1]?.['interval'], startedAt: events[1]?.['at'] });
    expect(events[4]).toMatchObject({ chargedMinutes: 1 });
    expect(new Set(events.map((e) => e.id)).size).toBe(5);
    expect(await sinks()).toMatchObject([{ name: 'billing', active: true, backlog: 0, delivered: 5, dropped: 0, attempts: 0, lastError: null }]);
  });

  it('whose transaction is rolled back is told of no more than it exists', async () => {
    await start();
    await expect(site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest', type: 'm1.small' }, { dryRun: true })).rejects.toMatchObject({ code: 'DryRun' });
    const id = await lease();
    await expect(site.manager.leases.setEnd(site.alice, [id], { durationS: 7200 }, { dryRun: true })).rejects.toMatchObject({ code: 'DryRun' });
    await site.settled();
    await delivered();
    expect(got.flatMap((d) => d.events.map((e) => e.kind))).toEqual(['record-opened', 'interval-opened']);
  });

  it('is told to nobody where there is no sink', async () => {
    await live();
    expect(await site.db.query(statement<{ n: number }>('test-events', 'SELECT count(*) AS n FROM usage_event'))).toEqual([{ n: 0 }]);
  });
});

describe('a sink that does not take events', () => {
  it('gets them again, the same and in the same order, ever more seldom, and says so', async () => {
    await start();
    let failures = 4;
    const times: number[] = [];
    take = () => {
      times.push(clock.now());
      if (failures-- > 0) throw new OutsideFailed('the ledger is closed');
    };
    await live();
    await until(async () => {
      const [s] = await sinks();
      if (got.length === 1 && s?.attempts === 1) expect(s).toMatchObject({ backlog: 5, lastError: 'the ledger is closed', delivered: 0 });
      return s?.backlog === 0;
    });
    const [first] = got;
    expect(got).toHaveLength(5);
    for (const d of got) expect(d.events.map((e) => e.id)).toEqual(first?.events.map((e) => e.id));
    const pauses = times.slice(1).map((t, i) => t - (times[i] ?? 0));
    expect(pauses.every((p, i) => p >= 1_000 * 2 ** i)).toBe(true);
    expect(ctx.lines.filter((l) => l.level === 'warn').map((l) => l.fields)).toMatchObject([1, 2, 3, 4].map((attempts) => ({ sink: 'billing', attempts, error: 'the ledger is closed' })));
  });

  it('keeps no other from its events', async () => {
    take = (d) => { if (d.sink === 'billing') throw new OutsideFailed('no'); };
    await start([sink(), sink({ name: 'audit' })]);
    await lease();
    await site.settled();
    await until(async () => (await sinks()).find((s) => s.name === 'audit')?.delivered === 2);
    expect((await sinks()).find((s) => s.name === 'billing')).toMatchObject({ backlog: 2, delivered: 0 });
  });

  it('has a bound on what waits: the oldest are dropped, counted and logged', async () => {
    take = () => { throw new OutsideFailed('no'); };
    await start([sink({ keep: 3 })]);
    await live();
    await until(async () => ((await sinks())[0]?.dropped ?? 0) > 0);
    expect(await sinks()).toMatchObject([{ backlog: 3, dropped: 2 }]);
    expect(ctx.lines.filter((l) => l.level === 'error').map((l) => l.fields)).toMatchObject([{ sink: 'billing', dropped: 2, keep: 3 }]);
  });

  it('that is taken from the configuration is told of nothing new, and keeps what it has not taken', async () => {
    take = () => { throw new OutsideFailed('no'); };
    const first = await start();
    await lease();
    await site.settled();
    await first.stop();
    await start([]);
    await lease();
    await site.settled();
    expect(await sinks()).toMatchObject([{ active: false, backlog: 2 }]);
  });
});

describe('two services', () => {
  it('deliver each event once, in order, while both live', async () => {
    await start();
    await start();
    await Promise.all(Array.from({ length: 10 }, () => lease()));
    await site.settled();
    await delivered();
    const all = got.flatMap((d) => d.events.map((e) => Number(e.id)));
    expect(all).toEqual([...all].sort((a, b) => a - b));
    expect(new Set(all).size).toBe(20);
    expect(all).toHaveLength(20);
  });

  it('take over from one that died after the sink had the events and before that was written: they come again', async () => {
    // It never hears that its delivery is written down.
    const dying: Db = { ...site.db, query: (s, v) => (s.name === 'usage-delivered' ? new Promise(() => undefined) : site.db.query(s, v)) };
    const dead = createUsageSinks(ctx, dying, [sink()]);
    await dead.start();
    await lease();
    await site.settled();
    await until(() => got.length === 1);
    await start();
    await delivered();
    expect(got).toHaveLength(2);
    expect(got[1]).toEqual(got[0]);
  });
});

it('an event whose transaction ended late comes late, with a higher id than those before it', async () => {
  await start();
  const put = statement('test-put', "INSERT INTO usage_event (sink, kind, lease_id, body) VALUES ('billing', $1, 'i-1', '{}')");
  let finish: (() => void) | undefined;
  const slow = site.db.transaction(async (tx) => {
    await tx.query(put, ['late']);
    await new Promise<void>((resolve) => { finish = resolve; });
  });
  await until(() => finish !== undefined);
  await site.db.query(put, ['early']);
  await until(() => got.length === 1);
  finish?.();
  await slow;
  await delivered();
  expect(got.flatMap((d) => d.events.map((e) => [e.id, e.kind]))).toEqual([['1', 'early'], ['2', 'late']]);
});

it('the example writes each event once, however often it is told', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sink-'));
  const file = join(dir, 'usage.jsonl');
  process.env['USAGE_EVENTS_FILE'] = file;
  const outside = createOutsideModule(testContext(), { file: fileURLToPath(new URL('../../etc/examples/sink.mjs', import.meta.url)), exported: 'receive', deadlineMs: 10_000 });
  try {
    await outside.ask({ events: [{ id: '9' }, { id: '10' }] });
    await outside.ask({ events: [{ id: '9' }, { id: '10' }, { id: '11' }] });
    expect(readFileSync(file, 'utf8')).toBe('{"id":"9"}\n{"id":"10"}\n{"id":"11"}\n');
  } finally {
    delete process.env['USAGE_EVENTS_FILE'];
    await outside.close();
    rmSync(dir, { recursive: true });
  }
});
