/** The indexed pool against the plainest implementation there is. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plan } from '../../src/scheduler/plan.ts';
import { Pool } from '../../src/scheduler/pool.ts';
import { fits } from '../../src/scheduler/rules/index.ts';
import { isRefusal, STRATEGIES, type PlanRequest, type PoolNode, type StrategyName } from '../../src/scheduler/types.ts';

const arbNode = (id: number): fc.Arbitrary<PoolNode> =>
  fc.record({
    memoryMb: fc.constantFrom(0, 256, 512, 1000, 1024), cores: fc.integer({ min: 0, max: 6 }),
    memoryShare: fc.constantFrom(0, 0, 0.25, 0.5, 1), coresUsed: fc.integer({ min: 0, max: 6 }),
    zone: fc.constantFrom('east', 'west'), networks: fc.constantFrom(['*'], ['public'], ['public', 'private'], []),
    active: fc.boolean(), reachable: fc.boolean(),
  }).map(({ memoryShare, ...n }) => ({
    ...n, id, name: `n${(id * 7) % 11}-${id}`, memoryUsed: Math.floor(n.memoryMb * memoryShare), coresUsed: Math.min(n.coresUsed, n.cores),
    active: n.active || id % 2 === 0, reachable: n.reachable || id % 3 !== 0,
  }));
const arbNodes = fc.integer({ min: 0, max: 12 }).chain((n) => fc.tuple(...Array.from({ length: n }, (_, i) => arbNode(i + 1))));
const arbRequest: fc.Arbitrary<PlanRequest> = fc.record({
  memoryMb: fc.constantFrom(64, 128, 250, 512), cores: fc.integer({ min: 1, max: 3 }),
  networks: fc.constantFrom([], ['public'], ['private']), zone: fc.constantFrom(undefined, 'east'),
  minCount: fc.integer({ min: 1, max: 6 }), more: fc.integer({ min: 0, max: 6 }),
}).map(({ more, ...r }) => ({ ...r, maxCount: r.minCount + more }));
const arbStrategy = fc.constantFrom<StrategyName>(...STRATEGIES);

/** All nodes sorted anew for every VM. */
function naive(nodes: readonly PoolNode[], request: PlanRequest, strategy: StrategyName): number[] {
  const state = nodes.map((n) => ({ ...n }));
  const placed: number[] = [];
  const sign = strategy === 'greedy' ? -1 : 1;
  const share = (n: PoolNode): number => n.memoryUsed / n.memoryMb;
  while (placed.length < request.maxCount) {
    const [best] = state.filter((n) => fits(n, request)).sort((a, b) =>
      sign * (share(a) - share(b)) || sign * (a.coresUsed - b.coresUsed) || (a.name < b.name ? -1 : 1));
    if (best === undefined) break;
    best.memoryUsed += request.memoryMb;
    best.coresUsed += request.cores;
    placed.push(best.id);
  }
  return placed;
}

describe('plan', () => {
  test('places as the naive implementation does', () => {
    fc.assert(fc.property(arbNodes, arbRequest, arbStrategy, (nodes, request, strategy) => {
      const expected = request.zone !== undefined && !nodes.some((n) => n.zone === request.zone) ? [] : naive(nodes, request, strategy);
      const answer = plan(new Pool(nodes), request, strategy);
      if (expected.length >= request.minCount) expect(answer).toEqual({ nodes: expected });
      else expect(isRefusal(answer)).toBe(true);
    }), { numRuns: 500 });
  });

  test('a refusal has a reason for every node', () => {
    fc.assert(fc.property(arbNodes, arbRequest, arbStrategy, (nodes, request, strategy) => {
      const answer = plan(new Pool(nodes), request, strategy);
      if (!isRefusal(answer) || answer.code !== 'NoCapacity' || nodes.length === 0) return;
      expect(answer.reasons).toHaveLength(nodes.length);
      expect(answer.reasons.filter((r) => r.endsWith('fits'))).toEqual([]);
    }));
  });

  test('what is refused for ever is refused by the empty site too', () => {
    fc.assert(fc.property(arbNodes, arbRequest, arbStrategy, (nodes, request, strategy) => {
      const answer = plan(new Pool(nodes), request, strategy);
      if (!isRefusal(answer)) return;
      const empty = new Pool(nodes.map((n) => ({ ...n, memoryUsed: 0, coresUsed: 0, active: true, reachable: true })));
      expect(isRefusal(plan(empty, request, strategy))).toBe(answer.never);
    }));
  });
});

describe('pool', () => {
  type Step = { kind: 'create'; request: PlanRequest; strategy: StrategyName } | { kind: 'end'; which: number } | { kind: 'flip'; which: number } | { kind: 'drop'; which: number };
  const arbStep: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ kind: fc.constant('create' as const), request: arbRequest, strategy: arbStrategy }),
    fc.record({ kind: fc.constantFrom('end' as const, 'flip' as const, 'drop' as const), which: fc.nat(50) }),
  );

  test('is never oversubscribed and stays equal to a pool built anew, in any sequence', () => {
    fc.assert(fc.property(arbNodes, fc.array(arbStep, { maxLength: 25 }), (nodes, steps) => {
      const pool = new Pool(nodes);
      const leases: Array<{ node: number; room: PlanRequest }> = [];
      for (const step of steps) {
        const all = [...pool.nodes()];
        if (step.kind === 'create') {
          const fresh = plan(new Pool(all), step.request, step.strategy);
          const answer = plan(pool, step.request, step.strategy);
          expect(answer).toEqual(fresh);
          if (isRefusal(answer)) continue;
          pool.apply(answer, step.request);
          leases.push(...answer.nodes.map((node) => ({ node, room: step.request })));
        } else if (step.kind === 'end') {
          const [lease] = leases.splice(step.which % Math.max(1, leases.length), 1);
          if (lease !== undefined && pool.node(lease.node) !== undefined) pool.release(lease.node, lease.room);
        } else if (all.length > 0) {
          const node = all[step.which % all.length]!;
          if (step.kind === 'flip') pool.upsert({ ...node, active: !node.active });
          else pool.remove(node.id);
        }
        for (const n of pool.nodes()) {
          expect(n.memoryUsed).toBeLessThanOrEqual(n.memoryMb);
          expect(n.coresUsed).toBeLessThanOrEqual(n.cores);
        }
      }
    }));
  });

  test('refuses what would oversubscribe, and giving back what was not taken', () => {
    const [n] = fc.sample(arbNode(2), { numRuns: 1, seed: 1 });
    const pool = new Pool([{ ...n!, memoryMb: 512, memoryUsed: 0, cores: 2, coresUsed: 0 }]);
    expect(() => pool.take(2, { memoryMb: 513, cores: 1 })).toThrow('would be oversubscribed');
    expect(() => pool.take(2, { memoryMb: 1, cores: 3 })).toThrow('would be oversubscribed');
    expect(() => pool.release(2, { memoryMb: 1, cores: 0 })).toThrow('less in use');
    expect(() => pool.take(3, { memoryMb: 1, cores: 1 })).toThrow('no node 3');
  });
});
