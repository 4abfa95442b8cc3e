/** Messages of one pilot by their number, whatever order they came in. */
import type { OpenMessageRow } from '../../store/slot-messages.ts';

type Said = Pick<OpenMessageRow, 'slot_id' | 'host' | 'pilot' | 'seq'>;

/** Those of different pilots stay in the order in which they came: each place keeps its pilot. */
export function inOrder<M extends Said>(messages: readonly M[]): M[] {
  const key = ({ slot_id: slot, host, pilot }: Said): string => `${slot} ${host} ${pilot}`;
  const byPilot = new Map<string, M[]>();
  for (const m of messages) {
    const its = byPilot.get(key(m));
    if (its === undefined) byPilot.set(key(m), [m]);
    else its.push(m);
  }
  for (const its of byPilot.values()) its.sort((a, b) => a.seq - b.seq);
  const next = new Map([...byPilot].map(([pilot, its]) => [pilot, its.values()]));
  return messages.flatMap((m) => next.get(key(m))?.next().value ?? []);
}
