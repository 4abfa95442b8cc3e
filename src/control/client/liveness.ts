/**
 * Is the agent there, and what does its clock say? A ping goes out five times in the silence that is allowed; four ticks
 * in which nothing was heard are the end. Counting ticks and not milliseconds forgives a service that was itself
 * stopped for a while: its late tick is one tick.
 */
import type { Clock, Timer } from '../../platform/context.ts';

const TICKS_IN_SILENCE = 5;
const QUIET_TICKS = TICKS_IN_SILENCE - 1;
/** An agent that is heard but answers no ping gets no further ones than these. */
const MOST_UNANSWERED = 100;
/** The offset is taken from the fastest of so many round trips: the slow ones waited somewhere. */
const SAMPLES = 8;

export interface Liveness {
  start(): void;
  heard(): void;
  /** False when no such ping is under way. */
  pong(ping: number, agentClock: number): boolean;
  readonly clockOffsetMs: number;
  readonly roundTripMs: number | null;
  stop(): void;
}

export interface LivenessOptions {
  readonly clock: Clock;
  readonly silenceMs: number;
  readonly ping: (n: number) => void;
  readonly onTick: () => void;
  readonly onSilent: () => void;
  readonly onDeaf: () => void;
  readonly onRoundTrip: (ms: number) => void;
}

interface Sample {
  readonly roundTrip: number;
  readonly offset: number;
}

export function watchLiveness({ clock, silenceMs, ping, onTick, onSilent, onDeaf, onRoundTrip }: LivenessOptions): Liveness {
  const sent = new Map<number, { mono: number; wall: number }>();
  const samples: Sample[] = [];
  let next = 1;
  let quiet = 0;
  let timer: Timer | undefined;

  const sendPing = (): void => {
    sent.set(next, { mono: clock.monotonic(), wall: clock.now() });
    ping(next);
    next += 1;
  };
  const tick = (): void => {
    quiet += 1;
    if (quiet > QUIET_TICKS) return onSilent();
    if (sent.size >= MOST_UNANSWERED) return onDeaf();
    arm();
    onTick();
    sendPing();
  };
  const arm = (): void => {
    timer = clock.after(silenceMs / TICKS_IN_SILENCE, tick, true);
  };
  const best = (): Sample | undefined =>
    samples.reduce<Sample | undefined>((a, b) => (a === undefined || b.roundTrip < a.roundTrip ? b : a), undefined);

  return {
    start() {
      arm();
      sendPing();
    },
    heard: () => { quiet = 0; },
    pong(n, agentClock) {
      const at = sent.get(n);
      if (at === undefined) return false;
      for (const older of sent.keys()) if (older <= n) sent.delete(older);
      const roundTrip = clock.monotonic() - at.mono;
      onRoundTrip(roundTrip);
      samples.push({ roundTrip, offset: agentClock - (at.wall + roundTrip / 2) });
      if (samples.length > SAMPLES) samples.shift();
      return true;
    },
    get clockOffsetMs() { return Math.round(best()?.offset ?? 0); },
    get roundTripMs() { return best()?.roundTrip ?? null; },
    stop: () => timer?.cancel(),
  };
}
