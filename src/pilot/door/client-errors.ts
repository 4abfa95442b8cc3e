/** Answers to what is no HTTP request, or stops being one in its body: Node hands these over with the bare socket. */
import type { Server } from 'node:http';
import { PilotRefusal } from '../../manager/slots/inbox-refusal.ts';
import type { Context } from '../../platform/context.ts';
import type { Outstanding } from '../../platform/http/connections.ts';
import { refused, type Answer } from './answers.ts';
import { endWith } from './raw-answer.ts';

export function handleClientErrors(server: Server, { clock, log }: Context, outstanding: Outstanding): void {
  server.on('clientError', (e: NodeJS.ErrnoException, socket) => {
    const [oldest, ...further] = outstanding(socket);
    // An answer that has begun would be cut in two by another, and one to a later request must not overtake it.
    const begun = further.length > 0 || oldest?.headersSent === true;
    if (!socket.writable || begun || e.code === 'ECONNRESET') return void socket.destroy();
    log.debug('no HTTP request', { code: e.code ?? e.message });
    endWith(clock, socket, answerTo(e.code));
  });
}

function answerTo(code: string | undefined): Answer {
  if (code === 'HPE_HEADER_OVERFLOW') return { ...refused(new PilotRefusal('TooLarge', 'The request line and headers are too long.')), status: 431 };
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return { ...refused(new PilotRefusal('Malformed', 'The request did not arrive in time.')), status: 408 };
  return refused(new PilotRefusal('Malformed', 'This is not an HTTP request that can be read.'));
}
