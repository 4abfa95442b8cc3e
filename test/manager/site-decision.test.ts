/** The site's own decision on a whole site: asked before anything is locked, heard in every door's way in. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fileURLToPath } from 'node:url';
import type { CreateRequest } from '../../src/lease/types.ts';
import { createManager, type FullManager } from '../../src/manager/index.ts';
import { createNodePool } from '../../src/manager/pool.ts';
import { createSiteDecision } from '../../src/manager/site-decision.ts';
import { createOutsideModule } from '../../src/platform/outside/module.ts';
import { OutsideFailed, type Outside } from '../../src/platform/outside/index.ts';
import { statement } from '../../src/store/db.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { policiesOf } from '../support/policies.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
let held: TestDatabase;
let asked: Array<Record<string, unknown>>;
let answer: (input: Record<string, unknown>) => unknown;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });
beforeEach(async () => {
  site = await openTestSite();
  asked = [];
  answer = () => ({ allow: true });
});
afterEach(async () => {
  await site.settled();
  await site.close();
});

const scripted: Outside = {
  ask: async (input) => {
    asked.push(input as Record<string, unknown>);
    return answer(input as Record<string, unknown>);
  },
  close: () => Promise.resolve(),
};
const decision = (onFailure: 'refuse' | 'allow' = 'refuse', outside = scripted) => createSiteDecision({ ctx: site.ctx, db: site.db, outside, onFailure });

function manager(onFailure: 'refuse' | 'allow' = 'refuse'): FullManager {
  const { ctx, db, config, control } = site;
  const pool = createNodePool({ db, clock: ctx.clock, strategy: 'greedy', reachable: () => true });
  return createManager({ ctx, db, config, control, pool, handOver: (intents) => site.dispatcher.handOver(intents), decision: decision(onFailure) });
}
const request = (over: Partial<CreateRequest> = {}): CreateRequest => ({ minCount: 1, maxCount: 2, image: 'guest', type: 'm1.small', ...over });
const leases = async (): Promise<number> => (await site.db.query(statement<{ n: number }>('test-leases', 'SELECT count(*) AS n FROM lease')))[0]?.n ?? 0;

describe('a create', () => {
  it('is described whole, without what is secret', async () => {
    await manager().leases.create(site.alice, request({ durationS: 600, userData: Buffer.from('secret'), tags: { project: 'x' } }));
    expect(asked).toEqual([{
      version: 1, kind: 'create', explain: false, requestId: 'req-alice', at: expect.any(Number) as number, user: { name: 'alice', ownerId: '000000000000', admin: false },
      requests: [{
        count: { min: 1, max: 2 }, type: 'm1.small', memoryMb: 128, cores: 1, diskMb: 0, image: { id: site.imageId, name: 'guest', owner: null }, networks: ['public'],
        zone: null, durationS: 600, keyName: null, tags: { project: 'x' },
      }],
    }]);
  });

  it('is refused with the site’s words, bounded, and nothing is made', async () => {
    answer = () => ({ allow: false, reasons: ['not on Sundays', `${'x'.repeat(1000)}`, ...Array<string>(20).fill('more')] });
    const refused = await manager().leases.create(site.alice, request()).catch((e: unknown) => e as { code: string; ec2: string; reasons: string[] });
    expect(refused).toMatchObject({ code: 'NotAuthorized', ec2: 'UnauthorizedOperation' });
    expect((refused as { reasons: string[] }).reasons.slice(0, 2)).toEqual(['site decision: not on Sundays', `site decision: ${'x'.repeat(300)}`]);
    expect((refused as { reasons: string[] }).reasons).toHaveLength(10);
    expect(await leases()).toBe(0);
  });

  it('is asked of an ensemble once, for all groups', async () => {
    await manager().leases.createEnsemble(site.alice, [request(), request({ minCount: 2 })]);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.['requests']).toHaveLength(2);
  });

  it('that was granted is answered again whatever the site says now', async () => {
    const m = manager();
    const first = await m.leases.create(site.alice, request({ clientToken: 'once' }));
    answer = () => ({ allow: false });
    expect(await m.leases.create(site.alice, request({ clientToken: 'once' }))).toMatchObject({ id: first.id, repeated: true });
    answer = () => { throw new OutsideFailed('gone'); };
    expect(await m.leases.create(site.alice, request({ clientToken: 'once' }))).toMatchObject({ id: first.id, repeated: true });
    await expect(m.leases.create(site.alice, request({ clientToken: 'other' }))).rejects.toMatchObject({ code: 'DecisionFailed' });
  });

  it('holds no locks while the site thinks', async () => {
    const m = manager();
    let think: (allow: object) => void = () => undefined;
    answer = () => new Promise((resolve) => { think = resolve; });
    const waiting = m.leases.create(site.alice, request());
    while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect((await site.manager.leases.create(site.alice, request())).leases).toHaveLength(2);
    await policiesOf(site).set('site', { leases: 100 });
    think({ allow: true });
    expect((await waiting).leases).toHaveLength(2);
  });
});

describe('no way in passes by', () => {
  it('each group of an ensemble that grid clients gather is asked for when it comes', async () => {
    const m = manager();
    const grid = { name: 'http://example/workspace', nics: ['eth0'], architecture: 'x86', cores: false, target: null, saveAs: null };
    const [first] = await m.workspaces.create(site.alice, request({ maxCount: 1, grid: { ...grid, ensemble: 'new' } }));
    const key = first?.grid?.ensemble ?? '';
    answer = () => ({ allow: false, reasons: ['one is enough'] });
    const second = m.workspaces.create(site.alice, request({ maxCount: 1, grid: { ...grid, ensemble: { join: key } } }));
    await expect(second).rejects.toMatchObject({ code: 'NotAuthorized', reasons: ['site decision: one is enough'] });
    expect(asked).toHaveLength(2);
    await m.workspaces.change(site.alice, { ensemble: key }, { to: 'end' });
  });

  it('a spot request is asked for at each try to give it a lease', async () => {
    const m = manager();
    await m.spot.request(site.alice, { count: 1, price: 1, persistent: false, launch: request({ maxCount: 1 }) });
    expect(asked).toEqual([]);
    answer = () => ({ allow: false, reasons: ['not now'] });
    expect(await m.work.spot()).toBe(0);
    expect(await m.spot.list(site.alice)).toMatchObject([{ code: 'constraint-not-fulfillable', leaseId: null }]);
    answer = () => ({ allow: true });
    await site.db.query(statement('test-spot-due', 'UPDATE spot_request SET next_at = created_at'), []);
    expect(await m.work.spot()).toBe(1);
    expect(asked).toMatchObject([{ kind: 'create', user: { name: 'alice' } }, { kind: 'create', user: { name: 'alice' } }]);
  });
});

describe('without an answer', () => {
  it.each<[string, () => unknown]>([
    ['it failed', () => { throw new OutsideFailed('it did not answer within 2000 ms'); }],
    ['it answers something else', () => ({ allowed: true })],
    ['it answers yes in words', () => ({ allow: 'yes' })],
    ['it answers nothing', () => undefined],
  ])('%s: refused, or allowed where the configuration says so; logged', async (_what, failing) => {
    answer = failing;
    await expect(manager().leases.create(site.alice, request())).rejects.toMatchObject({ code: 'DecisionFailed', ec2: 'Unavailable', http: 503, reasons: [] });
    expect(await leases()).toBe(0);
    expect((await manager('allow').leases.create(site.alice, request())).leases).toHaveLength(2);
    expect(site.ctx.lines.filter((l) => l.level === 'error').map((l) => l.fields)).toMatchObject([{ requestId: 'req-alice', user: 'alice', then: 'refuse' }, { then: 'allow' }]);
  });
});

describe('a later end', () => {
  it('is asked for one’s own leases that would end later, through both ways in', async () => {
    const m = manager();
    const { leases: [lease] } = await m.leases.create(site.alice, request({ durationS: 600 }));
    const id = lease?.id ?? '';
    asked.length = 0;
    await m.leases.setEnd(site.alice, [id], { durationS: 300 });
    await m.leases.setEnd(site.admin, [id], { durationS: 900 });
    expect(asked).toEqual([]);
    answer = () => ({ allow: false, reasons: ['no longer'] });
    await expect(m.leases.setEnd(site.alice, [id], { durationS: 1200 })).rejects.toMatchObject({ code: 'NotAuthorized', reasons: ['site decision: no longer'] });
    await expect(m.tags.set(site.alice, [id], { 'nimbus:duration': '20m' }, { end: { durationS: 1200 } })).rejects.toMatchObject({ code: 'NotAuthorized' });
    expect(asked).toMatchObject([{ kind: 'extend', leases: [{ id, type: 'm1.small', image: 'guest' }] }, { kind: 'extend' }]);
  });
});

describe('another type', () => {
  /** Stopped, so that its type can be changed. */
  async function stopped(m: FullManager): Promise<string> {
    const { leases: [lease] } = await m.leases.create(site.alice, request({ maxCount: 1, durationS: 600, tags: { project: 'x' } }));
    await site.settled();
    await m.leases.stop(site.alice, [lease?.id ?? '']);
    await site.settled();
    asked.length = 0;
    return lease?.id ?? '';
  }

  it('is asked for as a request of that size, and is not had when the site refuses', async () => {
    const m = manager();
    const id = await stopped(m);
    answer = ({ requests }) => ((requests as Array<{ cores: number }>).some((r) => r.cores >= 4) ? { allow: false, reasons: ['at most 3 cores'] } : { allow: true });
    for (const dryRun of [false, true]) {
      await expect(m.leases.setAttributes(site.alice, id, { type: 'm1.xlarge' }, { dryRun })).rejects.toMatchObject({ code: 'NotAuthorized', reasons: ['site decision: at most 3 cores'] });
    }
    expect(await m.leases.attributes(site.alice, id)).toMatchObject({ type: 'm1.small' });
    expect(asked[0]).toEqual({
      version: 1, kind: 'resize', explain: false, requestId: 'req-alice', at: expect.any(Number) as number, user: { name: 'alice', ownerId: '000000000000', admin: false },
      requests: [{
        count: { min: 1, max: 1 }, type: 'm1.xlarge', memoryMb: 1024, cores: 4, diskMb: 0, image: { id: site.imageId, name: 'guest', owner: null }, networks: ['public'],
        zone: 'default', durationS: 600, keyName: null, tags: { project: 'x' },
      }],
      leases: [{
        id, type: 'm1.small', memoryMb: 128, cores: 1, image: 'guest', zone: 'default', createdAt: expect.any(Number) as number, endsAt: expect.any(Number) as number,
        tags: { project: 'x' }, newType: 'm1.xlarge', newMemoryMb: 1024, newCores: 4,
      }],
    });
    await m.leases.setAttributes(site.alice, id, { type: 'm1.large' });
    expect(await m.leases.attributes(site.alice, id)).toMatchObject({ type: 'm1.large' });
    answer = () => { throw new OutsideFailed('gone'); };
    await expect(m.leases.setAttributes(site.alice, id, { type: 'm1.small' })).rejects.toMatchObject({ code: 'DecisionFailed' });
  });

  it('is asked for by nobody but the lease’s user, and of nothing but types', async () => {
    const m = manager();
    const id = await stopped(m);
    answer = () => ({ allow: false });
    await expect(m.leases.setAttributes(site.bob, id, { type: 'm1.large' })).rejects.toMatchObject({ code: 'LeaseNotFound' });
    await expect(m.leases.setAttributes(site.alice, id, { type: 'none' })).rejects.toMatchObject({ code: 'TypeUnknown' });
    await m.leases.setAttributes(site.alice, id, { rests: true });
    await m.leases.start(site.alice, [id]);
    await site.settled();
    await m.leases.stop(site.alice, [id]);
    await site.settled();
    await m.leases.setAttributes(site.admin, id, { type: 'm1.large' });
    expect(asked).toEqual([]);
  });
});

