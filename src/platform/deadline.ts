/** Every wait has an end. */
import type { Clock } from './context.ts';

export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded';
  constructor(readonly what: string, readonly ms: number) {
    super(`${what} did not finish within ${ms} ms`);
  }
}

/** Settles as `work` does, or rejects with DeadlineExceeded after `ms`; `work` itself is not stopped. */
export function withDeadline<T>(clock: Clock, ms: number, what: string, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.after(ms, () => reject(new DeadlineExceeded(what, ms)));
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}

export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.after(ms, resolve));
}
