/** Whether the nodes' clocks agree with the service's, as pilots' messages show. */
import { worstClock } from '../../store/slot-report.ts';
import { note, ok, warn } from '../findings.ts';
import type { BatchCheck } from '../types.ts';

/** Moments are corrected by the offset; one as large as this also shows in what users see of their guests. */
const MUCH_MS = 2_000;

export const clocks: BatchCheck = {
  name: 'clocks',
  async look(_batch, { db }) {
    if ('missing' in db) return [];
    const [worst] = await db.query(worstClock);
    if (worst === undefined) return [note('clocks', 'no pilot reports now, so nothing is known of the nodes’ clocks')];
    const s = (Math.abs(worst.clock_offset_ms) / 1000).toFixed(1);
    if (Math.abs(worst.clock_offset_ms) <= MUCH_MS) return [ok('clocks', `nodes’ clocks are within ${s} s of this machine’s`)];
    return [warn('clocks', `the clock of ${worst.host} is ${s} s ${worst.clock_offset_ms > 0 ? 'ahead of' : 'behind'} this machine’s`, 'have a time service (chrony, systemd-timesyncd) run on both')];
  },
};
