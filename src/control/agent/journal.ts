/**
 * A file of JSON lines to which the newest state of things is appended, and which is written anew when most of it is
 * outdated. One small write a change: a file for each thing, replaced by rename, was measured at 1 to 5 ms a start on a
 * busy disk, because making and renaming files waits for the file system's own journal.
 *
 * A line is synced to disk only where that is asked for: what survives a crash of the agent survives in the page cache, and
 * a crash of the machine ends its VMs and the service's channels with it, but for what outlives the VMs.
 */
import { closeSync, existsSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { syncDirectory } from '../../platform/durable.ts';

/** Below this a journal is never written anew while the agent runs. */
const LEAST_BYTES = 4 * 1024 * 1024;
/** Share of outdated lines, as a factor of the size after the last rewriting, at which it is worth while. */
const GROWTH = 4;

export class Journal {
  readonly #file: string;
  #fd: number | undefined;
  /** Its name is on disk. */
  #named = false;
  #bytes = 0;
  #limit = LEAST_BYTES;
  /** A write that ended half way left a line without its end. */
  #torn = false;

  constructor(file: string) {
    this.#file = file;
  }

  /** Every line in order; `undefined` for one that is no JSON. */
  read(): unknown[] {
    if (!existsSync(this.#file)) return [];
    return readFileSync(this.#file, 'utf8').split('\n').filter((line) => line !== '').map(parse);
  }

  /** Where a journal that could not be read whole is kept, for people to look at. */
  get damagedFile(): string {
    return `${this.#file}.damaged`;
  }

  /** The first damage is kept: it has lost the most. */
  setAside(): void {
    if (!existsSync(this.damagedFile)) writeFileSync(this.damagedFile, readFileSync(this.#file), { mode: 0o600 });
  }

  /** Puts the present state in place of everything before, whenever the machine loses power. */
  rewrite(values: Iterable<unknown>): void {
    const lines = [...values].map((v) => `${JSON.stringify(v)}\n`).join('');
    writeFileSync(`${this.#file}.tmp`, lines, { mode: 0o600, flush: lines !== '' });
    const fd = openSync(`${this.#file}.tmp`, 'a');
    renameSync(`${this.#file}.tmp`, this.#file);
    this.#named = lines !== '';
    if (this.#named) syncDirectory(dirname(this.#file));
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = fd;
    this.#bytes = Buffer.byteLength(lines);
    this.#limit = Math.max(LEAST_BYTES, this.#bytes * GROWTH);
    this.#torn = false;
  }

  get outgrown(): boolean {
    return this.#bytes > this.#limit;
  }

  /** @throws what the file system throws */
  append(value: unknown): void {
    this.#fd ??= openSync(this.#file, 'a', 0o600);
    const line = Buffer.from(`${this.#torn ? '\n' : ''}${JSON.stringify(value)}\n`);
    let written = 0;
    try {
      while (written < line.length) written += writeSync(this.#fd, line, written);
    } catch (e) {
      this.#takeBack(this.#fd, written);
      throw e;
    }
    this.#torn = false;
    this.#bytes += line.length;
  }

  /** What a full disk took of a line nobody has promised: left there, it would be taken for damage, and people looked for lost VMs. */
  #takeBack(fd: number, written: number): void {
    try {
      if (written > 0) ftruncateSync(fd, fstatSync(fd).size - written);
    } catch {
      this.#torn = true;
    }
  }

  /** What was appended is there after a power cut. */
  sync(): void {
    if (this.#fd !== undefined) fdatasyncSync(this.#fd);
    if (!this.#named) syncDirectory(dirname(this.#file));
    this.#named = true;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
