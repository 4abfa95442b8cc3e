/** The service, watched: what is counted while it works, and the door that shows it. */
import { Registry } from 'prom-client';
import { siteFigures } from './manager/figures.ts';
import type { WorkerManager } from './manager/index.ts';
import { createMeter } from './monitoring/meter.ts';
import { readiness } from './monitoring/readiness.ts';
import { createMonitoringServer } from './monitoring/server.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import { startStep } from './platform/errors.ts';
import { createPulses } from './platform/pulses.ts';
import { VERSION } from './platform/version.ts';
import type { Db } from './store/db.ts';
import type { Dispatcher } from './workers/dispatcher.ts';

/** Longest pauses between two turns of a worker that works; each has one a second, the node monitor one in five. */
const WITHIN_MS = { dispatcher: 15_000, sweeper: 15_000, 'node monitor': 30_000 } as const;
export type Worker = keyof typeof WITHIN_MS;

export interface Monitoring {
  /** The context in which what happens is counted. */
  readonly ctx: Context;
  /** Called when the worker begins; it calls the answer after each turn that succeeded. */
  watch(worker: Worker): () => void;
  /** Opens the door; undefined when the configuration wants none. @throws StartError */
  open(parts: { db: Db; recorder: WorkerManager['recorder']; dispatcher: Dispatcher }): Promise<string | undefined>;
}

export function createMonitoring(given: Context, { monitoring: { listen } }: Config, onStop: (what: string, step: () => Promise<void> | void) => void): Monitoring {
  const register = listen === '' ? undefined : new Registry();
  const ctx = register === undefined ? given : { ...given, meter: createMeter(register) };
  const pulses = createPulses(ctx.clock);
  return {
    ctx,
    watch: (worker) => pulses.watch(worker, WITHIN_MS[worker]),
    async open({ db, recorder, dispatcher }) {
      if (register === undefined) return undefined;
      const server = createMonitoringServer(ctx, {
        listen, version: VERSION, register, site: () => siteFigures(ctx, db), readiness: () => readiness(ctx, db, pulses),
        process: () => ({ pool: db.connections ?? { total: 0, idle: 0, waiting: 0 }, reports: recorder.waiting, underWay: dispatcher.underWay }),
      });
      onStop('monitoring door', () => server.close());
      const { url } = await startStep(`the monitoring listener cannot be opened (monitoring.listen = "${listen}")`, () => server.listen());
      return url;
    },
  };
}
