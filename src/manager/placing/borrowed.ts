/** Pilot mode: leases wait for nodes of a batch job, whose row is written with them. */
import { Fault } from '../../lease/faults.ts';
import { newSlotId } from '../../platform/ids.ts';
import type { Context } from '../../platform/context.ts';
import type { Config } from '../../platform/config.ts';
import type { PilotConfig } from '../../platform/config-pilot.ts';
import { isBorrowRefusal, partsToAsk, planSlot, type BorrowPlan, type BorrowPolicy, type BorrowUse } from '../../scheduler/borrow.ts';
import type { Queryable } from '../../store/db.ts';
import { groupOfAccounts } from '../../store/policies.ts';
import { insertSlots, lockBorrowing, slotUse } from '../../store/slots.ts';
import { ofGroup } from '../ensembles.ts';
import type { PlacedGroup, Place, PlannedSlot } from '../planned.ts';
import { slotTimes } from '../slots/times.ts';
import type { Borrowing } from '../slots/types.ts';
import type { Placed, Placer } from './types.ts';

export function borrowedNodes({ ctx, config, borrowing }: { ctx: Context; config: Config; borrowing: Borrowing }): Placer {
  const nothing = (): BorrowUse => ({ nodes: 0, queuedSlots: 0 });
  let all = nothing();
  let users = new Map<number, BorrowUse>();

  function count(accountId: number, nodes: number, slots: number): void {
    const add = (u: BorrowUse): BorrowUse => ({ nodes: u.nodes + nodes, queuedSlots: u.queuedSlots + slots });
    all = add(all);
    users.set(accountId, add(users.get(accountId) ?? nothing()));
  }

  return {
    // Borrowed nodes are all of one zone: where policies do not allow it, `decide` has refused.
    zones: () => [config.pilot.zone],
    ready: () => Promise.resolve(),
    invalidate: () => undefined,
    // The caps are the site's: two processes must not both take the last node.
    async open(tx) {
      await tx.query(lockBorrowing);
      all = nothing();
      users = new Map();
      for (const u of await tx.query(slotUse)) count(u.account_id, u.nodes, u.queued);
    },
    place(asked) {
      const { zone } = config.pilot;
      const elsewhere = asked.findIndex(({ request: r }) => r.zone !== null && r.zone !== zone);
      if (elsewhere >= 0) {
        const fault = new Fault('ZoneUnknown', `Invalid availability zone: [${asked[elsewhere]?.request.zone ?? ''}]`, [`the site has ${zone}`]);
        return Promise.resolve(ofGroup(fault, elsewhere, asked.length));
      }
      const demands = asked.map(({ request: { resources: r, minCount }, maxCount }) => ({ memoryMb: r.memoryMb, cores: r.cores, minCount, maxCount }));
      const accountId = asked[0]?.request.accountId ?? 0;
      const plan = planSlot(demands, policy(config, borrowing), all, users.get(accountId) ?? nothing());
      if (isBorrowRefusal(plan)) return Promise.resolve(new Fault(plan.code, plan.message, plan.reasons));
      count(accountId, plan.nodes.length, 1);
      return Promise.resolve(placed(ctx, partsToAsk(plan, borrowing.facts()?.heterogeneous ?? false), zone));
    },
    giveBack([first], { slot }) {
      if (first !== undefined && slot !== undefined) count(first.accountId, -slot.nodes.length, -1);
    },
    reserve: (tx, planned, now) => writeSlots(tx, planned, now, config, borrowing),
  };
}

function policy({ pilot, pilot_caps: caps }: Config, borrowing: Borrowing): BorrowPolicy {
  return {
    leasesPerNode: pilot.leases_per_node, nodeMemoryMb: pilot.node_memory_mb, nodeCores: pilot.node_cores,
    nodes: caps.nodes, nodesPerUser: caps.nodes_per_user, queuedSlots: caps.queued_slots, queuedSlotsPerUser: caps.queued_slots_per_user,
    share: caps.share, partitionNodes: borrowing.facts()?.nodes ?? null,
  };
}

function placed({ random }: Context, plan: BorrowPlan, zone: string): Placed {
  const slot: PlannedSlot = {
    id: newSlotId(random), parts: plan.parts, nodes: plan.nodes,
    secret: random.bytes(16).toString('hex'), nonce: random.bytes(16).toString('hex'),
  };
  // Nodes stand in the order of the requests, each with the leases of one.
  const queue = plan.nodes.flatMap((n, ordinal) => Array.from({ length: n.leases }, (): Place => ({ kind: 'borrowed', ordinal, slotNodeId: null, zone })));
  return { places: plan.counts.map((leases) => queue.splice(0, leases)), slot };
}

/** One row for each slot, whatever number of groups wait for it; it lasts as long as the longest of their leases. */
async function writeSlots(tx: Queryable, planned: readonly PlacedGroup[], now: number, config: Config, borrowing: Borrowing): Promise<void> {
  const bySlot = new Map<PlannedSlot, [PlacedGroup, ...PlacedGroup[]]>();
  for (const p of planned) {
    const others = p.slot === undefined ? undefined : bySlot.get(p.slot);
    if (others !== undefined) others.push(p);
    else if (p.slot !== undefined) bySlot.set(p.slot, [p]);
  }
  const { pilot } = config;
  const groupOf = pilot.account_by === 'group' ? await groupsOf(tx, [...bySlot.values()].map(([{ request }]) => request.accountId)) : undefined;
  const rows = [...bySlot].map(([slot, groups]) => {
    const [{ request: r }] = groups;
    const durationS = Math.max(...groups.map((g) => g.request.durationS));
    // Of several groups in one job, one that must not be displaced is reason enough.
    const spot = groups.every((g) => g.request.spot !== null);
    return {
      id: slot.id, account_id: r.accountId, lrm: config.pilot.lrm, parts: slot.parts, secret: slot.secret, nonce: slot.nonce, request_id: r.requestId,
      lrm_account: lrmAccount(pilot, r.who, groupOf?.get(r.accountId)), ...slotTimes(config.pilot, durationS, borrowing.facts()?.graceS ?? null, spot ? config.pilot_spot : undefined), spot,
      slot_nodes: slot.nodes.map((n, ordinal) => ({ ordinal, part: n.part, memory_mb: n.memoryMb, cores: n.cores })),
    };
  });
  const ids = new Map((await tx.query(insertSlots, [JSON.stringify(rows), new Date(now)])).map((n) => [`${n.slot_id} ${n.ordinal}`, n.id]));
  for (const { slot, leases } of planned) {
    for (const { place } of leases) if (place.kind === 'borrowed') place.slotNodeId = ids.get(`${slot?.id ?? ''} ${place.ordinal}`) ?? null;
  }
}

async function groupsOf(tx: Queryable, accounts: readonly number[]): Promise<ReadonlyMap<number, string>> {
  return new Map((await tx.query(groupOfAccounts, [[...new Set(accounts)]])).map((g) => [g.account_id, g.name]));
}

/** Who is in no group is charged as the site says for all. */
function lrmAccount({ account_by: by, account }: PilotConfig, user: string, group: string | undefined): string | null {
  switch (by) {
    case 'none': return null;
    case 'user': return user;
    case 'group': return group ?? (account || null);
    case 'site': return account || null;
  }
}
