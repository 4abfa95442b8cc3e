/** For commands that wait: a service that is restarted meanwhile, or has lost its database, is waited for. */
import { sleep } from '../platform/deadline.ts';
import type { Env } from './env.ts';
import { Refused, Unreachable } from './exit.ts';

const LOOK_MS = 1_000;
/** A service that is restarted is back before that. */
const AWAY_MS = 60_000;

/** @param again what to do when it stays away, said behind what is wrong */
export async function patiently<T>(env: Env, ask: () => Promise<T>, again: string): Promise<T> {
  const since = env.clock.monotonic();
  for (;;) {
    try {
      return await ask();
    } catch (e) {
      if (!isAway(e)) throw e;
      if (env.clock.monotonic() - since > AWAY_MS) throw e instanceof Unreachable ? new Unreachable(`${e.message}; ${again}`, e.absent) : e;
    }
    await sleep(env.clock, LOOK_MS);
  }
}

const isAway = (e: unknown): boolean => e instanceof Unreachable || (e instanceof Refused && e.code === 'Unavailable');
