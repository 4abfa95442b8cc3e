/**
 * One service (or a command by hand) on the other end of a byte stream: hello, requests, images, pings.
 *
 * Everything that a peer can make pile up is bounded: a line (MAX_LINE), requests under way (reading stops), unread
 * output (reading stops, then the connection ends), image chunks (PUT_WINDOW), and silence.
 */
import type { Readable, Writable } from 'node:stream';
import { PROTOCOLS, PUT_WINDOW } from '../protocol.ts';
import type { AgentHello, Protocol, ServiceHello, VmEvent } from '../protocol.ts';
import { encodeLine, lineReader } from '../wire.ts';
import type { Clock, Timer } from './clock.ts';
import type { Executor } from './executor.ts';
import { AgentFault, asAgentError } from './fault.ts';
import type { Log } from './log.ts';
import { Outbox } from './outbox.ts';
import { readServiceLine } from './requests.ts';
import type { PutChunk, ServiceMessage } from './requests.ts';
import type { Uploads } from './uploads.ts';

const HELLO_MS = 30_000;
/** Services ping every few seconds; a peer that is silent so long is gone. */
const SILENCE_MS = 900_000;
const SILENCE_CHECK_MS = 60_000;
/** A peer that was told goodbye and does not close is cut off. */
const HANG_UP_MS = 2_000;
const UNREAD_PAUSE = 1024 * 1024;
const UNREAD_END = 64 * 1024 * 1024;
const UNDER_WAY_PAUSE = 4096;
const RESUME_CHECK_MS = 20;

export interface Peer {
  readonly input: Readable;
  readonly output: Writable;
  readonly name: string;
}

export interface ConnectionParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly executor: Executor;
  readonly uploads: Uploads;
  readonly hello: () => AgentHello;
  readonly onRetire: (version: string) => void;
  readonly onClose: (connection: Connection) => void;
}

export class Connection {
  readonly #peer: Peer;
  readonly #parts: ConnectionParts;
  readonly #helloTimer: Timer;
  #silenceTimer: Timer | undefined;
  #outbox: Outbox | undefined;
  #protocol: Protocol = 1;
  #puts = 0;
  #heardAt: number;
  #resumeTimer: Timer | undefined;
  #closed = false;

