/** Files that change while the service runs: looked at again and again, one look at a time. A look that fails is said once, and when it is over. */
import type { Context, Timer } from '../platform/context.ts';
import { reasonText } from '../platform/errors.ts';

export interface Reloader {
  /** Looks now; resolves also when the look fails, which is in the log. */
  look(): Promise<void>;
  stop(): void;
}

export function createReloader(ctx: Context, everyMs: number, what: string, work: () => Promise<void>): Reloader {
  let [timer, stopped, said]: [Timer | undefined, boolean, string] = [undefined, false, ''];
  let running: Promise<void> | undefined;

  const look = (): Promise<void> => (running ??= work().then(() => {
    if (said !== '') ctx.log.info(`${what} can be read again`);
    said = '';
  }, (e: unknown) => {
    const reason = reasonText(e);
    if (reason !== said) ctx.log.error(`${what} cannot be read; what was read before counts on`, { reason });
    said = reason;
  }).finally(() => { running = undefined; }));

  const next = (): void => {
    if (!stopped) timer = ctx.clock.after(everyMs, () => void look().finally(next), true);
  };
  next();
  return {
    look,
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
