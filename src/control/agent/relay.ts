/**
 * The second agent of a directory: passes its stream on to the one that holds it. A relay has no state; when the holder
 * ends, the relay ends too, and the service that reconnects starts the next holder.
 */
import type { Socket } from 'node:net';
import type { Peer } from './connection.ts';
import { within } from './clock.ts';
import type { Clock } from './clock.ts';
import { EXIT, Exit } from './exit.ts';
import { hangsExit } from './holder.ts';
import { encodeLine } from '../wire.ts';
import { isNewer } from './versions.ts';

/** Shorter than a service waits for a hello: its sentence is to be this one. */
export const GREETING_MS = 5_000;
const LONGEST_HELLO = 4096;

export interface Greeting {
  /** The holder's version; undefined when it said something else, or nothing: it is on its way out. */
  readonly version: string | undefined;
  /** Everything read so far. */
  readonly bytes: Buffer;
}

export function readGreeting(clock: Clock, socket: Socket, stateDir: string): Promise<Greeting> {
  const read = new Promise<Greeting>((resolve) => {
    let bytes = Buffer.alloc(0);
    const end = (): void => {
      socket.off('data', data).off('close', end).off('end', end).off('error', end).pause();
      resolve({ version: versionIn(bytes), bytes });
    };
    const data = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.includes(10) || bytes.length > LONGEST_HELLO) end();
    };
    socket.on('data', data).on('close', end).on('end', end).on('error', end);
  });
  return within(clock, GREETING_MS, read, () => hangsExit(stateDir, `has said nothing for ${GREETING_MS / 1000} s`));
}

function versionIn(bytes: Buffer): string | undefined {
  try {
    const line = JSON.parse(bytes.subarray(0, bytes.indexOf(10)).toString('utf8')) as { hello?: { version?: unknown } };
    return typeof line.hello?.version === 'string' ? line.hello.version : undefined;
  } catch {
    return undefined;
  }
}

/** Asks an older holder to go; resolves when its stream has ended. */
export async function takeOver(clock: Clock, socket: Socket, own: string, holder: string, deadlineMs: number): Promise<void> {
  if (!isNewer(own, holder)) throw new Exit(EXIT.internal, `version ${own} is not newer than ${holder}`);
  const gone = new Promise<void>((resolve) => socket.on('close', resolve).on('error', () => undefined));
  socket.on('end', () => socket.end()).resume();
  socket.write(encodeLine({ retire: own }));
  await within(clock, deadlineMs, gone, () => new Exit(EXIT.environment, `version ${holder} did not give the directory up within ${deadlineMs} ms`));
}

/** Resolves when the peer has gone. @throws Exit when the holder has */
export function relay(socket: Socket, greeting: Greeting, peer: Peer): Promise<void> {
  return new Promise((resolve, reject) => {
    let peerEnded = false;
    const peerGone = (): void => {
      peerEnded = true;
      socket.end();
    };
    peer.input.on('end', peerGone).on('error', peerGone);
    peer.output.on('error', () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('close', () => {
      peer.input.destroy();
      if (peerEnded) resolve();
      else reject(new Exit(EXIT.failed, 'the agent that held the directory has ended; connect again'));
    });
    socket.on('end', () => socket.end());
    peer.output.write(greeting.bytes);
    peer.input.pipe(socket, { end: false });
    socket.pipe(peer.output, { end: false });
  });
}
