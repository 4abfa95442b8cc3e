/**
 * The pilot's log: lines of text in `<logfiledir>/<logfileprefix><slot>.<host>.txt` (the original's name has no host, and nodes
 * may share the directory), two files of at most half the bound each. A log that cannot be written stops nothing: that is said
 * once on standard error.
 */
import { closeSync, constants, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../control/agent/clock.ts';
import type { Log, LogFields } from '../../control/agent/log.ts';
import type { Level } from './args.ts';
import type { PilotConfig } from './config.ts';

const MAX_FILE = 1024 * 1024;
/** One field of hostile length must not fill the file. */
const MAX_LINE = 4096;
const RANK = { error: 0, warn: 1, info: 1, debug: 2 } as const;
const SHOWN: Readonly<Record<Level, number>> = { error: 0, info: 1, debug: 2, trace: 2 };

export interface LogOptions {
  readonly clock: Clock;
  readonly level: Level;
  readonly logging: PilotConfig['logging'];
  /** Slot id, or `otherlogs`. */
  readonly name: string;
  readonly host: string;
  /** Standard output, with `--stdoutlog`. */
  readonly out: ((line: string) => void) | null;
  /** Standard error: what is wrong with the log itself. */
  readonly complain: (sentence: string) => void;
}

export function openLog({ clock, level, logging, name, host, out, complain }: LogOptions): Log {
  const file = logging === null ? null : new LogFile(join(logging.dir, `${logging.prefix}${name}.${host}.txt`), complain);
  const start = clock.monotonic();
  const at = (kind: keyof typeof RANK) => (message: string, fields: LogFields = {}): void => {
    if (RANK[kind] > SHOWN[level]) return;
    const since = level === 'trace' ? ` +${(clock.monotonic() - start).toFixed(1)}ms` : '';
    const line = `${new Date(clock.now()).toISOString()}${since} ${process.pid} ${kind.toUpperCase()} ${message}${textOf(fields)}`.slice(0, MAX_LINE);
    // One line is one entry, whatever a batch system or a guest has put into a name.
    const safe = `${line.replace(/[\x00-\x1f\x7f]+/g, ' ')}\n`;
    file?.write(safe);
    out?.(safe);
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function textOf(fields: LogFields): string {
  const words = Object.entries(fields).filter(([, v]) => v !== undefined).map(([key, v]) => `${key}=${typeof v === 'string' && /^[\w.:/@+-]+$/.test(v) ? v : JSON.stringify(v)}`);
  return words.length === 0 ? '' : `  ${words.join(' ')}`;
}

class LogFile {
  readonly #path: string;
  readonly #complain: (sentence: string) => void;
  #fd: number | undefined;
  #size = 0;
  #failed = false;

  constructor(path: string, complain: (sentence: string) => void) {
    this.#path = path;
    this.#complain = complain;
    this.#try(() => this.#open());
  }

  write(line: string): void {
    this.#try(() => {
      if (this.#size > MAX_FILE / 2) this.#turn();
      if (this.#fd === undefined) return;
      this.#size += writeSync(this.#fd, line);
    });
  }

  /** The name is known and the directory everybody's: a link that somebody has laid there is not followed. */
  #open(): void {
    const fd = openSync(this.#path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600);
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.uid !== process.getuid?.()) {
      closeSync(fd);
      throw new Error('it is not a file of this user');
    }
    this.#fd = fd;
    this.#size = stat.size;
  }

  #turn(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#size = 0;
    renameSync(this.#path, `${this.#path}.1`);
    this.#open();
  }

  #try(work: () => void): void {
    try {
      work();
    } catch (e) {
      if (!this.#failed) this.#complain(`the log ${this.#path} cannot be written: ${(e as Error).message}; going on without`);
      this.#failed = true;
    }
  }
}
