/** Greedy-static: leases go to nodes that the service owns, at once. */
import { isFault } from '../../lease/faults.ts';
import { newOperationId } from '../../platform/ids.ts';
import type { Random } from '../../platform/context.ts';
import type { PlanRequest } from '../../scheduler/types.ts';
import type { Queryable } from '../../store/db.ts';
import { changeNodeUse, lockNodes } from '../../store/nodes.ts';
import { ofGroup } from '../ensembles.ts';
import type { Place, PlacedGroup } from '../planned.ts';
import type { NodePool } from '../pool.ts';
import type { Placeable } from '../resolved.ts';
import { RoomTaken, type Asked, type Placer } from './types.ts';

export function ownedNodes({ pool, random }: { pool: NodePool; random: Random }): Placer {
  function release(request: Placeable | undefined, places: readonly Place[]): void {
    if (request !== undefined) pool.giveBack(places.flatMap((p) => (p.kind === 'owned' ? [p.nodeId] : [])), request.resources);
  }

  return {
    zones: () => pool.zones(),
    ready: () => pool.ready(),
    invalidate: () => pool.invalidate(),
    open: () => Promise.resolve(),
    async place(asked) {
      const places: Place[][] = [];
      for (const [i, one] of asked.entries()) {
        const nodes = await pool.place(planRequest(one));
        if (isFault(nodes)) {
          for (const [before, taken] of places.entries()) release(asked[before]?.request, taken);
          return ofGroup(nodes, i, asked.length);
        }
        places.push(nodes.map((nodeId) => ({ kind: 'owned', nodeId, intentId: newOperationId(random), zone: pool.zone(nodeId) })));
      }
      return { places };
    },
    giveBack(order, { places }) {
      for (const [i, taken] of places.entries()) release(order[i], taken);
    },
    reserve,
  };
}

/** As the scheduler is asked. */
export const planRequest = ({ request: r, maxCount, zones }: Asked): PlanRequest => ({
  memoryMb: r.resources.memoryMb, cores: r.resources.cores, networks: r.networks.map((n) => n.name), zone: r.zone ?? undefined,
  ...(zones === null ? {} : { zones }), minCount: r.minCount, maxCount,
});

/** The plan was made on a snapshot; here it is held against the rows themselves, under lock. A single row is locked by its change. */
async function reserve(tx: Queryable, planned: readonly PlacedGroup[]): Promise<void> {
  const use = room(planned);
  const ids = [...use.keys()];
  if (ids.length > 1) await tx.query(lockNodes, [ids]);
  const taken = await tx.query(changeNodeUse, [ids, ids.map((id) => use.get(id)?.memory), ids.map((id) => use.get(id)?.cores), true]);
  if (taken.length < ids.length) throw new RoomTaken();
}

/** Room that the plans take, per node. */
function room(planned: readonly PlacedGroup[]): Map<number, { memory: number; cores: number }> {
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
