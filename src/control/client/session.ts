/**
 * One conversation with an agent, from its hello to the end of its link.
 *
 *   greeting   the agent's hello is awaited; noise before it (a shell's start files) is forgiven up to a bound
 *   open       requests, answers, pings; any breach of the protocol ends it
 *   ended      everything outstanding was lost as `unreachable`, the link is closed
 */
import { PROTOCOLS, type AgentHello, type AgentLine, type AgentRequest, type Done, type Protocol, type ServiceLine, type VmEvent } from '../protocol.ts';
import type { Context, Timer } from '../../platform/context.ts';
import { VERSION } from '../../platform/version.ts';
import type { ImageSource, Lost } from '../types.ts';
import { encodeLine, lineReader } from '../wire.ts';
import { encodeGroup } from './encode.ts';
import { createExchange, type RequestHandlers } from './exchange.ts';
import { excerpt, isHello, readAgentLine } from './lines.ts';
import { watchLiveness, type Liveness } from './liveness.ts';
import type { Slots } from './slots.ts';
import type { AgentLink } from './transport.ts';
import { createUploads } from './uploads.ts';

/** Lines before the hello that are forgiven. */
const MAX_NOISE = 50;
/**
 * Lines, and their characters, between two pings that answer nothing: events, and what repeats an answer that was given. A node
 * has fewer VMs; one that says more would have this process read it and nobody else.
 */
const MAX_SPARE = 4096;
const MAX_SPARE_CHARACTERS = 4 * 1024 * 1024;
/** Bytes that may wait for a slow link before further requests are refused. */
const MAX_UNSENT = 8 * 1024 * 1024;

export interface SessionOptions {
  readonly helloMs: number;
  readonly silenceMs: number;
  readonly graceMs: number;
  readonly maxOutstanding: number;
  readonly uploadStallMs: number;
  readonly uploadSlots: Slots;
  readonly imageSource: ImageSource;
}

export interface SessionEvents {
  readonly onOpen: (hello: AgentHello) => void;
  readonly onVmEvent: (event: VmEvent) => void;
  /** Once; `reason` is a clause without a full stop. */
  readonly onEnd: (reason: string) => void;
}

export interface Session {
  readonly clockOffsetMs: number;
  /** Sends requests in one write. Every request gets exactly one outcome, some before this returns. */
  send(requests: readonly AgentRequest[], handlers: RequestHandlers): void;
  close(reason: string, how: 'orderly' | 'broken'): void;
}

