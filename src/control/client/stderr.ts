/**
 * An agent's stderr goes to the service's log: bounded, so that a talkative agent cannot fill it. Read slowly where there is much of it, so
 * that one that floods waits, and the service has its time for others.
 */
import type { Readable } from 'node:stream';
import type { Clock, Log, Timer } from '../../platform/context.ts';
import { lineReader } from '../wire.ts';
import { excerpt } from './lines.ts';

const MAX_LINES = 100;
/** So much is read, and then nothing for a while: more than the trace of any crash. */
const MOST_BYTES = 256 * 1024;
/** Agents say what to do at the end of a sentence. */
const MOST_OF_A_LINE = 400;
const PAUSE_MS = 10_000;

export interface Stderr {
  /** The last line, for the sentence on why the link ended. */
  lastWords(): string | undefined;
  /** The agent is gone: what is left of its words ends by itself, and is not waited for. */
  ended(): void;
}

export function logStderr(stderr: Readable, clock: Clock, log: Log): Stderr {
  let lines = 0;
  let bytes = 0;
  let last: string | undefined;
  let pause: Timer | undefined;
  const read = lineReader((line) => {
    last = excerpt(line, MOST_OF_A_LINE);
    lines += 1;
    if (lines <= MAX_LINES) log.info('agent says', { stderr: last });
    if (lines === MAX_LINES) log.warn('agent says too much; the rest is dropped');
  }, () => log.warn('agent says too much; the rest is dropped'));
  const goOn = (): void => {
    pause?.cancel();
    pause = undefined;
    bytes = 0;
    stderr.resume();
  };
  stderr.on('data', (chunk: Buffer) => {
    read(chunk);
    bytes += chunk.length;
    if (bytes < MOST_BYTES || pause !== undefined) return;
    stderr.pause();
    pause = clock.after(PAUSE_MS, goOn, true);
  });
  stderr.on('error', () => undefined);
  stderr.once('close', () => pause?.cancel());
  const ended = (): void => {
    goOn();
    bytes = -Infinity;
  };
  return { lastWords: () => last, ended };
}
