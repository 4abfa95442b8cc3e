/** Abort signals that fire by the program's own clock, and waiting that they end. */
import type { Clock } from '../../control/agent/clock.ts';

export interface Deadline {
  readonly signal: AbortSignal;
  /** Forgets the timer; the signal stays as it is. */
  cancel(): void;
}

/** Fires after `ms`, or when `parent` does. */
export function deadline(clock: Clock, ms: number, parent?: AbortSignal): Deadline {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const timer = clock.after(ms, abort);
  if (parent?.aborted === true) abort();
  parent?.addEventListener('abort', abort, { once: true });
  return {
    signal: controller.signal,
    cancel: () => {
      timer.cancel();
      parent?.removeEventListener('abort', abort);
    },
  };
}

/** Runs `work` with a signal that fires after `ms`, or when `parent` does. */
export async function withDeadline<T>(clock: Clock, ms: number, work: (signal: AbortSignal) => Promise<T>, parent?: AbortSignal): Promise<T> {
  const limit = deadline(clock, ms, parent);
  try {
    return await work(limit.signal);
  } finally {
    limit.cancel();
  }
}

/** Resolves after `ms`, or at once when `signal` fires. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.after(ms, done);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** Resolves when `work` settles, however, or when `signal` fires. */
export async function settledOr(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      signal.removeEventListener('abort', done);
      resolve();
    };
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', done, { once: true });
    work.then(done, done);
  });
}
