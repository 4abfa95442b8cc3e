/**
 * Whether the file systems that a start needs answer. A call to one that does not, as of an NFS server that is away, has no end: no timer
 * and no signal's handler runs beside it where it is a synchronous one, and no exit gets past it. So a process of its own calls first,
 * which can be killed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Clock, Timer } from './context.ts';
import { StartError } from './errors.ts';

export interface Place {
  /** As the sentence names it. */
  readonly what: string;
  readonly path: string;
}

export const ANSWER_MS = 20_000;
/**
 * Of each path what is there of it, as nobody has made the rest yet: statfs(2) asks a server where stat(2) may be answered from memory.
 * What is wrong with a file system that answers is told by those who use it.
 */
const ASK = `
  const { statfsSync, writeSync } = require('node:fs');
  const { dirname } = require('node:path');
  for (let path of process.argv.slice(1)) {
    for (;;) {
      try { statfsSync(path); break; } catch (e) { if (e.code !== 'ENOENT' || dirname(path) === path) break; }
      path = dirname(path);
    }
    writeSync(1, '.');
  }`;

export const noAnswer = (what: string, path: string, ms: number): string =>
  `${what} = "${path}" does not answer: its file system has let ${ms / 1000} s pass; see that it can be listed (is its server there?), then start again`;

/** @throws StartError that names the first that does not answer; what `stopped` rejects with */
export async function requireAnswers(clock: Clock, places: readonly Place[], stopped: Promise<never>, ms = ANSWER_MS): Promise<void> {
  let timer: Timer | undefined;
  const tooLate = new Promise<void>((resolve) => { timer = clock.after(ms, resolve); });
  try {
    const silent = await firstSilent(places.map((p) => p.path), Promise.race([tooLate, stopped]));
    if (silent === undefined) return;
    const { what, path } = places[silent] ?? { what: 'a directory', path: '' };
    throw new StartError(noAnswer(what, path, ms));
  } finally {
    timer?.cancel();
  }
}

/** Which of the paths had not answered, nor those after it, when `waited` was over; undefined: all have. @throws what `waited` rejects with */
export async function firstSilent(paths: readonly string[], waited: Promise<void>): Promise<number | undefined> {
  const child = spawn(process.execPath, ['-e', ASK, ...paths], { stdio: ['ignore', 'pipe', 'ignore'], cwd: '/' });
  let answered = 0;
  child.stdout.on('data', (dots: Buffer) => { answered += dots.length; });
  try {
    return await Promise.race([once(child, 'close').then(() => undefined), waited.then(() => answered)]);
  } finally {
    // One that hangs in a call ends when the call lets it.
    child.kill('SIGKILL');
    child.stdout.destroy();
    child.unref();
  }
}
