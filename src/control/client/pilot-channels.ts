/**
 * Channels that pilots open to the service, where SSH to borrowed nodes is closed. The notification door authenticates
 * them and offers them here; the channel of that node takes them.
 *
 * A node has one seat. The stream that came last counts: a pilot opens another only when the one before is dead for it,
 * and a half-open TCP connection would keep the seat for minutes. Streams that nobody takes are closed after a while.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Context, Timer } from '../../platform/context.ts';
import type { NodeAccess } from '../types.ts';
import { streamLink } from './stream-link.ts';
import type { AgentLink, Transport } from './transport.ts';

const UNCLAIMED_MS = 60_000;
/** A stream costs a descriptor; more pilots than this at once come from no real site. */
const MAX_UNCLAIMED = 4096;

export interface ChannelKey {
  readonly slot: string;
  readonly host: string;
  /** The pilot process: another one of the same node is another life of the job. */
  readonly pilot: string;
}

export type PilotAccess = NodeAccess & { transport: 'pilot' };

export interface PilotChannels {
  /** Takes an authenticated stream over, whose first bytes will be the agent's hello. Streams that cannot be used are destroyed. */
  offer(key: ChannelKey, stream: Duplex): void;
  transport(access: PilotAccess): Transport;
  /** Streams that wait to be taken. */
  readonly unclaimed: number;
  /** Destroys what waits, and takes nothing more. */
  close(): void;
}

interface Offered {
  readonly pilot: string;
  readonly stream: Duplex;
  readonly expiry: Timer;
}

/** What is known of one node: who wants its stream, the one that waits, the one in use. */
interface Seat {
  wanted?: { readonly pilot: string; readonly wake: () => void };
  taker?: { readonly pilot: string; readonly take: (stream: Duplex) => void };
  offered?: Offered;
  link?: AgentLink;
}

export function createPilotChannels({ clock, log }: Context): PilotChannels {
  const seats = new Map<string, Seat>();
  let unclaimed = 0;
  let closed = false;

  const seatOf = (name: string): Seat => {
    const seat = seats.get(name) ?? {};
    seats.set(name, seat);
    return seat;
  };
  /** Called at the end of whatever may have emptied a seat. */
  const tidy = (name: string, seat: Seat): void => {
    if (Object.keys(seat).length === 0 && seats.get(name) === seat) seats.delete(name);
  };
  /** The stream that waits, which from now on is the caller's. */
  const take = (seat: Seat): Offered | undefined => {
    const { offered } = seat;
    if (offered === undefined) return undefined;
    offered.expiry.cancel();
    delete seat.offered;
    unclaimed -= 1;
    return offered;
  };
  const wait = (name: string, seat: Seat, pilot: string, stream: Duplex): void => {
    take(seat)?.stream.destroy();
    const drop = (): void => {
      stream.destroy();
      if (seat.offered?.stream === stream) take(seat);
      tidy(name, seat);
    };
    seat.offered = { pilot, stream, expiry: clock.after(UNCLAIMED_MS, drop, true) };
    unclaimed += 1;
    stream.once('close', drop);
  };
  const use = (name: string, stream: Duplex): AgentLink => {
    const seat = seatOf(name);
    const link = streamLink(stream, clock);
    seat.link = link;
    void link.ended.then(() => {
      if (seat.link === link) delete seat.link;
      tidy(name, seat);
    });
    return link;
  };

  return {
    get unclaimed() { return unclaimed; },
    offer(key, stream) {
      stream.on('error', () => stream.destroy());
      const refuse = (why: string): void => {
        log.warn('a pilot\'s channel is refused', { ...key, reason: why });
        stream.destroy();
      };
      if (closed) return refuse('the service stops');
      if (stream instanceof Socket) stream.setTimeout(0).setNoDelay(true);
      const name = nameOf(key);
      const seat = seatOf(name);
      // Nobody may have asked for the node yet; then the one who takes the stream looks.
      const pilot = seat.wanted?.pilot ?? seat.taker?.pilot ?? key.pilot;
      if (pilot !== key.pilot) return refuse(`pilot ${pilot} has the node now`);
      if (seat.offered === undefined && unclaimed >= MAX_UNCLAIMED) {
        tidy(name, seat);
        return refuse(`${MAX_UNCLAIMED} channels wait to be taken already`);
      }
      if (seat.taker !== undefined) return seat.taker.take(stream);
      wait(name, seat, key.pilot, stream);
      seat.link?.close('broken');
      seat.wanted?.wake();
    },
    transport({ slot, host, pilot }) {
      const name = nameOf({ slot, host });
      return {
        describe: `pilot ${pilot} of ${slot} on ${host}`,
        lateReason: 'its pilot has not opened the channel',
        onReady(wake) {
          const seat = seatOf(name);
          const wanted = { pilot, wake };
          seat.wanted = wanted;
          return () => {
            if (seat.wanted === wanted) delete seat.wanted;
            tidy(name, seat);
          };
        },
        open(signal) {
          if (signal.aborted) return Promise.reject(signal.reason as Error);
          const seat = seatOf(name);
          const waiting = take(seat);
          if (waiting?.pilot === pilot) return Promise.resolve(use(name, waiting.stream));
          waiting?.stream.destroy();
          return nextOffer(seat, pilot, signal).then((stream) => use(name, stream)).finally(() => tidy(name, seat));
        },
      };
    },
    close() {
      closed = true;
      for (const seat of seats.values()) take(seat)?.stream.destroy();
    },
  };
}

const nameOf = ({ slot, host }: Pick<ChannelKey, 'slot' | 'host'>): string => `${slot} ${host}`;

/** Resolves with the next stream that is offered to the seat; rejects when the signal fires. */
function nextOffer(seat: Seat, pilot: string, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      signal.removeEventListener('abort', onAbort);
      if (seat.taker === taker) delete seat.taker;
    };
    const onAbort = (): void => {
      done();
      reject(signal.reason as Error);
    };
    const taker = {
      pilot,
      take: (stream: Duplex): void => {
        done();
        resolve(stream);
      },
    };
    signal.addEventListener('abort', onAbort, { once: true });
    seat.taker = taker;
  });
}
