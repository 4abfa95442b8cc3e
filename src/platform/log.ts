/** The log: winston, one JSON object a line, to stderr or to a file that is rotated. */
import winston from 'winston';
import type { Clock, Log, LogFields } from './context.ts';
import { openFile } from './directories.ts';
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
  if (options.file !== '') openFile('log.file', options.file, 0o600);
  const transport = options.file === '' ? stderrTransport() : fileTransport(options.file);
  const logger = winston.createLogger({ levels: LEVELS, level: options.level, format: winston.format.json({ deterministic: false }), transports: [transport] });
  let open = true;
  const finished = new Promise<void>((resolve) => transport.once('finish', () => resolve()));
  return {
    log: logOn((entry) => { if (open) logger.log(entry as winston.LogEntry); }, clock, LEVELS[options.level], {}),
    close: () => {
      // What still comes to an end behind the caller may speak; nobody listens any more.
      open = false;
      logger.end();
      return finished;
    },
  };
}

/** A full disk or a closed terminal must not end the service; winston would rethrow an 'error' that nobody hears. */
const deaf = (): void => undefined;

function stderrTransport(): winston.transport {
  process.stderr.on('error', deaf);
  return new winston.transports.Stream({ stream: process.stderr });
}

function fileTransport(filename: string): winston.transport {
  const transport = new winston.transports.File({ filename, maxsize: FILE_BYTES, maxFiles: FILES, tailable: true, options: { flags: 'a', mode: 0o600 } });
  transport.on('error', deaf);
  return transport;
}

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
