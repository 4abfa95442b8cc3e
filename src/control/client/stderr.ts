/** An agent's stderr goes to the service's log: bounded, so that a talkative agent cannot fill it. */
import type { Readable } from 'node:stream';
import type { Log } from '../../platform/context.ts';
import { lineReader } from '../wire.ts';
import { excerpt } from './lines.ts';

const MAX_LINES = 100;

/** Returns the last line, for the sentence on why the link ended. */
export function logStderr(stderr: Readable, log: Log): () => string | undefined {
  let lines = 0;
  let last: string | undefined;
  const read = lineReader((line) => {
    last = excerpt(line);
    lines += 1;
    if (lines <= MAX_LINES) log.info('agent says', { stderr: last });
    if (lines === MAX_LINES) log.warn('agent says too much; the rest is dropped');
  }, () => log.warn('agent says too much; the rest is dropped'));
  stderr.on('data', read);
  stderr.on('error', () => undefined);
  return () => last;
}
