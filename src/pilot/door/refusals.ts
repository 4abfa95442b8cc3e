/**
 * What the door refuses: counted by code, and logged with the slot that it concerns, a few lines a minute for each slot or
 * unproven peer and not many more for all, so that a flood is seen and does not fill the log.
 */
import type { Context } from '../../platform/context.ts';
import type { RefusalCode } from '../protocol.ts';

export interface Refused {
  readonly code: RefusalCode;
  readonly message: string;
  /** The slot that was proved; else the one that was named, if it could be read. */
  readonly slot: string;
  readonly proved: boolean;
  readonly host?: string;
  /** Address of whoever sent it. */
  readonly peer: string;
}

export interface Refusals {
  note(refused: Refused): void;
  readonly counts: Readonly<Record<RefusalCode, number>>;
}

const WINDOW_MS = 60_000;
const LINES_EACH = 5;
const LINES_ALL = 200;

export function createRefusals({ clock, log, meter }: Context): Refusals {
  const counts: Record<RefusalCode, number> = { Malformed: 0, NotAuthenticated: 0, NotInJob: 0, Replayed: 0, SlotEnded: 0, TooLarge: 0, Busy: 0, Unavailable: 0 };
  let began = clock.monotonic();
  let lines = 0;
  let silent = 0;
  const written = new Map<string, number>();

  const nextWindow = (): void => {
    if (silent > 0) log.warn('more of what pilots sent was refused than is logged', { count: silent });
    [began, lines, silent] = [clock.monotonic(), 0, 0];
    written.clear();
  };
  return {
    counts,
    note(refused) {
      counts[refused.code] += 1;
      meter?.refused('pilot', refused.code);
      if (clock.monotonic() - began >= WINDOW_MS) nextWindow();
      const key = refused.proved ? refused.slot : refused.peer;
      const already = written.get(key) ?? 0;
      if (already >= LINES_EACH || lines >= LINES_ALL) {
        silent += 1;
        return;
      }
      written.set(key, already + 1);
      lines += 1;
      const { message, ...rest } = refused;
      log.warn('a pilot\'s request is refused', { ...rest, reason: message });
    },
  };
}
