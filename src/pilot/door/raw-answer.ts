/** A whole answer on a connection that HTTP's own writer has let go of, and the connection's end. */
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../platform/context.ts';
import type { Answer } from './answers.ts';

/** What the other end still sends is read and thrown away for so long, so that it can read its answer. */
const LINGER_MS = 2_000;

export function endWith(clock: Clock, socket: Duplex, { status, contentType, headers, body }: Answer): void {
  if (!socket.writable) return void socket.destroy();
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, `Content-Type: ${contentType}`, `Content-Length: ${Buffer.byteLength(body)}`];
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i] ?? ''}: ${headers[i + 1] ?? ''}`);
  const timer = clock.after(LINGER_MS, () => socket.destroy(), true);
  socket.once('close', () => timer.cancel());
  socket.end([...lines, 'Connection: close', '', body].join('\r\n'));
  socket.resume();
}
