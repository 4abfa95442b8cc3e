/**
 * A seed that the world cannot end by itself, as one in which the program computes for ever, is reported and the run ended: a thread
 * of its own looks at the process's CPU time, because the main one may never come to look again.
 */
import { Worker } from 'node:worker_threads';

const LOOK_MS = 500;

/** Runs in the thread: `shared` holds the seed's number, -1 between seeds, and the CPU ms that it began at. */
const THREAD = `
const { workerData: { shared, most, lines } } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const state = new Float64Array(shared);
setInterval(() => {
  const [seed, begun] = state;
  const { user, system } = process.cpuUsage();
  if (seed < 0 || (user + system) / 1000 - begun < most) return;
  writeSync(1, lines.replaceAll('SEED', String(seed)) + '\\n');
  process.kill(process.pid, 'SIGKILL');
}, ${LOOK_MS});
`;

export interface Watchdog {
  begin(seed: number): void;
  end(): void;
}

/** @param lines what is printed in the end, with SEED in the place of the number */
export function watchdog(most: number, lines: string): Watchdog {
  const shared = new SharedArrayBuffer(16);
  const state = new Float64Array(shared).fill(-1);
  new Worker(THREAD, { eval: true, workerData: { shared, most, lines } }).unref();
  return {
    begin(seed) {
      const { user, system } = process.cpuUsage();
      state[1] = (user + system) / 1000;
      state[0] = seed;
    },
    end: () => { state[0] = -1; },
  };
}
