/**
 * QEMU's machine protocol (QEMU, docs/interop/qmp-spec): JSON objects, one a line, over a Unix socket. A greeting, then
 * commands answered in order by id, with events in between. Every command has a deadline; a QEMU that does not answer
 * costs its caller that deadline and nobody else anything.
 */
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { within } from '../../clock.ts';
import type { Clock } from '../../clock.ts';
import { AgentFault } from '../../fault.ts';

const MAX_LINE = 1024 * 1024;

export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Reply {
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly QMP?: unknown;
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Pending {
  resolve(value: unknown): void;
  reject(e: Error): void;
}

export class Qmp {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #decoder = new StringDecoder('utf8');
  readonly #pending = new Map<number, Pending>();
  readonly #onEvent: (event: QmpEvent) => void;
  /** Resolves when the connection is over, for whatever reason. */
  readonly closed: Promise<void>;
  #buffer = '';
  #nextId = 1;
  #greet: () => void = () => undefined;
  #over = false;

  private constructor(socket: Socket, clock: Clock, onEvent: (event: QmpEvent) => void) {
    this.#socket = socket;
    this.#clock = clock;
    this.#onEvent = onEvent;
    // A watched VM must not keep the agent alive.
    socket.unref();
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => this.#read(chunk));
    this.closed = new Promise((resolve) => socket.on('close', () => { this.#close(); resolve(); }));
  }

  /** Connects, takes the greeting and enters command mode within `ms`. */
  static async connect(path: string, clock: Clock, ms: number, onEvent: (event: QmpEvent) => void): Promise<Qmp> {
    const socket = createConnection({ path });
    const qmp = new Qmp(socket, clock, onEvent);
    const greeted = new Promise<void>((resolve, reject) => {
      qmp.#greet = resolve;
      socket.once('error', reject);
      void qmp.closed.then(() => reject(new Error('the connection was closed')));
    });
    try {
      await within(clock, ms, greeted, () => new Error(`no greeting within ${ms} ms`));
      await qmp.execute('qmp_capabilities', {}, ms);
      return qmp;
    } catch (e) {
      socket.destroy();
      throw new AgentFault('DriverFailed', `QEMU cannot be spoken to: ${(e as Error).message}`, { cause: e });
    }
  }

  get open(): boolean {
    return !this.#over;
  }

  /** Rejects with AgentFault DriverFailed when QEMU refuses, is gone, or does not answer within `ms`. */
  async execute(command: string, args: Readonly<Record<string, unknown>>, ms: number): Promise<unknown> {
    if (this.#over) throw new AgentFault('DriverFailed', `QEMU is gone; ${command} was not sent`);
    const id = this.#nextId++;
    const answer = new Promise<unknown>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return await within(this.#clock, ms, answer, () => new AgentFault('DriverFailed', `QEMU did not answer ${command} within ${ms} ms`));
    } finally {
      this.#pending.delete(id);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#buffer += this.#decoder.write(chunk);
    for (let end = this.#buffer.indexOf('\n'); end >= 0; end = this.#buffer.indexOf('\n')) {
      const line = this.#buffer.slice(0, end);
      this.#buffer = this.#buffer.slice(end + 1);
      this.#take(line);
    }
    if (this.#buffer.length > MAX_LINE) this.#socket.destroy();
  }

  #take(line: string): void {
    let reply: Reply | null;
    try {
      reply = JSON.parse(line) as Reply | null;
    } catch {
      reply = null;
    }
    if (typeof reply !== 'object' || reply === null) this.#socket.destroy();
    else if (reply.QMP !== undefined) this.#greet();
    else if (typeof reply.event === 'string') this.#onEvent(reply as QmpEvent);
    else if (typeof reply.id === 'number') this.#settle(reply.id, reply);
  }

  #settle(id: number, reply: Reply): void {
    const pending = this.#pending.get(id);
    if (reply.error === undefined) pending?.resolve(reply.return);
    else pending?.reject(new AgentFault('DriverFailed', `QEMU refused: ${reply.error.desc}`));
  }

  #close(): void {
    this.#over = true;
    for (const { reject } of this.#pending.values()) reject(new AgentFault('DriverFailed', 'QEMU ended before it answered'));
  }
}
