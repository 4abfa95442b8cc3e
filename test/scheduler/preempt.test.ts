import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plan } from '../../src/scheduler/plan.ts';
import { Pool } from '../../src/scheduler/pool.ts';
import { preempt, type Preemptible } from '../../src/scheduler/preempt.ts';
import { isRefusal, type PlanRequest, type PoolNode } from '../../src/scheduler/types.ts';
import { node, request } from './nodes.ts';

const lease = (id: string, on: number, more: Partial<Preemptible> = {}): Preemptible => ({ id, node: on, memoryMb: 128, cores: 1, price: 1, createdAt: 0, roomAt: null, doubtful: false, ...more });
const full = (id: number, more: Partial<PoolNode> = {}): PoolNode => node(id, { memoryMb: 256, cores: 4, memoryUsed: 256, coresUsed: 2, ...more });
const made = (nodes: PoolNode[], asked: PlanRequest, leases: Preemptible[]) => preempt(new Pool(nodes), asked, leases);
const chosen = (nodes: PoolNode[], asked: PlanRequest, leases: Preemptible[]) => made(nodes, asked, leases)?.end;

describe('who ends', () => {
  test('the cheapest, of these the newest, and no more than are needed', () => {
    const leases = [lease('old', 1, { createdAt: 1 }), lease('new', 1, { createdAt: 2 }), lease('dear', 2, { price: 2, createdAt: 9 }), lease('cheap', 2, { price: 0.5 })];
    const nodes = [full(1), full(2)];
    expect(chosen(nodes, request(1), leases)).toEqual(['cheap']);
    expect(chosen(nodes, request(2), leases)).toEqual(['cheap', 'new']);
    expect(chosen(nodes, request(4), leases)).toEqual(['cheap', 'new', 'old', 'dear']);
  });

  test('last who is where others do not end', () => {
    const leases = [lease('cheap', 1, { price: 0.5, doubtful: true }), lease('a', 2), lease('b', 2, { createdAt: 1 })];
    expect(chosen([full(1), full(2)], request(1), leases)).toEqual(['b']);
    expect(chosen([full(1), full(2)], request(3), leases)).toEqual(['b', 'a', 'cheap']);
  });

  test('nobody when all of them are too few', () => {
    expect(chosen([full(1), full(2)], request(3), [lease('a', 1), lease('b', 2)])).toBeUndefined();
    expect(chosen([full(1)], request(1), [])).toBeUndefined();
    expect(chosen([full(1, { active: false })], request(1), [lease('a', 1)])).toBeUndefined();
  });

  test('not who is where the request cannot go, however cheap', () => {
    const leases = [lease('elsewhere', 1, { price: 0.1 }), lease('here', 2)];
    expect(chosen([full(1), full(2, { zone: 'east' })], request(1, { zone: 'east' }), leases)).toEqual(['here']);
  });

  test('nobody more when what ends already is enough', () => {
    expect(made([full(1)], request(1), [lease('ending', 1, { roomAt: 1, price: 9 }), lease('other', 1)])).toEqual({ end: [], ending: ['ending'] });
  });

  test('what else ends is not waited for: where nobody answers, where the request cannot go, where it is not enough, or later', () => {
    const off = [full(1), full(2, { reachable: false })];
    expect(made(off, request(1), [lease('lost', 2, { roomAt: 1 }), lease('here', 1)])).toEqual({ end: ['here'], ending: [] });
    const zones = [full(1), full(2, { zone: 'east' })];
    expect(made(zones, request(1, { zone: 'east' }), [lease('west', 1, { roomAt: 1 }), lease('east', 2)])).toEqual({ end: ['east'], ending: [] });
    const large = request(1, { memoryMb: 256, cores: 2 });
    expect(made([full(1), full(2)], large, [lease('half', 1, { roomAt: 1 }), lease('a', 2), lease('b', 2)])).toEqual({ end: ['a', 'b'], ending: [] });
    expect(made([full(1), full(2)], large, [lease('half', 2, { roomAt: 1 }), lease('other', 2), lease('alone', 1)])).toEqual({ end: ['other'], ending: ['half'] });
    expect(made([full(1), full(2)], request(1), [lease('late', 1, { roomAt: 9 }), lease('soon', 2, { roomAt: 1 })])).toEqual({ end: [], ending: ['soon'] });
  });

  test('who is newer than the snapshot is left alone', () => {
    expect(chosen([node(1, { memoryMb: 256, cores: 4, memoryUsed: 128, coresUsed: 1 })], request(2), [lease('known', 1), lease('unknown', 1)])).toEqual(['known']);
  });
});

