/** What became of each node of slots that were killed. */
import type { KilledSlot } from '../manager/admin-types.ts';
import type { SlotNodeView, SlotView } from '../manager/slots/types.ts';

/**
 * `restored`: its pilot has said that nothing is left. `not used`: the job never had it. `lost`: the job is gone, and nobody
 * has said that memory was given back. `failed`: its pilot could not make room, and has not said that all is as it was.
 */
export type Outcome = 'restored' | 'not used' | 'lost' | 'failed' | 'still there' | 'not ended';

export interface NodeOutcome {
  readonly slot: string;
  readonly job: string | null;
  /** null = none was known, or the slot has none. */
  readonly node: string | null;
  readonly outcome: Outcome;
  readonly reason: string;
}

const LEFT: ReadonlySet<Outcome> = new Set<Outcome>(['lost', 'failed', 'still there', 'not ended']);
export const isLeft = (o: NodeOutcome): boolean => LEFT.has(o.outcome);

export function outcomes(killed: readonly KilledSlot[], slots: readonly SlotView[]): NodeOutcome[] {
  const byId = new Map(slots.map((s) => [s.id, s]));
  return killed.flatMap((k): NodeOutcome[] => {
    const slot = byId.get(k.slot);
    if (!k.ok) return [{ slot: k.slot, job: slot?.jobId ?? null, node: null, outcome: 'not ended', reason: [k.error.message, ...k.error.reasons].join('; ') }];
    return slot === undefined ? [] : slot.nodes.map((n) => nodeOutcome(slot, n));
  });
}

function nodeOutcome(s: SlotView, n: SlotNodeView): NodeOutcome {
  const [outcome, reason] = judge(s, n);
  return { slot: s.id, job: s.jobId, node: n.host, outcome, reason };
}

function judge(s: SlotView, n: SlotNodeView): [Outcome, string] {
  switch (n.state) {
    case 'Returned':
      return ['restored', n.reason ?? ''];
    case 'Failed':
      return ['failed', n.reason ?? 'its pilot could not make room'];
    case 'Lost':
      // A job that never ran had no node.
      if (n.host === null && n.phases['job-running'] === undefined) return ['not used', ''];
      return ['lost', 'its pilot has not said that memory was restored; look there: workspace-pilot --recover'];
    default:
      return ['still there', `the node is ${n.state}, the slot ${s.state}${s.nativeState === null ? '' : `; the batch system says ${s.nativeState}`}`];
  }
}
