/** What happened, as one digest: two runs of a seed have the same, or something in them was not theirs to decide. */
import { createHash, type Hash } from 'node:crypto';
import type { Log, LogFields } from '../../../src/platform/context.ts';
import type { Process } from './process.ts';
import type { VirtualTime } from './time.ts';

type Level = 'debug' | 'info' | 'warn' | 'error';

/** Lines are digested so many characters at a time. */
const DIGESTED = 16_384;

export class Trace {
  readonly #hash: Hash = createHash('sha256');
  #lines = '';
  #count = 0;

  /** @param show called with each line, where somebody wants to read them */
  constructor(private readonly time: VirtualTime, private readonly show: ((line: string) => void) | undefined) {}

  add(what: string, ...details: readonly unknown[]): void {
    this.#count += 1;
    const line = `${this.time.now.toFixed(3)} ${what} ${details.map((d) => (typeof d === 'string' ? d : JSON.stringify(d))).join(' ')}`;
    this.#lines += `${line}\n`;
    if (this.#lines.length >= DIGESTED) this.#digestLines();
    this.show?.(line);
  }

  get count(): number {
    return this.#count;
  }

  #digestLines(): void {
    this.#hash.update(this.#lines);
    this.#lines = '';
  }

  digest(): string {
    this.#digestLines();
    return this.#hash.copy().digest('hex').slice(0, 16);
  }

  /** The log of a process, service or agent: what it says is part of what happened. */
  logOf(process: Process, bound: LogFields = {}): Log {
    const at = (level: Level) => (message: string, fields: LogFields = {}): void => {
      if (process.alive) this.add(`${process.name} ${level}`, message, { ...bound, ...fields });
    };
    return { debug: () => undefined, info: at('info'), warn: at('warn'), error: at('error'), debugging: false, child: (fields) => this.logOf(process, { ...bound, ...fields }) };
  }
}
