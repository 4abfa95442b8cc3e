/** Answers to what is no HTTP request, or stops being one in its body: Node hands these over with the bare socket. */
import { STATUS_CODES } from 'node:http';
import type { Server } from 'node:http';
import { Fault } from '../lease/faults.ts';
import type { Context } from '../platform/context.ts';
import type { Outstanding } from '../platform/http/connections.ts';
import { newRequestId } from '../platform/ids.ts';
import { errorDocument } from './xml.ts';

export function handleClientErrors(server: Server, ctx: Context, contentType: string, outstanding: Outstanding): void {
  server.on('clientError', (e: NodeJS.ErrnoException, socket) => {
    const [oldest, ...further] = outstanding(socket);
    // An answer that has begun would be cut in two by another, and one to a later request must not overtake it.
    const begun = further.length > 0 || oldest?.headersSent === true;
    if (!socket.writable || begun || e.code === 'ECONNRESET') return void socket.destroy();
    const { status, fault } = read(e.code);
    const id = newRequestId(ctx.random);
    ctx.log.debug('no HTTP request', { requestId: id, code: e.code ?? e.message });
    const body = errorDocument(fault.ec2, fault.text, id);
    socket.end([
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, `Content-Type: ${contentType}`, `x-amzn-requestid: ${id}`,
      `Content-Length: ${Buffer.byteLength(body)}`, 'Connection: close', '', body,
    ].join('\r\n'));
  });
}

function read(code: string | undefined): { status: number; fault: Fault } {
  if (code === 'HPE_HEADER_OVERFLOW') return { status: 431, fault: new Fault('RequestTooLarge', 'The request line and headers are too long.') };
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return { status: 408, fault: new Fault('RequestMalformed', 'The request did not arrive in time.', [], { ec2: 'RequestTimeout' }) };
  return { status: 400, fault: new Fault('RequestMalformed', 'This is not an HTTP request that can be read.') };
}
