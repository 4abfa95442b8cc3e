/**
 * A log file that is rotated. One write is under way at a time, with all lines that came meanwhile, so that none falls between two
 * files. What cannot be written, as on a full disk, is dropped and counted; the file says how many are missing as soon as it can.
 */
import { mkdir, open, rename, type FileHandle } from 'node:fs/promises';
import { dirname, join, parse } from 'node:path';
import { Writable } from 'node:stream';
import type { Clock } from './context.ts';
import { withDeadline } from './deadline.ts';
import { errorCode, reasonText } from './errors.ts';

export interface LogFileOptions {
  readonly path: string;
  /** Of one file, but for the line that goes beyond. */
  readonly bytes: number;
  /** With the one that is written; two at least. */
  readonly files: number;
  /** Told when lines cannot be written, until some can. */
  readonly complain: (sentence: string) => void;
}

const MOST_AT_ONCE = 1024 * 1024;
/** Bytes that wait for a disk that is slower than those who speak. */
const MOST_WAITING = 16 * 1024 * 1024;
const CLOSE_MS = 5_000;

/** Takes lines, each with its end; never fails. Ends when all is written. */
export function openLogFile(clock: Clock, options: LogFileOptions): Writable {
  const file = new LogFile(clock, options);
  return new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      file.write(line);
      done();
    },
    final: (done) => void withDeadline(clock, CLOSE_MS, 'the log', file.close()).then(() => done(), () => done()),
  });
}

class LogFile {
  readonly #clock: Clock;
  readonly #options: LogFileOptions;
  #file: FileHandle | undefined;
  #size = 0;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #work: Promise<void> | undefined;
  #lost = 0;
  #failing = false;

  constructor(clock: Clock, options: LogFileOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  write(text: string): void {
    const line = Buffer.from(text);
    if (this.#waitingBytes + line.length > MOST_WAITING) {
      this.#lost += 1;
      return;
    }
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#work ??= this.#writeAll();
  }

  async close(): Promise<void> {
    await this.#work;
    if (this.#lost > 0) await this.#writeSome();
    await this.#file?.close();
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#writeSome();
    this.#work = undefined;
  }

  async #writeSome(): Promise<void> {
    let lines: Buffer[] = [];
    try {
      this.#file ??= await this.#open();
      if (this.#size >= this.#options.bytes) this.#file = await this.#rotated();
      lines = this.#take(Math.min(MOST_AT_ONCE, this.#options.bytes - this.#size));
      const lost = this.#lost;
      await this.#append(this.#file, Buffer.concat(lost > 0 ? [this.#missing(lost), ...lines] : lines));
      this.#lost -= lost;
      this.#failing = false;
    } catch (e) {
      this.#lost += (lines.length > 0 ? lines : this.#take(MOST_AT_ONCE)).length;
      if (!this.#failing) this.#options.complain(`the log ${this.#options.path} cannot be written, and lines are lost: ${reasonText(e)}`);
      this.#failing = true;
      await this.#forget();
    }
  }

  /** As many lines as there is room for, one at least. */
  #take(room: number): Buffer[] {
    let [count, bytes] = [0, 0];
    for (; count < this.#waiting.length && (count === 0 || bytes < room); count += 1) bytes += this.#waiting[count]?.length ?? 0;
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  async #append(file: FileHandle, bytes: Buffer): Promise<void> {
    try {
      await file.appendFile(bytes);
      this.#size += bytes.length;
    } catch (e) {
      // What is counted as lost is not there by half.
      await file.truncate(this.#size).catch(() => undefined);
      throw e;
    }
  }

  async #open(): Promise<FileHandle> {
    const { path } = this.#options;
    const file = await open(path, 'a', 0o600).catch(async (e: unknown) => {
      if (errorCode(e) !== 'ENOENT') throw e;
      await mkdir(dirname(path));
      return open(path, 'a', 0o600);
    });
    this.#size = (await file.stat()).size;
    return file;
  }

  async #rotated(): Promise<FileHandle> {
    await this.#forget();
    for (let older = this.#options.files - 1; older > 0; older -= 1) {
      await rename(this.#name(older - 1), this.#name(older)).catch((e: unknown) => { if (errorCode(e) !== 'ENOENT') throw e; });
    }
    return this.#open();
  }

  async #forget(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => undefined);
  }

  #name(age: number): string {
    const { dir, name, ext } = parse(this.#options.path);
    return age === 0 ? this.#options.path : join(dir, `${name}${age}${ext}`);
  }

  #missing(lines: number): Buffer {
    return Buffer.from(`${JSON.stringify({ time: new Date(this.#clock.now()).toISOString(), level: 'error', message: 'lines of the log are missing here, as they could not be written', lines })}\n`);
  }
}
