import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBorrowRefusal, partsToAsk, planSlot, type BorrowPolicy, type BorrowRequest } from '../../src/scheduler/borrow.ts';

const OPEN: BorrowPolicy = {
  leasesPerNode: 1, nodeMemoryMb: 0, nodeCores: 0, nodes: 0, nodesPerUser: 0, queuedSlots: 0, queuedSlotsPerUser: 0, share: 1, partitionNodes: null,
};
const NOTHING = { nodes: 0, queuedSlots: 0 };
const request = fc.record({ memoryMb: fc.integer({ min: 1, max: 4096 }), cores: fc.integer({ min: 1, max: 8 }), minCount: fc.integer({ min: 1, max: 20 }), extra: fc.integer({ min: 0, max: 20 }) })
  .map(({ extra, ...r }): BorrowRequest => ({ ...r, maxCount: r.minCount + extra }));
const policy = fc.record({
  leasesPerNode: fc.integer({ min: 1, max: 8 }), nodeMemoryMb: fc.constantFrom(0, 1024, 8192), nodeCores: fc.constantFrom(0, 4, 16),
  nodes: fc.constantFrom(0, 5, 40), nodesPerUser: fc.constantFrom(0, 3, 30), share: fc.constantFrom(1, 0.5), partitionNodes: fc.constantFrom(null, 16, 64),
}).map((p): BorrowPolicy => ({ ...OPEN, ...p }));
const use = fc.record({ nodes: fc.integer({ min: 0, max: 20 }), queuedSlots: fc.integer({ min: 0, max: 4 }) });

describe('planSlot', () => {
  it('gives each request between its two counts, on nodes that hold them, within every cap', () => {
    fc.assert(fc.property(fc.array(request, { minLength: 1, maxLength: 4 }), policy, use, use, (requests, p, all, user) => {
      const plan = planSlot(requests, p, all, user);
      if (isBorrowRefusal(plan)) {
        expect(plan.reasons.length).toBeGreaterThan(0);
        return;
      }
      requests.forEach((r, part) => {
        const count = plan.counts[part] ?? 0;
        const nodes = plan.nodes.filter((n) => n.part === part);
        expect(count).toBeGreaterThanOrEqual(r.minCount);
        expect(count).toBeLessThanOrEqual(r.maxCount);
        expect(nodes.reduce((sum, n) => sum + n.leases, 0)).toBe(count);
        expect(plan.parts[part]?.nodes).toBe(nodes.length);
        for (const n of nodes) {
          expect(n.leases).toBeLessThanOrEqual(p.leasesPerNode);
          expect(n.memoryMb).toBeGreaterThanOrEqual(n.leases * r.memoryMb);
          if (p.nodeMemoryMb > 0) expect(n.memoryMb).toBeLessThanOrEqual(p.nodeMemoryMb);
          if (p.nodeCores > 0) expect(n.cores).toBeLessThanOrEqual(p.nodeCores);
        }
      });
      if (p.nodes > 0) expect(all.nodes + plan.nodes.length).toBeLessThanOrEqual(p.nodes);
      if (p.nodesPerUser > 0) expect(user.nodes + plan.nodes.length).toBeLessThanOrEqual(p.nodesPerUser);
      if (p.partitionNodes !== null) expect(plan.nodes.length).toBeLessThanOrEqual(p.partitionNodes);
    }));
  });

  it('asks each part for what it needs, not for the largest everywhere', () => {
    const plan = planSlot([{ memoryMb: 4096, cores: 4, minCount: 1, maxCount: 1 }, { memoryMb: 128, cores: 1, minCount: 3, maxCount: 3 }], OPEN, NOTHING, NOTHING);
    expect(plan).toMatchObject({ counts: [1, 3], parts: [{ nodes: 1, memoryMb: 4096, cores: 4 }, { nodes: 3, memoryMb: 128, cores: 1 }] });
  });

  it('refuses what no node can hold, with the setting', () => {
    expect(planSlot([{ memoryMb: 4096, cores: 1, minCount: 1, maxCount: 1 }], { ...OPEN, nodeMemoryMb: 2048 }, NOTHING, NOTHING))
      .toMatchObject({ code: 'NoCapacity', reasons: ['pilot.node_memory_mb = 2048, asked 4096'] });
  });

  it('refuses more nodes than the queue has, however long one waits', () => {
    expect(planSlot([{ memoryMb: 128, cores: 1, minCount: 17, maxCount: 17 }], { ...OPEN, partitionNodes: 16 }, NOTHING, NOTHING)).toMatchObject({ code: 'TooMany' });
  });
});

describe('partsToAsk', () => {
  it('keeps every node and its leases, large enough, in parts of nodes that are alike', () => {
    fc.assert(fc.property(fc.array(request, { minLength: 1, maxLength: 4 }), fc.boolean(), (requests, heterogeneous) => {
      const plan = planSlot(requests, OPEN, NOTHING, NOTHING);
      if (isBorrowRefusal(plan)) throw new Error('nothing bounds it');
      const asked = partsToAsk(plan, heterogeneous);
      expect(asked.counts).toEqual(plan.counts);
      expect(asked.nodes.map((n) => n.leases)).toEqual(plan.nodes.map((n) => n.leases));
      for (const [i, n] of asked.nodes.entries()) {
        expect(asked.parts[n.part]).toMatchObject({ memoryMb: n.memoryMb, cores: n.cores });
        if (heterogeneous) expect(n).toMatchObject({ memoryMb: plan.nodes[i]?.memoryMb, cores: plan.nodes[i]?.cores });
        else expect(n.memoryMb >= (plan.nodes[i]?.memoryMb ?? 0) && n.cores >= (plan.nodes[i]?.cores ?? 0)).toBe(true);
      }
      asked.parts.forEach((p, part) => expect(asked.nodes.filter((n) => n.part === part)).toHaveLength(p.nodes));
      expect(new Set(asked.parts.map((p) => `${p.memoryMb} ${p.cores}`)).size, 'no two parts are of one size').toBe(asked.parts.length);
      if (!heterogeneous) expect(asked.parts).toHaveLength(1);
    }));
  });
});
