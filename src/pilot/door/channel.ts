/**
 * `GET /pilot_channel/v02/` with `Upgrade: nimbus-control`: after the answer 101 the connection is the agent's channel. The
 * request is proved like a notification with an empty body, and its counter is stored like one.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { PilotRefusal } from '../../manager/slots/inbox-refusal.ts';
import { withDeadline } from '../../platform/deadline.ts';
import { CHANNEL_PATH, CHANNEL_PROTOCOL, HOST_NAME, NODE_HEADER, PILOT_HEADER, PILOT_ID } from '../protocol.ts';
import { refused } from './answers.ts';
import type { Authenticate } from './authenticate.ts';
import { NOT_PROVED } from './notify.ts';
import { ANSWER_MS, asRefusal, peerOf, type ChannelDesk, type PilotDoorParts } from './parts.ts';
import { endWith } from './raw-answer.ts';

/** Channels and requests for one, of all pilots together. */
const MOST_CHANNELS = 4_096;
const EMPTY = Buffer.alloc(0);

export interface ChannelDoor {
  /** Takes the connection over, whatever comes of it. `head`: what came behind the request already. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Ends every connection that it has. */
  close(): void;
}

export function createChannelDoor(parts: PilotDoorParts, authenticate: Authenticate, channels: ChannelDesk): ChannelDoor {
  const { ctx, inbox, refusals } = parts;
  const sockets = new Set<Duplex>();

  const open = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const peer = peerOf(request);
    let slot = '';
    let host: string | undefined;
    try {
      if (sockets.size > MOST_CHANNELS) throw new PilotRefusal('Busy', `${MOST_CHANNELS} channels are open.`);
      const wanted = readUpgrade(request);
      host = wanted.host;
      const who = await authenticate({ method: 'GET', target: request.url ?? '', authorization: request.headers.authorization, body: EMPTY, peer });
      if ('challenge' in who) {
        if (!who.asked) refusals.note({ ...NOT_PROVED, slot: who.named, proved: false, host, peer: peer() });
        return endWith(ctx.clock, socket, refused(NOT_PROVED, who.challenge));
      }
      slot = who.slot;
      const admitted = await withDeadline(ctx.clock, ANSWER_MS, 'admitting', inbox.admitChannel({ slot, ...wanted }, who.proof));
      if (socket.destroyed) return;
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${CHANNEL_PROTOCOL}\r\nConnection: Upgrade\r\n\r\n`);
      if (head.length > 0) socket.unshift(head);
      ctx.log.debug('a pilot opened its channel', { slot, host: admitted.host, pilot: wanted.pilot });
      channels.offer({ slot, host: admitted.host, pilot: wanted.pilot }, socket);
    } catch (e) {
      const refusal = asRefusal(ctx, e);
      refusals.note({ code: refusal.code, message: refusal.message, slot, proved: slot !== '', peer: peer(), ...(host === undefined ? {} : { host }) });
      endWith(ctx.clock, socket, refused(refusal));
    }
  };

  return {
    upgrade(request, socket, head) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      // A reset is an end like any other; whoever takes the stream over listens for itself.
      socket.on('error', () => socket.destroy());
      void open(request, socket, head);
    },
    close() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** @throws PilotRefusal Malformed */
function readUpgrade(request: IncomingMessage): { host: string; pilot: string } {
  const { headers, method, url = '' } = request;
  const [host, pilot] = [headers[NODE_HEADER], headers[PILOT_HEADER]];
  if (method !== 'GET' || !url.endsWith(CHANNEL_PATH)) throw new PilotRefusal('Malformed', 'Nothing here is upgraded but the agent\'s channel.');
  if (headers.upgrade?.toLowerCase() !== CHANNEL_PROTOCOL) throw new PilotRefusal('Malformed', `The channel is upgraded to ${CHANNEL_PROTOCOL}.`);
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0) throw new PilotRefusal('Malformed', 'A request for the channel has no body.');
  if (typeof host !== 'string' || !HOST_NAME.test(host)) throw new PilotRefusal('Malformed', `The header ${NODE_HEADER} must be the node's host name.`);
  if (typeof pilot !== 'string' || !PILOT_ID.test(pilot)) throw new PilotRefusal('Malformed', `The header ${PILOT_HEADER} must be 16 hex digits.`);
  return { host, pilot };
}
