/** What each connection still waits for: a client may send requests before it has read its answers (RFC 9112, 9.3.2). */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** Answers that a connection has not got yet, oldest first. */
export type Outstanding = (socket: Duplex) => readonly ServerResponse[];

export function trackAnswers(server: Server): Outstanding {
  const bySocket = new WeakMap<Duplex, ServerResponse[]>();
  const begin = (request: IncomingMessage, response: ServerResponse): void => {
    const list = bySocket.get(request.socket) ?? [];
    bySocket.set(request.socket, list);
    list.push(response);
    response.once('close', () => list.splice(list.indexOf(response), 1));
  };
  // Before the listeners that answer: they ask.
  server.prependListener('request', begin);
  server.prependListener('checkContinue', begin);
  return (socket) => bySocket.get(socket) ?? [];
}
