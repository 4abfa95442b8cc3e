/** What every story of the demo is told with: lines with the time since the start, waiting that can be interrupted. */
import { sleep } from '../platform/deadline.ts';
import { realClock } from '../platform/real.ts';

const POLL_MS = 50;

/** Ctrl-C, a signal, or a reader that went away: everything is taken down in order, as at the end. */
export class Interrupted extends Error {}
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => { interrupted = true; });
process.stdout.on('error', () => { interrupted = true; });

const startedAt = realClock.monotonic();
const seconds = (): string => `${((realClock.monotonic() - startedAt) / 1000).toFixed(2).padStart(6)} s`;
export const say = (text: string): void => console.log(text);
export const step = (text: string): void => say(`${seconds()}  ${text}`);

export const sayNoQemu = (): void => step('QEMU is not on this machine, so the VMs are simulated; install qemu-system-x86 and qemu-utils for real ones');

export async function until<T>(what: string, ms: number, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = realClock.monotonic() + ms;
  for (;;) {
    if (interrupted) throw new Interrupted();
    const found = await look();
    if (found !== undefined) return found;
    if (realClock.monotonic() > deadline) throw new Error(`${what} did not happen within ${ms / 1000} s`);
    await sleep(realClock, POLL_MS);
  }
}
