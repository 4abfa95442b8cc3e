/** PostgreSQL's protocol, as much of it as the simulation speaks: a question is written into one buffer, and the answer's rows are read out of it. */
import { parse, type DatabaseError } from 'pg-protocol';
import { prepareValue } from 'pg/lib/utils.js';

export type Column = readonly [name: string, parse: (text: string) => unknown];
export type Row = Record<string, unknown>;

const BIND = 0x42;
const ERROR = 0x45;
export const COMMAND_COMPLETE = 0x43;
export const DATA_ROW = 0x44;
export const ROW_DESCRIPTION = 0x54;
export const PARAMETER_DESCRIPTION = 0x74;
const HEADER = 5;
const NO_VALUE = -1;
/** What the server says of a statement that found no row. */
const NOTHING = /^(?:BEGIN|(?:UPDATE|DELETE|SELECT|INSERT 0) 0)$/;

export interface Field {
  readonly name: string;
  readonly dataTypeID: number;
}
type Message = { readonly name: string } & Partial<{ readonly fields: readonly unknown[]; readonly dataTypeIDs: readonly number[] }>;

/** Values are coded as the `pg` client codes them, but that the time of a Date is UTC. */
const textOf = (value: unknown): Buffer | string | null => (value instanceof Date ? value.toISOString() : prepareValue(value));

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
    this.#bytes.set(message, this.#length);
    this.#length += message.length;
  }

  /** @param statement what it is called, with a zero before and after it */
  bind(statement: Buffer, values: readonly unknown[]): void {
    const begin = this.#length;
    this.#room(HEADER + statement.length + 6);
    this.#bytes[begin] = BIND;
    this.#length += HEADER;
    this.add(statement);
    // All values and columns are texts.
    this.#int16(0);
    this.#int16(values.length);
    for (const value of values) this.#value(textOf(value));
    this.#room(2);
    this.#int16(0);
    this.#bytes.writeInt32BE(this.#length - begin - 1, begin + 1);
  }

  #value(value: Buffer | string | null): void {
    if (value === null) {
      this.#room(4);
      this.#int32(NO_VALUE);
      return;
    }
    // A character is three bytes at most.
    this.#room(4 + 3 * value.length);
    const at = this.#length + 4;
    const length = typeof value === 'string' ? this.#bytes.write(value, at) : value.copy(this.#bytes, at);
    this.#int32(length);
    this.#length += length;
  }

  #int16(n: number): void {
    this.#length = this.#bytes.writeInt16BE(n, this.#length);
  }

  #int32(n: number): void {
    this.#length = this.#bytes.writeInt32BE(n, this.#length);
  }

  #room(bytes: number): void {
    if (this.#length + bytes > this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes], 2 * (this.#length + bytes));
  }
}

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
    this.#next += 1 + this.#bytes.readInt32BE(this.#at + 1);
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
    return NOTHING.test(this.#bytes.toString('latin1', this.#at + HEADER, this.#next - 1));
  }

  row(columns: readonly Column[]): Row {
    const bytes = this.#bytes;
    const row: Row = {};
    let at = this.#at + HEADER + 2;
    for (const [name, valueOf] of columns) {
      const length = bytes.readInt32BE(at);
      at += 4;
      row[name] = length === NO_VALUE ? null : valueOf(bytes.toString('utf8', at, at + length));
      if (length > 0) at += length;
    }
    return row;
  }
}
