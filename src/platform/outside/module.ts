/**
 * A function of an ES module that the site wrote, run in a thread of its own: what it does, also an endless loop or too much
 * memory, ends with the thread and not with the service. A thread that has ended is started again by the next question.
 */
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Context, Timer } from '../context.ts';
import { errorText } from '../errors.ts';
import { MOST_UNDER_WAY, OutsideFailed, tooMany, type Outside } from './types.ts';

const MOST_MEMORY_MB = 256;

/** Plain JavaScript, as the thread has nothing of the service's own. The limit of its heap does not count Buffers: it counts them itself. */
const THREAD = `
const { parentPort, workerData: { url, name, mostMb } } = require('node:worker_threads');
const { getHeapStatistics } = require('node:v8');
const look = () => {
  const mb = Math.round(getHeapStatistics().external_memory / 2 ** 20);
  if (mb > mostMb) throw new Error('it holds ' + mb + ' MiB in Buffers, more than ' + mostMb);
};
setInterval(look, 1000).unref();
const text = (e) => String(e?.message ?? e).slice(0, 1000);
const loaded = import(url).then((m) => {
  if (typeof m[name] !== 'function') throw new Error('it exports no function called ' + name);
  return m[name];
});
loaded.then(() => parentPort.postMessage({ loaded: true }), (e) => parentPort.postMessage({ loaded: false, error: text(e) }));
parentPort.on('message', async ({ id, input }) => {
  try {
    parentPort.postMessage({ id, answer: await (await loaded)(input) });
  } catch (e) {
    parentPort.postMessage({ id, error: text(e) });
  }
  look();
});`;

type Told = { readonly loaded: boolean; readonly error?: string } | { readonly id: number; readonly answer?: unknown; readonly error?: string };

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (e: OutsideFailed) => void;
  readonly timer: Timer;
}

export interface ModuleOptions {
  readonly file: string;
  readonly exported: string;
  readonly deadlineMs: number;
}

export interface OutsideModule extends Outside {
  /** Resolves when the module was loaded. @throws OutsideFailed */
  load(): Promise<void>;
}

export function createOutsideModule(ctx: Context, { file, exported, deadlineMs }: ModuleOptions): OutsideModule {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | undefined;
  let loaded: Promise<void> | undefined;
  let asked = 0;
  let lastHeard = -Infinity;

  function end(thread: Worker, why: string): void {
    if (worker !== thread) return;
    worker = undefined;
    loaded = undefined;
    void thread.terminate();
    for (const { reject, timer } of waiting.values()) {
      timer.cancel();
      reject(new OutsideFailed(why));
    }
    waiting.clear();
  }

  function start(): Worker {
    const thread = new Worker(THREAD, {
      eval: true, workerData: { url: pathToFileURL(file).href, name: exported, mostMb: MOST_MEMORY_MB }, resourceLimits: { maxOldGenerationSizeMb: MOST_MEMORY_MB },
    });
    thread.unref();
    worker = thread;
    loaded = new Promise((resolve, reject) => {
      thread.on('message', (m: Told) => {
        lastHeard = ctx.clock.monotonic();
        if ('id' in m) return answer(m);
        if (m.loaded) return resolve();
        reject(new OutsideFailed(`${file} cannot be loaded: ${m.error ?? ''}`));
        end(thread, `${file} cannot be loaded: ${m.error ?? ''}`);
      });
      thread.on('error', (e) => { reject(new OutsideFailed(errorText(e))); end(thread, `its thread ended: ${errorText(e)}`); });
      thread.on('exit', () => { reject(new OutsideFailed('its thread ended')); end(thread, 'its thread ended'); });
    });
    // Who does not wait for it hears of it with his answer.
    loaded.catch(() => undefined);
    return thread;
  }

  function answer(m: Extract<Told, { id: number }>): void {
    const w = waiting.get(m.id);
    if (w === undefined) return;
    waiting.delete(m.id);
    w.timer.cancel();
    if (m.error === undefined) w.resolve(m.answer);
    else w.reject(new OutsideFailed(`it threw: ${m.error}`));
  }

  function late(id: number, thread: Worker, askedAt: number): void {
    const w = waiting.get(id);
    waiting.delete(id);
    w?.reject(new OutsideFailed(`it did not answer within ${deadlineMs} ms`));
    // Silent for all that time: it may be in a loop from which no message will come.
    if (lastHeard < askedAt) end(thread, 'its thread did not answer and was ended');
  }

  return {
    ask(input) {
      if (waiting.size >= MOST_UNDER_WAY) return Promise.reject(tooMany());
      const thread = worker ?? start();
      const id = (asked += 1);
      const at = ctx.clock.monotonic();
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject, timer: ctx.clock.after(deadlineMs, () => late(id, thread, at), true) });
        thread.postMessage({ id, input });
      });
    },
    load() {
      if (worker === undefined) start();
      return loaded ?? Promise.resolve();
    },
    async close() {
      const thread = worker;
      if (thread === undefined) return;
      end(thread, 'the service stops');
      await thread.terminate();
    },
  };
}
