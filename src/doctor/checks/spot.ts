/** Whether jobs of preemptible leases really give way, and get the time that their pilots are told. */
import { slotTimes } from '../../manager/slots/times.ts';
import { lendsSpot } from '../../platform/config-pilot.ts';
import { fail, factsOf, note, ok, warn } from '../findings.ts';
import type { BatchCheck } from '../types.ts';

export const spot: BatchCheck = {
  name: 'spot',
  look(batch, { config: { pilot, pilot_spot: own } }) {
    const facts = factsOf(batch);
    if (facts === undefined || !lendsSpot(own)) return [];
    if (facts.spot === undefined) return [note('spot', 'whether jobs of preemptible leases give way to others cannot be read', 'try it: submit an ordinary job while a spot instance has its node')];
    if (facts.spot === null || facts.spot.nodes === 0) {
      return [fail('spot', `${own.partition} has no nodes, or does not exist: every spot instance is refused`, 'set pilot_spot.partition to one that "scontrol show partition" shows')];
    }
    const { preemptMode, graceS } = facts.spot;
    if (preemptMode === 'OFF') return [warn('spot', `nothing displaces jobs of ${own.partition}: its PreemptMode is OFF`, 'set PreemptMode=CANCEL for it in slurm.conf, and PreemptType')];
    if (/SUSPEND|GANG/.test(preemptMode)) return [warn('spot', `jobs of ${own.partition} are suspended (PreemptMode=${preemptMode}): their VMs keep the node's memory`, 'set PreemptMode=CANCEL for it in slurm.conf')];
    const told = slotTimes(pilot, 1, facts.graceS, own).grace_s;
    const most = graceS + (facts.graceS ?? 0);
    if (told > most) return [fail('spot', `pilots are told ${told} s (pilot_spot.grace), but displaced jobs of ${own.partition} have ${most} s`, `set pilot_spot.grace = ${most}`, `or raise it: GraceTime=${told} of the partition in slurm.conf`)];
    if (own.grace === 0 && graceS > told) return [note('spot', `displaced jobs of ${own.partition} have ${graceS} s, of which their pilots are told ${told} s`, `set pilot_spot.grace = ${graceS}`)];
    return [ok('spot', `jobs of ${own.partition} give way (${preemptMode}) within ${told} s`)];
  },
};
