/** PostgreSQL's protocol, as much of it as the simulation speaks: a question is written into one buffer, and the answer's rows are read out of it. */
import { parse, type DatabaseError } from 'pg-protocol';
import { prepareValue } from 'pg/lib/utils.js';
import { columnTypes } from '../../../src/store/db.ts';

export interface Column {
  readonly name: string;
  readonly read: Read;
}
type Read = (bytes: Buffer, from: number, to: number) => unknown;
export type Row = Record<string, unknown>;

const BIND = 0x42;
const ERROR = 0x45;
export const COMMAND_COMPLETE = 0x43;
export const DATA_ROW = 0x44;
export const ROW_DESCRIPTION = 0x54;
export const PARAMETER_DESCRIPTION = 0x74;
const HEADER = 5;
const NO_VALUE = -1;
const [SPACE, PLUS, MINUS, ZERO, BEGIN_ENDS, TRUE] = [0x20, 0x2b, 0x2d, 0x30, 0x4e, 0x74];
/** Of a time: so many characters without a fraction, and of its zone. */
const [SECONDS, UTC] = [19, 3];

export interface Field {
  readonly name: string;
  readonly dataTypeID: number;
}
type Message = { readonly name: string } & Partial<{ readonly fields: readonly unknown[]; readonly dataTypeIDs: readonly number[] }>;

/** Values are coded as the `pg` client codes them, but that the time of a Date is UTC. */
function textOf(value: unknown): Buffer | string | null {
  if (typeof value === 'string') return value;
  return value instanceof Date ? value.toISOString() : prepareValue(value);
}

const TEXT = 0;
const BINARY = 1;
/** A text as short as that is written faster here than by Node. */
const SHORT = 64;

/** Several messages, one behind the other. */
export class Question {
  #bytes = Buffer.alloc(65_536);
  #length = 0;

  /** All of them, to be sent before the next one is begun. */
  take(): Buffer {
    const all = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return all;
  }

  add(message: Buffer): void {
    this.#room(message.length);
    for (let i = 0; i < message.length; i += 1) this.#bytes[this.#length + i] = message[i] as number;
    this.#length += message.length;
  }

  /** @param statement what it is called, with a zero before and after it */
  bind(statement: Buffer, values: readonly unknown[]): void {
    const begin = this.#length;
    this.#room(HEADER + statement.length + 6 + 2 * values.length);
    this.#bytes[begin] = BIND;
    this.#length += HEADER;
    this.add(statement);
    const coded = values.map(textOf);
    if (coded.some(Buffer.isBuffer)) {
      this.#int16(coded.length);
      for (const value of coded) this.#int16(Buffer.isBuffer(value) ? BINARY : TEXT);
    } else {
      this.#int16(TEXT);
    }
    this.#int16(coded.length);
    for (const value of coded) this.#value(value);
    this.#room(2);
    this.#int16(TEXT);
    this.#int32(this.#length - begin - 1, begin + 1);
  }

  #value(value: Buffer | string | null): void {
    // A character is three bytes at most.
    this.#room(4 + 3 * (value?.length ?? 0));
    const at = this.#length;
    this.#length += 4;
    if (value === null) return this.#int32(NO_VALUE, at);
    if (typeof value === 'string') this.#text(value);
    else this.#length += value.copy(this.#bytes, this.#length);
    this.#int32(this.#length - at - 4, at);
  }

  #text(text: string): void {
    if (text.length <= SHORT) {
      let i = 0;
      for (; i < text.length; i += 1) {
        const code = text.charCodeAt(i);
        if (code > 0x7f) break;
        this.#bytes[this.#length + i] = code;
      }
      if (i === text.length) {
        this.#length += i;
        return;
      }
    }
    this.#length += this.#bytes.write(text, this.#length);
  }

  #int16(n: number): void {
    this.#bytes[this.#length] = n >> 8;
    this.#bytes[this.#length + 1] = n;
    this.#length += 2;
  }

  #int32(n: number, at: number): void {
    this.#bytes[at] = n >> 24;
    this.#bytes[at + 1] = n >> 16;
    this.#bytes[at + 2] = n >> 8;
    this.#bytes[at + 3] = n;
  }

  #room(bytes: number): void {
    if (this.#length + bytes > this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes], 2 * (this.#length + bytes));
  }
}

