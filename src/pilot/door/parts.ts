/** What the door's requests are answered with. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { isFault, type FaultCode } from '../../lease/faults.ts';
import { PilotRefusal } from '../../manager/slots/inbox-refusal.ts';
import type { ChannelVisit, Inbox } from '../../manager/slots/inbox.ts';
import type { Context } from '../../platform/context.ts';
import { DeadlineExceeded } from '../../platform/deadline.ts';
import type { RefusalCode } from '../protocol.ts';
import type { Refusals } from './refusals.ts';

/** Takes streams over that were authenticated, the agent speaking first (`src/control/client/pilot-channels.ts`). */
export interface ChannelDesk {
  offer(key: ChannelVisit, stream: Duplex): void;
}

export interface PilotDoorParts {
  readonly ctx: Context;
  readonly inbox: Inbox;
  /** Where pilots find services, this one first; none: as their credentials say. */
  readonly contacts: () => readonly string[];
  readonly refusals: Refusals;
}

/** A request whose head and body are here. */
export interface Received {
  readonly method: string;
  /** Request target as sent. */
  readonly target: string;
  readonly authorization: string | undefined;
  readonly body: Buffer;
  /** Address of the other end; asked for where it is logged, as it costs a system call. */
  readonly peer: () => string;
}

/** Pilots wait for 5 s; what is stored later than this is acknowledged when it is repeated. */
export const ANSWER_MS = 5_000;

const OF_FAULT: Readonly<Partial<Record<FaultCode, RefusalCode>>> = { RequestTooLarge: 'TooLarge', Busy: 'Busy', Unavailable: 'Unavailable' };

export const peerOf = (request: IncomingMessage) => (): string => request.socket.remoteAddress ?? '';

/** What a pilot is told of any error; what nobody foresaw is logged here. */
export function asRefusal({ log }: Context, e: unknown): PilotRefusal {
  if (e instanceof PilotRefusal) return e;
  if (e instanceof DeadlineExceeded) return new PilotRefusal('Unavailable', 'The service did not store it in time; send it again.');
  const code = isFault(e) ? OF_FAULT[e.code] : undefined;
  if (isFault(e) && code !== undefined) return new PilotRefusal(code, e.text);
  log.error('a pilot\'s request failed', { error: e instanceof Error ? e.stack ?? e.message : String(e) });
  return new PilotRefusal('Unavailable', 'The service failed; its log says why. Send it again.');
}
