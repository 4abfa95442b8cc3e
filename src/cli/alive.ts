/** Whether the service lives, asked while a command waits for its answer: one that hangs is told within seconds, one that works on is waited for. */
import { request } from 'node:http';
import type { Clock } from '../platform/context.ts';

/** Most answers are there before anybody asks. */
const FIRST_MS = 1_000;
const AGAIN_MS = 5_000;
/** It answers this whatever else it does; a machine under load may take a few seconds. */
export const ALIVE_WITHIN_MS = 8_000;
const PATH = '/v1/alive';

/** Calls `hangs` once when the service gives no sign of life. Returns what ends the asking. */
export function watchAlive(clock: Clock, socketPath: string, hangs: () => void): () => void {
  let over = false;
  let timer = clock.after(FIRST_MS, look);
  let end = (): void => undefined;

  function look(): void {
    const req = request({ socketPath, method: 'GET', path: PATH, headers: { host: 'nimbus' }, agent: false });
    end = () => req.destroy();
    let heard = false;
    const again = (): void => {
      if (over || heard) return;
      heard = true;
      timer.cancel();
      timer = clock.after(AGAIN_MS, look);
    };
    // What is refused or breaks off is an answer too: what it means, the command's own request says.
    req.on('response', (res) => { res.resume(); again(); }).on('error', again).end();
    timer = clock.after(ALIVE_WITHIN_MS, () => { stop(); hangs(); });
  }

  function stop(): void {
    over = true;
    timer.cancel();
    end();
  }
  return stop;
}