it('explain asks too, and says that it only asks', async () => {
  answer = () => ({ allow: false, reasons: ['not on Sundays'] });
  const { admin } = policiesOf(site, decision());
  expect(await admin.explain(site.admin, 'alice', request())).toMatchObject({ allowed: false, site: { allowed: false, reasons: ['not on Sundays'], failure: null } });
  expect(asked).toMatchObject([{ explain: true, user: { name: 'alice' } }]);
  answer = () => { throw new OutsideFailed('gone'); };
  expect(await policiesOf(site, decision('allow')).admin.explain(site.admin, 'alice', request())).toMatchObject({ allowed: true, site: { allowed: true, failure: 'gone' } });
});

it('the example decides as it says', async () => {
  const outside = createOutsideModule(site.ctx, { file: fileURLToPath(new URL('../../etc/examples/decide.mjs', import.meta.url)), exported: 'decide', deadlineMs: 10_000 });
  const at = (hour: number, cores: number, tags: object, kind = 'create') => outside.ask({ kind, at: Date.UTC(2026, 0, 1, hour), requests: [{ cores, tags }] });
  try {
    expect(await at(12, 1, { project: 'x' })).toEqual({ allow: true });
    expect(await at(21, 8, { project: 'x' })).toEqual({ allow: true });
    expect(await at(12, 8, { project: 'x' }, 'resize')).toMatchObject({ allow: false, reasons: [expect.stringContaining('20:00') as string] });
    expect(await at(12, 8, {})).toMatchObject({ allow: false, reasons: [expect.stringContaining('20:00') as string, expect.stringContaining('project') as string] });
  } finally {
    await outside.close();
  }
});
