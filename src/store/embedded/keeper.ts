/** Keeps PostgreSQL running: when it ends without having been asked to, it is started again. */
import type { Context, Timer } from '../../platform/context.ts';
import { errorText } from '../../platform/errors.ts';
import { endPostmaster, isAlive } from './postmaster.ts';

const LOOK_MS = 500;
/** Between attempts; the remains of a killed server keep its memory until they have noticed. */
const AGAIN_MS = 1_000;

export interface Keeper {
  readonly pid: number;
  /** Ends PostgreSQL, also one that is just being started again. */
  stop(): Promise<void>;
}

export function keepRunning(ctx: Context, first: number, start: () => Promise<number>): Keeper {
  let pid = first;
  let stopped = false;
  let timer: Timer | undefined;
  let starting: Promise<void> = Promise.resolve();

  const arm = (ms: number, step: () => void): void => {
    // A look by itself is no reason for the process to stay.
    if (!stopped) timer = ctx.clock.after(ms, step, true);
  };

  function look(): void {
    if (isAlive(pid)) return arm(LOOK_MS, look);
    ctx.log.error('PostgreSQL has ended by itself and is started again; requests are refused until it answers', { pid });
    again();
  }

  function again(): void {
    starting = start().then(
      (next) => {
        pid = next;
        arm(LOOK_MS, look);
      },
      (e: unknown) => {
        ctx.log.error('PostgreSQL could not be started again; trying on', { error: errorText(e) });
        arm(AGAIN_MS, again);
      },
    );
  }

  arm(LOOK_MS, look);
  return {
    get pid() { return pid; },
    async stop() {
      stopped = true;
      timer?.cancel();
      await starting;
      await endPostmaster(ctx.clock, pid);
    },
  };
}
