/**
 * Phases of a start wait a moment for what any node says next, and are written with it: most starts are over by then, and cost one
 * transaction and not two. What is lost of them with the process is in the answer to the start.
 */
import type { Clock, Timer } from '../platform/context.ts';

const WAIT_MS = 200;
/** So many are worth a transaction. */
const MOST_HELD = 64;

export interface PhaseHolder<Report> {
  report(report: Report): Promise<void>;
  letGo(): void;
  readonly held: number;
}

/** @param write what is to be written, in the order in which it was said */
export function holdPhases<Report extends { readonly kind: string }>(clock: Clock, write: (report: Report) => Promise<void>): PhaseHolder<Report> {
  let held: Array<{ readonly report: Report; readonly resolve: (written: Promise<void>) => void }> = [];
  let timer: Timer | undefined;

  function letGo(): void {
    timer?.cancel();
    timer = undefined;
    const all = held;
    held = [];
    for (const { report, resolve } of all) resolve(write(report));
  }

  return {
    letGo,
    report(report) {
      if (report.kind !== 'phase') {
        letGo();
        return write(report);
      }
      return new Promise((resolve) => {
        held.push({ report, resolve });
        if (held.length >= MOST_HELD) letGo();
        else timer ??= clock.after(WAIT_MS, letGo, true);
      });
    },
    get held() { return held.length; },
  };
}
