/** Lines of squeue as jobs of slots: parts of a job folded into one, and places in the queue. Pure. */
import { isSlotId } from '../outside.ts';
import { isOver } from '../slots.ts';
import type { JobState, JobView } from '../types.ts';
import type { Line } from './squeue.ts';

/** @param userId whose jobs may be slots': a name alone proves nothing */
export function jobsOf(lines: readonly Line[], userId: number): JobView[] {
  const ours = lines.filter((l) => l.userId === userId && isSlotId(l.name));
  if (ours.length === 0) return [];
  const places = placesOf(lines);
  return grouped(ours).map((parts) => viewOf(parts, places));
}

/** Parts of one job stand together in their order; every other line is a job of its own. */
function grouped(ours: readonly Line[]): Line[][] {
  const whole = ours.filter((l) => l.het === null).map((l) => [l]);
  const inParts = new Map<string, Line[]>();
  for (const line of ours) {
    if (line.het === null) continue;
    const key = `${line.het.leader} ${line.name}`;
    inParts.set(key, [...(inParts.get(key) ?? []), line]);
  }
  for (const parts of inParts.values()) parts.sort((a, b) => (a.het?.offset ?? 0) - (b.het?.offset ?? 0));
  return [...whole, ...inParts.values()];
}

/** What is true of a job of which parts differ: the first of these that one of them is. */
const GRAVEST: readonly JobState[] = [
  'running', 'starting', 'ending', 'held', 'queued', 'node-failed', 'preempted', 'timeout', 'cancelled', 'failed', 'done',
];

function viewOf(parts: readonly Line[], places: ReadonlyMap<Line, number>): JobView {
  const state = GRAVEST.find((s) => parts.some((p) => p.state === s)) ?? 'queued';
  // A job's state is made of states of its parts, so one has it.
  const telling = parts.find((p) => p.state === state) ?? parts[0];
  if (telling === undefined) throw new Error('a job without a line');
  const waits = state === 'queued';
  const positions = parts.flatMap((p) => places.get(p) ?? []);
  const starts = parts.flatMap((p) => p.start ?? []);
  return {
    jobId: String(telling.het?.leader ?? telling.jobId),
    slotId: telling.name,
    state,
    native: telling.word,
    reason: telling.reason,
    // A job of parts starts when its last part can.
    position: waits && positions.length > 0 ? Math.max(...positions) : null,
    expectedStart: waits && starts.length > 0 ? Math.max(...starts) : null,
    // Nodes of a part that is over have been given back.
    hosts: [...new Set(parts.filter((p) => isOver(state) || !isOver(p.state)).flatMap((p) => p.hosts))],
    requeued: parts.some((p) => p.restarts > 0) || parts.some((p) => p.word.startsWith('REQUEUE')),
  };
}

/** Places among the waiting jobs of a partition, from 1: by priority, then by age, as Slurm's scheduler goes through them. */
function placesOf(lines: readonly Line[]): Map<Line, number> {
  const waiting = lines.filter((l) => l.state === 'queued').sort((a, b) => b.priority - a.priority || a.jobId - b.jobId);
  const taken = new Map<string, number>();
  const places = new Map<Line, number>();
  for (const line of waiting) {
    for (const partition of line.partitions) {
      const place = (taken.get(partition) ?? 0) + 1;
      taken.set(partition, place);
      places.set(line, Math.min(place, places.get(line) ?? place));
    }
  }
  return places;
}