export function startSession(ctx: Context, link: AgentLink, options: SessionOptions, events: SessionEvents): Session {
  const { clock, log } = ctx;
  const exchange = createExchange({ clock, maxOutstanding: options.maxOutstanding, graceMs: options.graceMs });
  const write = (line: ServiceLine): void => writeBytes(encodeLine(line));
  const uploads = createUploads({ clock, write, source: options.imageSource, slots: options.uploadSlots, stallMs: options.uploadStallMs });
  let protocol: Protocol | undefined;
  let liveness: Liveness | undefined;
  let ended = false;
  let spare = 0;
  let spareCharacters = 0;
  const noise: string[] = [];

  const helloTimer: Timer = clock.after(options.helloMs, () => end(`no hello within ${options.helloMs} ms${heardInstead()}`, 'broken'), true);
  const heardInstead = (): string => {
    const [first = link.lastWords?.()] = noise.map((n) => excerpt(n));
    return first === undefined ? '' : `; the node says ${first} instead`;
  };

  function end(reason: string, how: 'orderly' | 'broken'): void {
    if (ended) return;
    ended = true;
    helloTimer.cancel();
    liveness?.stop();
    link.close(how);
    uploads.end(reason);
    exchange.loseAll(reason);
    events.onEnd(reason);
  }
  const breach = (what: string): void => end(`the agent broke the protocol: ${what}`, 'broken');

  function writeBytes(bytes: Buffer | string): void {
    if (!ended && link.writable.writable) link.writable.write(bytes);
  }

  function onLine(text: string): void {
    if (ended) return;
    liveness?.heard();
    const line = readAgentLine(text);
    if (protocol === undefined) return greet(line, text);
    if (typeof line === 'string') return breach(line);
    if (!answers(line)) {
      spare += 1;
      spareCharacters += text.length;
      if (spare > MAX_SPARE || spareCharacters > MAX_SPARE_CHARACTERS) return breach('it says too much that nobody asked for');
    }
    hear(line);
  }

  /** True of what a request, a chunk or a ping waits for: there is no more of that than was sent. */
  function answers(line: AgentLine): boolean {
    const waits = (id: string): boolean => exchange.entry(id) !== undefined;
    if ('done' in line) return Array.isArray(line.done) ? (line.done as readonly Done[]).some((d) => waits(d.id)) : waits((line.done as Done).id);
    if ('ack' in line) return line.ack.some(waits);
    if ('progress' in line) return waits(line.progress.id);
    if ('put' in line) return uploads.awaits(line.put);
    return 'pong' in line;
  }

  function greet(line: AgentLine | string, text: string): void {
    if (typeof line === 'string' || !isHello(line)) {
      if (noise.push(text.slice(0, 200)) > MAX_NOISE) end(`no hello among the first ${MAX_NOISE} lines${heardInstead()}`, 'broken');
      return;
    }
    const theirs = line.hello.protocols;
    protocol = [...PROTOCOLS].reverse().find((p) => theirs.includes(p));
    if (protocol === undefined) {
      return end(`agent ${line.hello.version} speaks protocols ${theirs.join(', ')}, this service ${PROTOCOLS.join(', ')}; install its agent with "nimbus node upgrade"`, 'orderly');
    }
    helloTimer.cancel();
    write({ hello: { program: 'nimbus', version: VERSION, protocol } });
    liveness = watchLiveness({
      clock,
      silenceMs: options.silenceMs,
      ping: (n) => write({ ping: n }),
      onTick: () => { spare = spareCharacters = 0; },
      onSilent: () => end(`silent for ${options.silenceMs} ms`, 'broken'),
      onRoundTrip: (ms) => ctx.meter?.roundTrip(ms),
      onDeaf: () => breach('it talks, and answers no ping'),
    });
    events.onOpen(line.hello);
    liveness.start();
  }

  function hear(line: AgentLine): void {
    if ('done' in line) return hearDone(line.done);
    if ('ack' in line) return exchange.ack(line.ack) ? undefined : breach('it acknowledges what it was not asked');
    if ('progress' in line) {
      const { id, phase, at } = line.progress;
      return exchange.progress(id, phase, at) ? undefined : breach('it reports progress of what it was not asked');
    }
    if ('pong' in line) return liveness?.pong(line.pong, line.at) === true ? undefined : breach('it answers a ping that was not sent');
    if ('put' in line) return uploads.onPut(line.put) ? undefined : breach('it acknowledges image data that was not sent');
    if ('event' in line) return events.onVmEvent(line.event);
    if ('bye' in line) return end(`the agent went: ${excerpt(line.bye)}`, 'orderly');
    breach('a second hello');
  }

  function hearDone(done: readonly Done[] | Done): void {
    for (const one of Array.isArray(done) ? (done as readonly Done[]) : [done as Done]) {
      if (ended) return;
      if (!exchange.known(one.id)) return breach('it answers what it was not asked');
      if (!fetchImage(one)) exchange.settle(one.id, { done: one });
    }
  }

  /** Sends the image that the agent lacks, then the request once more with the same id. False when that is no way out. */
  function fetchImage(done: Done): boolean {
    const entry = exchange.entry(done.id);
    if (done.ok || done.error.code !== 'ImageMissing' || protocol !== 2) return false;
    if (entry === undefined || entry.imageSent || !('vm' in entry.request)) return false;
    const { image } = entry.request.vm;
    exchange.hold(entry);
    void uploads.send(image).then((failure) => {
      if (ended || exchange.entry(done.id) !== entry) return;
      if (failure !== null) return exchange.settle(done.id, { done: { ...done, error: failure } });
      exchange.rearm(entry);
      writeBytes(encodeGroup([entry.request], 2).bytes);
    });
    log.info('image goes to the node', { image: image.id, bytes: image.sizeBytes });
    return true;
  }

  function send(requests: readonly AgentRequest[], handlers: RequestHandlers): void {
    if (ended || protocol === undefined) return lose(requests, handlers, 'the channel is not open');
    if (link.writable.writableLength > MAX_UNSENT) return lose(requests, handlers, 'too much waits to be sent to the node', 'busy');
    const room = Math.max(0, exchange.room);
    const taken = requests.slice(0, room).filter((r) => exchange.add(r, handlers));
    lose(requests.slice(room), handlers, `${options.maxOutstanding} requests wait for the node already`, 'busy');
    const { bytes, tooLong } = encodeGroup(taken, protocol);
    if (bytes !== '') writeBytes(bytes);
    for (const r of tooLong) {
      exchange.settle(r.id, { done: { id: r.id, ok: false, error: { code: 'BadRequest', message: 'The request is longer than a line of the protocol.' }, stamps: {} } });
    }
  }

  const read = lineReader(onLine, () => breach('a line is too long'));
  link.readable.on('data', read);
  void link.ended.then((reason) => end(reason, 'orderly'));

  return { get clockOffsetMs() { return liveness?.clockOffsetMs ?? 0; }, send, close: end };
}

export function lose(requests: readonly AgentRequest[], handlers: RequestHandlers, reason: string, lost: Lost = 'unreachable'): void {
  for (const r of requests) handlers.onOutcome(r.id, { lost, reason });
}
