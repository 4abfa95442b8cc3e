/** Greedy-static: leases go to nodes that the service owns, at once. */
import { isFault } from '../../lease/faults.ts';
import { newOperationId } from '../../platform/ids.ts';
import type { Random } from '../../platform/context.ts';
import type { Queryable } from '../../store/db.ts';
import { changeNodeUse, lockNodes } from '../../store/nodes.ts';
import type { Planned } from '../planned.ts';
import type { NodePool } from '../pool.ts';
import { RoomTaken, type Placer } from './types.ts';

export function ownedNodes({ pool, random }: { pool: NodePool; random: Random }): Placer {
  return {
    ready: () => pool.ready(),
    invalidate: () => pool.invalidate(),
    open: () => Promise.resolve(),
    async place(r, maxCount) {
      const nodes = await pool.place({
        memoryMb: r.resources.memoryMb, cores: r.resources.cores, networks: r.networks.map((n) => n.name), zone: r.zone ?? undefined,
        minCount: r.minCount, maxCount,
      });
      if (isFault(nodes)) return nodes;
      return { places: nodes.map((nodeId) => ({ kind: 'owned', nodeId, intentId: newOperationId(random), zone: pool.zone(nodeId) })) };
    },
    giveBack(planned) {
      for (const { request, places } of planned) pool.giveBack(places.flatMap((p) => (p.kind === 'owned' ? [p.nodeId] : [])), request.resources);
    },
    reserve,
  };
}

/** The plan was made on a snapshot; here it is held against the rows themselves, under lock. */
async function reserve(tx: Queryable, planned: readonly Planned[]): Promise<void> {
  const use = room(planned);
  const ids = [...use.keys()];
  const rows = await tx.query(lockNodes, [ids]);
  const fits = rows.length === ids.length && rows.every((n) => {
    const u = use.get(n.id);
    return u !== undefined && n.active && n.memory_used + u.memory <= n.memory_mb && n.cores_used + u.cores <= n.cores;
  });
  if (!fits) throw new RoomTaken();
  await tx.query(changeNodeUse, [ids, ids.map((id) => use.get(id)?.memory), ids.map((id) => use.get(id)?.cores)]);
}

/** Room that the plans take, per node. */
function room(planned: readonly Planned[]): Map<number, { memory: number; cores: number }> {
  const use = new Map<number, { memory: number; cores: number }>();
  for (const { request, leases } of planned) {
    for (const { place } of leases) {
      if (place.kind !== 'owned') continue;
      const sum = use.get(place.nodeId) ?? { memory: 0, cores: 0 };
      use.set(place.nodeId, { memory: sum.memory + request.resources.memoryMb, cores: sum.cores + request.resources.cores });
    }
  }
  return use;
}
