/** The agent's log: JSON lines in `<state>/agent.log`, two files of at most half the bound each. */
import { appendFileSync, renameSync, statSync } from 'node:fs';
import type { Clock } from './clock.ts';

export type LogFields = Readonly<Record<string, unknown>>;
type Level = 'debug' | 'info' | 'warn' | 'error';
export type Log = Readonly<Record<Level, (message: string, fields?: LogFields) => void>>;

const MAX_FILE = 1024 * 1024;
/** One field of hostile length must not fill the file. */
const MAX_ENTRY = 4096;

export function fileLog(file: string, clock: Clock): Log {
  let size = sizeOf(file);
  const write = (level: Level, message: string, fields: LogFields = {}): void => {
    const entry = JSON.stringify({ at: new Date(clock.now()).toISOString(), level, pid: process.pid, message, ...fields });
    const line = `${entry.length > MAX_ENTRY ? JSON.stringify({ level, message: entry.slice(0, MAX_ENTRY) }) : entry}\n`;
    try {
      if (size + line.length > MAX_FILE) {
        renameSync(file, `${file}.1`);
        size = 0;
      }
      appendFileSync(file, line, { mode: 0o600 });
      size += Buffer.byteLength(line);
    } catch {
      // A full disk takes the log's lines and nothing else.
    }
  };
  const at = (level: Level) => (message: string, fields?: LogFields): void => write(level, message, fields);
  return { debug: () => undefined, info: at('info'), warn: at('warn'), error: at('error') };
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
}

export const silentLog: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
