/** A link over one stream of both directions. */
import type { Duplex } from 'node:stream';
import type { Clock } from '../../platform/context.ts';
import type { AgentLink } from './transport.ts';

/** A peer that is gone would never take the rest. */
const GOODBYE_MS = 1_000;

/** The stream is the link's own from now on. */
export function streamLink(stream: Duplex, clock: Clock): AgentLink {
  let failure: string | undefined;
  stream.on('error', (e: Error) => { failure ??= e.message; });
  // The far side's end is the end: half a conversation is of no use.
  stream.once('end', () => stream.end());
  const ended = new Promise<string>((resolve) => {
    const end = (): void => resolve(failure ?? 'the connection was closed');
    if (stream.destroyed) end();
    else stream.once('close', end);
  });
  let closed = false;
  return {
    readable: stream,
    writable: stream,
    ended,
    close(how) {
      if (closed) return;
      closed = true;
      if (how === 'broken' || stream.destroyed) return void stream.destroy();
      const timer = clock.after(GOODBYE_MS, () => stream.destroy(), true);
      stream.once('close', () => timer.cancel());
      stream.end();
    },
  };
}
