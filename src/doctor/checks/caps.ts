/** Whether the caps let leases through, and keep something for ordinary jobs. */
import { formatDuration } from '../../lease/duration.ts';
import { factsOf, ok, warn } from '../findings.ts';
import type { BatchCheck, DoctorSite, Finding } from '../types.ts';

export const caps: BatchCheck = {
  name: 'caps',
  look(batch, site) {
    const nodes = factsOf(batch)?.nodes ?? null;
    const found = [...forUsers(site), ...forOthers(site, nodes), ...forTimes(site)];
    return found.length > 0 ? found : [ok('caps', 'the caps leave room for leases and for ordinary jobs')];
  },
};

function forUsers({ config: { pilot_caps: c } }: DoctorSite): Finding[] {
  const pairs = [['nodes', c.nodes, c.nodes_per_user], ['queued_slots', c.queued_slots, c.queued_slots_per_user]] as const;
  return pairs.filter(([, all, one]) => all > 0 && one > all)
    .map(([key, all, one]) => warn('caps', `pilot_caps.${key}_per_user = ${one} is more than pilot_caps.${key} = ${all} and has no effect`, `lower it, or raise pilot_caps.${key}`));
}

function forOthers({ config: { pilot_caps: c, pilot } }: DoctorSite, nodes: number | null): Finding[] {
  const found: Finding[] = [];
  if (c.nodes === 0 && c.share === 1) {
    found.push(warn('caps', 'leases may take every node of the partition', 'set pilot_caps.share (for example 0.5) or pilot_caps.nodes, so that ordinary jobs keep theirs'));
  }
  if (nodes !== null && Math.floor(nodes * c.share) < 1) found.push(warn('caps', `pilot_caps.share = ${c.share} of ${nodes} nodes is less than one node: every lease is refused`, 'raise it'));
  if (pilot.leases_per_node > 1 && pilot.node_memory_mb === 0) {
    found.push(warn('caps', `pilot.leases_per_node = ${pilot.leases_per_node}, but pilot.node_memory_mb does not say how much a node has`, 'set it to what VMs may use of a node'));
  }
  return found;
}

function forTimes({ config: { pilot, lease } }: DoctorSite): Finding[] {
  if (pilot.pending_timeout >= pilot.poll * 2) return [];
  return [warn('caps', `pilot.pending_timeout = ${formatDuration(pilot.pending_timeout)} ends requests before two polls have looked at them (default lease: ${formatDuration(lease.default_duration)})`, 'raise it')];
}
