/** The log: winston, one JSON object a line, to stderr or to a file that is rotated. */
import { finished } from 'node:stream/promises';
import winston from 'winston';
import type { Clock, Log, LogFields } from './context.ts';
import { openFile } from './directories.ts';
import { openLogFile } from './log-file.ts';
import { redactFields, redactText } from './redact.ts';

const LEVELS = { error: 0, warn: 1, info: 2, debug: 3 } as const;
export type LogLevel = keyof typeof LEVELS;

export interface LogOptions {
  readonly level: LogLevel;
  /** Empty = stderr */
  readonly file: string;
}

export interface OpenLog {
  readonly log: Log;
  /** Resolves when everything is written. */
  close(): Promise<void>;
}

const FILE_BYTES = 16 * 1024 * 1024;
const FILES = 5;

/** @throws StartError when the file cannot be written to */
export function openLog(clock: Clock, options: LogOptions): OpenLog {
  if (!process.stderr.listeners('error').includes(deaf)) process.stderr.on('error', deaf);
  const complain = (sentence: string): void => void process.stderr.write(`nimbus: ${sentence}\n`);
  if (options.file !== '') openFile('log.file', options.file, 0o600);
  const file = options.file === '' ? undefined : openLogFile(clock, { path: options.file, bytes: FILE_BYTES, files: FILES, complain });
  const transport = new winston.transports.Stream({ stream: file ?? process.stderr, eol: '\n' });
  const logger = winston.createLogger({ levels: LEVELS, level: options.level, format: winston.format.json({ deterministic: false }), transports: [transport] });
  let open = true;
  const passedOn = new Promise<void>((resolve) => transport.once('finish', () => resolve()));
  return {
    log: logOn((entry) => { if (open) logger.log(entry as winston.LogEntry); }, clock, LEVELS[options.level], {}),
    async close() {
      // What still comes to an end behind the caller may speak; nobody listens any more.
      open = false;
      logger.end();
      await passedOn;
      if (file !== undefined) await finished(file.end());
    },
  };
}

/** A closed terminal must not end the service. */
const deaf = (): void => undefined;

function logOn(emit: (entry: object) => void, clock: Clock, threshold: number, bound: LogFields): Log {
  const write = (level: LogLevel) => (message: string, fields?: LogFields): void => {
    if (LEVELS[level] > threshold) return;
    const head = { time: new Date(clock.now()).toISOString(), level, message: redactText(message) };
    emit(Object.assign({ ...head, ...redactFields({ ...bound, ...fields }) }, head));
  };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    debugging: threshold >= LEVELS.debug,
    child: (fields) => logOn(emit, clock, threshold, { ...bound, ...fields }),
  };
}