  constructor(peer: Peer, parts: ConnectionParts) {
    this.#peer = peer;
    this.#parts = parts;
    this.#heardAt = parts.clock.monotonic();
    this.#helloTimer = parts.clock.after(HELLO_MS, () => this.close(`no hello within ${HELLO_MS} ms`), true);
    this.#watchSilence();
    const push = lineReader((line) => this.#line(line), () => this.close('BadRequest: a line is too long'));
    peer.input.on('data', (chunk: Buffer) => push(chunk));
    peer.input.on('end', () => this.#end());
    for (const stream of new Set<Readable | Writable>([peer.input, peer.output])) {
      stream.on('error', () => this.#end());
      stream.on('close', () => this.#end());
    }
    peer.output.on('drain', () => this.#resumeWhenQuiet());
    this.#write(encodeLine({ hello: parts.hello() }));
  }

  event(event: VmEvent): void {
    this.#outbox?.line({ event });
  }

  /** Says why, then ends the stream. */
  close(why: string): void {
    if (this.#closed) return;
    this.#outbox?.flush();
    this.#write(encodeLine({ bye: why }));
    this.#parts.log.info('connection closed', { peer: this.#peer.name, why });
    this.#end();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of [this.#helloTimer, this.#silenceTimer, this.#resumeTimer]) timer?.cancel();
    if (this.#outbox !== undefined) this.#parts.executor.leave(this.#outbox);
    this.#parts.uploads.leave(this);
    this.#hangUp();
    this.#parts.onClose(this);
  }

  /** Lets what was written reach the peer, and reads on meanwhile: a stream closed over unread bytes loses what it sent. */
  #hangUp(): void {
    const { input, output } = this.#peer;
    const destroy = (): void => {
      output.destroy();
      input.destroy();
    };
    const late = this.#parts.clock.after(HANG_UP_MS, destroy);
    const finished = (): void => {
      late.cancel();
      destroy();
    };
    input.resume();
    if (output.destroyed || input.readableEnded) output.end(finished);
    else output.end(() => input.once('end', finished));
    if (output.destroyed) finished();
  }

  #line(line: string): void {
    if (this.#closed) return;
    this.#heardAt = this.#parts.clock.monotonic();
    try {
      this.#message(readServiceLine(line));
    } catch (e) {
      const error = asAgentError(e);
      if (!(e instanceof AgentFault)) this.#parts.log.error('line failed', { peer: this.#peer.name, why: String(e) });
      this.close(`${error.code}: ${error.message}`);
    }
  }

  #message(message: ServiceMessage): void {
    if (message.kind === 'retire') return this.#parts.onRetire(message.version);
    if (message.kind === 'hello') return this.#hello(message.hello);
    const outbox = this.#outbox;
    if (outbox === undefined) throw new AgentFault('BadRequest', 'the first line must be a hello');
    switch (message.kind) {
      case 'ping':
        return outbox.line({ pong: message.ping, at: this.#parts.clock.now() });
      case 'put':
        return this.#put(message.put, outbox);
      case 'do':
        if (this.#protocol === 1 && !message.single) throw new AgentFault('BadRequest', 'protocol 1 has no groups');
        for (const { id, fault } of message.unreadable) outbox.done({ id, ok: false, error: asAgentError(fault), stamps: {} });
        for (const request of message.requests) this.#parts.executor.submit(request, outbox);
        return this.#pauseWhenBusy();
    }
  }

  #hello(hello: ServiceHello): void {
    if (this.#outbox !== undefined) throw new AgentFault('BadRequest', 'a second hello');
    const protocol = PROTOCOLS.find((p) => p === hello.protocol);
    if (protocol === undefined) throw new AgentFault('BadRequest', `protocol ${String(hello.protocol)} is not one of ${PROTOCOLS.join(', ')}`);
    this.#helloTimer.cancel();
    this.#protocol = protocol;
    this.#outbox = new Outbox(protocol, (text) => this.#write(Buffer.from(text)));
  }

  #put(put: PutChunk, outbox: Outbox): void {
    if (this.#protocol === 1) throw new AgentFault('BadRequest', 'protocol 1 has no put');
    if (this.#puts >= PUT_WINDOW) throw new AgentFault('BadRequest', `more than ${PUT_WINDOW} chunks without an answer`);
    const { sha256, seq } = put;
    this.#puts += 1;
    void this.#parts.uploads.take(put, this)
      .then(
        (complete) => outbox.line({ put: { sha256, seq, ok: true, ...(complete ? { complete } : {}) } }),
        (e: unknown) => outbox.line({ put: { sha256, seq, ok: false, error: asAgentError(e) } }),
      )
      .finally(() => { this.#puts -= 1; });
  }

  #write(bytes: Buffer): void {
    const { output } = this.#peer;
    if (this.#closed || !output.writable) return;
    output.write(bytes);
    if (output.writableLength > UNREAD_END) {
      this.#parts.log.warn('peer does not read', { peer: this.#peer.name });
      output.destroy();
    } else {
      this.#pauseWhenBusy();
    }
  }

  #pauseWhenBusy(): void {
    if (!this.#busy()) return;
    this.#peer.input.pause();
    this.#resumeTimer ??= this.#parts.clock.after(RESUME_CHECK_MS, () => {
      this.#resumeTimer = undefined;
      this.#resumeWhenQuiet();
    }, true);
  }

  #resumeWhenQuiet(): void {
    if (this.#closed) return;
    if (this.#busy()) this.#pauseWhenBusy();
    else this.#peer.input.resume();
  }

  #busy(): boolean {
    return this.#peer.output.writableLength > UNREAD_PAUSE || this.#parts.executor.count > UNDER_WAY_PAUSE;
  }

  #watchSilence(): void {
    this.#silenceTimer = this.#parts.clock.after(SILENCE_CHECK_MS, () => {
      if (this.#parts.clock.monotonic() - this.#heardAt > SILENCE_MS) this.close(`silent for ${SILENCE_MS} ms`);
      else this.#watchSilence();
    }, true);
  }
}