const int32 = (bytes: Buffer, at: number): number => ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);

/** What the server has answered, message by message; it throws what the server refuses. */
export class Answer {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #next = 0;
  #heard: Message[] = [];
  /** Of what is seldom heard: `pg` reads it. */
  #feed: (bytes: Buffer) => void = () => undefined;

  constructor() {
    const stream = { on: (event: string, fn: (bytes: Buffer) => void) => { if (event === 'data') this.#feed = fn; } };
    void parse(stream as unknown as NodeJS.ReadableStream, (m) => void this.#heard.push(m as Message));
  }

  begin(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#next = 0;
  }

  /** @returns the kind of the next message, undefined after the last one @throws pg.DatabaseError */
  next(): number | undefined {
    this.#at = this.#next;
    if (this.#at >= this.#bytes.length) return undefined;
    this.#next += 1 + int32(this.#bytes, this.#at + 1);
    if (this.#bytes[this.#at] === ERROR) throw this.message() as unknown as DatabaseError;
    return this.#bytes[this.#at];
  }

  /** The message, as `pg` reads it. */
  message(): Message | undefined {
    this.#heard = [];
    this.#feed(this.#bytes.subarray(this.#at, this.#next));
    return this.#heard[0];
  }

  /** Of a command that is complete: it found no row, or there was none to find. */
  foundNothing(): boolean {
    const bytes = this.#bytes;
    // As `UPDATE 0`, with a zero behind it; or it was a BEGIN.
    return (bytes[this.#next - 2] === ZERO && bytes[this.#next - 3] === SPACE) || bytes[this.#next - 2] === BEGIN_ENDS;
  }

  row(columns: readonly Column[]): Row {
    const bytes = this.#bytes;
    const row: Row = {};
    let at = this.#at + HEADER + 2;
    for (let i = 0; i < columns.length; i += 1) {
      const { name, read } = columns[i] as Column;
      const length = int32(bytes, at);
      at += 4;
      if (length === NO_VALUE) {
        row[name] = null;
      } else {
        row[name] = read(bytes, at, at + length);
        at += length;
      }
    }
    return row;
  }
}

const BOOL = 16;
const INTEGERS: ReadonlySet<number> = new Set([20, 21, 23]);
const TIMESTAMPTZ = 1184;

/** What the most frequent types are read by; they read what the parsers of the service's own client would. */
export function columnOf({ name, dataTypeID: type }: Field): Column {
  const parser = columnTypes.getTypeParser(type, 'text') as (text: string) => unknown;
  const read: Read = (bytes, from, to) => parser(bytes.toString('utf8', from, to));
  if (type === BOOL) return { name, read: (bytes, from) => bytes[from] === TRUE };
  if (INTEGERS.has(type)) return { name, read: (bytes, from, to) => (to - from < 10 ? integer(bytes, from, to) : read(bytes, from, to)) };
  if (type === TIMESTAMPTZ) return { name, read: (bytes, from, to) => time(bytes, from, to) ?? read(bytes, from, to) };
  return { name, read };
}

function integer(bytes: Buffer, from: number, to: number): number {
  const negative = bytes[from] === MINUS;
  const n = digits(bytes, negative ? from + 1 : from, to);
  return negative ? -n : n;
}

function digits(bytes: Buffer, from: number, to: number): number {
  let n = 0;
  for (let i = from; i < to; i += 1) n = 10 * n + (bytes[i] as number) - ZERO;
  return n;
}

/** As `2026-01-01 00:00:00.12+00`, without what is below a ms; undefined: it is written in another way, or of the first thousand years. */
function time(bytes: Buffer, from: number, to: number): number | undefined {
  const end = to - UTC;
  if (end < from + SECONDS || bytes[from] === ZERO || bytes[from + 4] !== MINUS || bytes[end] !== PLUS || bytes[end + 1] !== ZERO || bytes[end + 2] !== ZERO) return undefined;
  const part = (at: number, length = 2): number => digits(bytes, from + at, from + at + length);
  const fraction = Math.min(3, Math.max(0, end - from - SECONDS - 1));
  return Date.UTC(part(0, 4), part(5) - 1, part(8), part(11), part(14), part(17), part(SECONDS + 1, fraction) * 10 ** (3 - fraction));
}
