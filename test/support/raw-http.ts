/** HTTP as bytes on a socket: for requests that no client library would send. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  /** Error code of the EC2 door, or '' */
  readonly code: string;
  readonly text: string;
}

export async function openSocket(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  // A peer that resets is an end like any other.
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** Sends the bytes and reads until the server closes: every answer that it gave. */
export async function converse(port: number, bytes: Buffer | string): Promise<RawAnswer[]> {
  const socket = await openSocket(port);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.write(bytes);
  await once(socket, 'close');
  return answers(Buffer.concat(chunks).toString('latin1'));
}

function answers(text: string): RawAnswer[] {
  return text.split(/(?=HTTP\/1\.1 \d{3} )/).filter((part) => part !== '').map((part) => ({
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(part)?.[1]),
    code: /<Code>([^<]*)<\/Code>/.exec(part)?.[1] ?? '',
    text: part,
  }));
}

/** Head and body of a request; `Content-Length` is the body's unless the headers say something of the body themselves. */
export function rawRequest(line: string, headers: Readonly<Record<string, string>>, body = ''): string {
  const told = Object.keys(headers).some((h) => /^(content-length|transfer-encoding)$/i.test(h.trim()));
  const all = { ...headers, ...(told || body === '' ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }) };
  return `${line}\r\n${Object.entries(all).map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n${body}`;
}
