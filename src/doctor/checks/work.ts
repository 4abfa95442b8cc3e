/** Whether nodes leave undone what they are asked: it is asked for again and again, and somebody has to see why. */
import { formatDuration } from '../../lease/duration.ts';
import { leftUndone } from '../../store/intents.ts';
import { warn } from '../findings.ts';
import type { Check } from '../types.ts';

const CHECK = 'work';

export const work: Check = {
  name: CHECK,
  async look({ ctx, db, config }) {
    if ('missing' in db) return [];
    const now = ctx.clock.now();
    // Longer than anything may take on a node that does it.
    const rows = await db.query(leftUndone, [new Date(now - config.control.start_deadline_ms)]);
    return rows.map((r) => warn(CHECK, `${r.node} has left ${r.works} ${r.works === 1 ? 'operation' : 'operations'} undone, the oldest for ${formatDuration(Math.floor((now - r.created_at) / 1000))}: ${r.kind} of ${r.lease_id}: ${r.error ?? ''}`,
      'the service goes on asking, at most half a minute apart; mend what the node says',
      `if the node never will: end its VM there by hand, then: nimbus lease destroy --forget ${r.lease_id}`));
  },
};
