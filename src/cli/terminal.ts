/** The real terminal. */
import { createInterface } from 'node:readline';
import type { Io } from './io.ts';

const WIDTH = 80;

export function terminal(): Io {
  // `nimbus … | head` closes the pipe early; that is no failure.
  let gone = false;
  process.stdout.on('error', (e: NodeJS.ErrnoException) => {
    if (e.code !== 'EPIPE') throw e;
    gone = true;
  });
  const columns = Number(process.env['COLUMNS']);
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    width: process.stdout.isTTY ? process.stdout.columns : Number.isInteger(columns) && columns >= 40 ? columns : WIDTH,
    watched: process.stderr.isTTY,
    gone: () => gone,
    ask,
  };
}

function ask(question: string): Promise<string | null> {
  if (!process.stdin.isTTY) return Promise.resolve(null);
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  return new Promise((resolve) => {
    lines.once('close', () => resolve(null));
    lines.question(question, (answer) => {
      resolve(answer);
      lines.close();
    });
  });
}