test('whatever the site, what is chosen or waited for is enough, all of it is needed, none is chosen that is not there, and the pool stays as it was', () => {
  const site = fc.array(fc.record({ memory: fc.constantFrom(2, 4, 8), zone: fc.constantFrom('default', 'east'), others: fc.nat({ max: 3 }), active: fc.boolean() }), { minLength: 1, maxLength: 5 });
  const wanted = fc.array(fc.record({ node: fc.nat({ max: 4 }), units: fc.integer({ min: 1, max: 3 }), price: fc.constantFrom(0.5, 1, 2), at: fc.nat({ max: 3 }), roomAt: fc.constantFrom(null, 1, 2), doubtful: fc.boolean() }), { maxLength: 10 });
  const asked = fc.record({ units: fc.integer({ min: 1, max: 4 }), count: fc.integer({ min: 1, max: 4 }), zone: fc.constantFrom(undefined, 'east') });
  fc.assert(fc.property(site, wanted, asked, (nodes, leases, ask) => {
    const used = nodes.map((n) => Math.min(n.others, n.memory));
    const there = leases.flatMap((l, i): Preemptible[] => {
      const at = l.node % nodes.length;
      if ((used[at] ?? 0) + l.units > (nodes[at]?.memory ?? 0)) return [];
      used[at] = (used[at] ?? 0) + l.units;
      return [{ id: `l${i}`, node: at + 1, memoryMb: l.units * 128, cores: l.units, price: l.price, createdAt: l.at, roomAt: l.roomAt, doubtful: l.doubtful }];
    });
    const pool = new Pool(nodes.map((n, i) => node(i + 1, { memoryMb: n.memory * 128, cores: n.memory, memoryUsed: (used[i] ?? 0) * 128, coresUsed: used[i] ?? 0, zone: n.zone, active: n.active })));
    const wish: PlanRequest = request(ask.count, { memoryMb: ask.units * 128, cores: ask.units, zone: ask.zone });
    const before = JSON.stringify([...pool.nodes()]);
    const enough = (...ids: string[]): boolean => {
      const after = new Pool(pool.nodes());
      for (const l of there) if (ids.includes(l.id)) after.release(l.node, l);
      return !isRefusal(plan(after, wish, 'greedy'));
    };
    const answer = preempt(pool, wish, there);
    expect(JSON.stringify([...pool.nodes()].sort((a, b) => a.id - b.id))).toBe(JSON.stringify((JSON.parse(before) as PoolNode[]).sort((a, b) => a.id - b.id)));
    const [ending, others] = [there.filter((l) => l.roomAt !== null).map((l) => l.id), there.filter((l) => l.roomAt === null).map((l) => l.id)];
    if (answer === undefined) {
      expect(enough(...ending, ...others)).toBe(false);
      return;
    }
    expect(others).toEqual(expect.arrayContaining([...answer.end]));
    expect(ending).toEqual(expect.arrayContaining([...answer.ending]));
    expect(enough(...answer.end, ...answer.ending)).toBe(true);
    for (const id of answer.end) expect(enough(...ending, ...answer.end.filter((a) => a !== id))).toBe(false);
    for (const id of answer.ending) expect(enough(...answer.end, ...answer.ending.filter((a) => a !== id))).toBe(false);
  }), { numRuns: 500 });
});
