/**
 * Every lease that lives has an exit: work that is to be done for it, an end in the future, a slot that lives. Where the
 * work was lost, the same is written once more; where the slot is gone, the lease ends, as it would have with the slot.
 */
import { TransitionBatch } from '../../manager/transitions.ts';
import type { IntentKind, LeaseState } from '../../lease/states.ts';
import { SLOT_NODE_STATES, nodeIsOver } from '../../pilot/states.ts';
import { statement, type Queryable } from '../../store/db.ts';
import { lockLeases, type LockedLease } from '../../store/leases.ts';
import { MOST_FOUND, rule } from '../rule.ts';
import { list } from '../sql.ts';
import type { FsckSite, Rule } from '../types.ts';

/** What an agent is asked to do in states that pass by its word. */
const WORK: Readonly<Partial<Record<LeaseState, IntentKind>>> = {
  Unpropagated: 'start', Propagating: 'start', Propagated: 'start', Starting: 'start', Rebooting: 'reboot', Pausing: 'pause', Resuming: 'resume',
  ShuttingDown: 'shutdown', Serializing: 'serialize', ReadyingForTransport: 'save', Ending: 'remove', Corrupted: 'remove',
};
/** It waits for its ensemble, and ends with the time that there is for gathering it. */
const GATHERED = `(l.slot_node_id IS NULL AND l.ends_at IS NOT NULL
     AND EXISTS (SELECT FROM grid_group g JOIN ensemble e ON e.id = g.ensemble_id WHERE g.group_id = l.group_id AND e.done_at IS NULL))`;
const OVER = list(SLOT_NODE_STATES.filter(nodeIsOver));
/** A sweeper that runs ends a lease within seconds of its time. */
const SWEPT_WITHIN = "interval '1 minute'";

interface Stuck { id: string; state: LeaseState }
/** A lease that was shut down, or shall rest, waits for its user; a failed one may have given all back. */
const IDLE = statement<Stuck>('fsck-lease-idle', `
  SELECT l.id, l.state FROM lease l
   WHERE l.state IN (${list(Object.keys(WORK))}) AND l.node_id IS NOT NULL
     AND NOT (l.state = 'Propagated' AND l.running_at IS NOT NULL) AND l.target IS DISTINCT FROM l.state AND NOT (l.state = 'Corrupted' AND NOT l.holding)
     AND NOT EXISTS (SELECT 1 FROM intent i WHERE i.lease_id = l.id AND i.state = 'open' AND i.generation >= l.generation)
   ORDER BY l.id LIMIT ${MOST_FOUND}`);
const SLOTLESS = statement<Stuck & { slot: string | null; slot_state: string | null; node_state: string | null }>('fsck-lease-slotless', `
  SELECT l.id, l.state, s.id AS slot, s.state AS slot_state, n.state AS node_state FROM lease l LEFT JOIN slot_node n ON n.id = l.slot_node_id LEFT JOIN slot s ON s.id = n.slot_id
   WHERE NOT l.final AND (l.slot_node_id IS NOT NULL OR (l.state = 'Pending' AND NOT ${GATHERED}))
     AND (n.id IS NULL OR s.state = 'Ended' OR (n.state IN (${OVER}) AND l.holding) OR (l.state = 'Pending' AND n.state <> 'Waiting'))
   ORDER BY l.id LIMIT ${MOST_FOUND}`);

/** Locked, and still in the state in which it was found. */
async function change(site: FsckSite, of: readonly string[], broken: typeof IDLE, apply: (batch: TransitionBatch, lease: LockedLease) => void): Promise<void> {
  const { ctx, config } = site;
  const { intents } = await site.db.transaction(async (tx: Queryable) => {
    const leases = await tx.query(lockLeases, [of, null]);
    const still = new Set((await tx.query(broken)).map((l) => l.id));
    const batch = new TransitionBatch(ctx.random, ctx.clock.now(), config.accounting.charge_granularity);
    for (const lease of leases) if (still.has(lease.id)) apply(batch, lease);
    return batch.write(tx);
  });
  if (intents.length > 0) site.handOver(intents);
}

const idle: Rule = {
  name: 'lease-idle',
  look: async ({ tx }) => (await tx.query(IDLE)).map((l) => ({
    rule: 'lease-idle', of: l.id, what: `lease ${l.id} is ${l.state}, but nothing is to be done for it`, mend: `asks its node once more: ${WORK[l.state] ?? ''}`, repairs: true,
  })),
  repair: (site, of) => change(site, of, IDLE, (batch, lease) => {
    const kind = WORK[lease.state];
    if (kind !== undefined) batch.redo(lease, kind, null);
  }),
};

const slotless: Rule = {
  name: 'lease-slotless',
  look: async ({ tx }) => (await tx.query(SLOTLESS)).map((l) => ({
    rule: 'lease-slotless', of: l.id, repairs: true, mend: 'ends the lease',
    what: `lease ${l.id} is ${l.state}, but ${l.slot === null ? 'belongs to no slot' : `its slot ${l.slot} is ${l.slot_state ?? ''}, and its node there ${l.node_state ?? ''}`}`,
  })),
  repair: (site, of) => change(site, of, SLOTLESS, (batch, lease) => {
    const why = 'its node was given back to the batch system';
    batch.end(lease, { who: 'fsck', why, at: site.ctx.clock.now(), requestId: null }, { reasonCode: 'Server.SlotEnded', reason: why });
  }),
};

export const exitRules: readonly Rule[] = [idle, slotless];

/** Only of a service that runs. */
export const overdueRule = rule<{ id: string; state: string; ends: string }>({
  name: 'lease-overdue', timed: true,
  broken: `SELECT id, state, ends_at::text AS ends FROM lease WHERE NOT final AND state <> 'Ending' AND NOT (state = 'ReadyingForTransport' AND (save_as IS NOT NULL OR image_order IS NOT NULL)) AND ends_at < $1::timestamptz - ${SWEPT_WITHIN}`,
  says: (l) => `lease ${l.id} is ${l.state}, but its time was over at ${l.ends}`,
  mend: 'the service does not end it: look at its log',
});
