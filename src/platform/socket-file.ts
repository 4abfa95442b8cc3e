/**
 * A Unix socket whose file stays where it was made. Who cleans up old files (tmpfiles.d), or a hand, removes the file under a program that
 * listens; nobody could reach it any more, and it would not know. It listens anew then; connections that stand are not touched.
 */
import { chmodSync, existsSync } from 'node:fs';
import type { Server } from 'node:net';

/** What the clocks of service and agent have in common. */
interface Clock {
  after(ms: number, fn: () => void, background?: boolean): { cancel(): void };
}

export interface KeptSocket {
  /** Before its owner closes the server. */
  stop(): void;
}

/**
 * @param everyMs how often the file is looked for
 * @param path of the server, which listens; a name that is short enough. What is made anew is 0600
 * @param onLost called when the file is found gone: with nothing when it is there again, with the reason, once, while it cannot be made
 */
export function keepSocketFile(clock: Clock, everyMs: number, server: Server, path: string, onLost: (why?: Error) => void): KeptSocket {
  let failing = false;
  const listening = (): void => {
    chmodSync(path, 0o600);
    failing = false;
    onLost();
  };
  const failed = (e: Error): void => {
    if (!failing) onLost(e);
    failing = true;
  };
  const look = (): void => {
    timer = clock.after(everyMs, look, true);
    if (existsSync(path)) return;
    // Only the listener goes; that `close` also waits for connections is nobody's concern here.
    server.close();
    server.listen(path);
  };
  let timer = clock.after(everyMs, look, true);
  server.on('listening', listening).on('error', failed);
  return {
    stop() {
      timer.cancel();
      server.off('listening', listening);
    },
  };
}
