/**
 * Streams between simulated processes. What is written is cut into lines, and each line may be lost, doubled, late or overtaken,
 * as the weather has it; a line is never torn. A stream whose process dies, or whose machines cannot reach each other, ends.
 */
import { Duplex } from 'node:stream';
import type { Clock } from '../../../src/platform/context.ts';
import type { Dice } from './random.ts';
import type { Process } from './process.ts';
import type { VirtualTime } from './time.ts';
import type { Trace } from './trace.ts';
import type { Weather } from './weather.ts';

const LATE_MS = 8_000;
/** What is overtaken comes so much later. */
const OVERTAKEN_MS = 12_000;
/** What opens a stream is never touched: without it there is none. */
const OPENING = ['{"hello"', 'HTTP/1.1'].map((text) => Buffer.from(text));
/** The end of a stream that was cut is heard after so long. */
const RESET_MS = 5;

export class Network {
  readonly streams = new Set<SimStream>();
  messages = 0;
  /** Called with each message, before it is carried: a process may die of it. */
  onMessage: (from: Process, to: Process) => void = () => undefined;
  /** Machines that nobody reaches: nothing comes or goes. */
  readonly cutOff = new Set<string>();
  /** Machines without power. */
  readonly dark = new Set<string>();
  /** Nothing comes over a line because time leaps over what would. */
  maySilence: () => boolean = () => false;

  constructor(readonly time: VirtualTime, readonly dice: Dice, readonly weather: Weather, readonly trace: Trace) {}

  reachable(process: Process): boolean {
    const machine = machineOf(process);
    return !this.cutOff.has(machine) && !this.dark.has(machine);
  }

  /** ms that one message takes. */
  latency(): number {
    const { weather, dice } = this;
    return weather.latencyMs === 0 ? 0 : dice.wait(weather.latencyMs) + (dice.chance(weather.late) ? dice.int(100, LATE_MS) : 0);
  }

  /** Connections of this machine break. */
  reset(machine: string): void {
    for (const s of [...this.streams]) if (machineOf(s.own) === machine) s.sever('the connection was reset');
  }
}

const machineOf = (process: Process): string => process.name.slice(process.name.indexOf('@') + 1);

export function streamEnds(network: Network, a: Process, b: Process): [SimStream, SimStream] {
  const near = new SimStream(network, a);
  const far = new SimStream(network, b);
  near.join(far);
  far.join(near);
  return [near, far];
}

export class SimStream extends Duplex {
  bytesRead = 0;
  #peer: SimStream | undefined;
  /** Order is kept: nothing arrives before what was sent before it. */
  #lastAt = 0;
  #idle: { ms: number; fn: () => void } | undefined;
  readonly #looks: Clock;
  #heardAt = 0;
  /** The far side has said its last word. */
  #over = false;

  constructor(private readonly network: Network, readonly own: Process) {
    super({ allowHalfOpen: true });
    network.streams.add(this);
    this.#looks = own.leapingClock({ polls: () => network.maySilence, most: Infinity });
    own.atEnd(() => this.sever('the connection was reset'));
    this.on('error', () => undefined);
  }

  join(peer: SimStream): void {
    this.#peer = peer;
  }

  setNoDelay(): this {
    return this;
  }

  /** As of a socket: `fn` when nothing came for so long; 0 = never. */
  setTimeout(ms: number, fn: () => void = () => undefined): this {
    this.#idle = ms === 0 ? undefined : { ms, fn };
    this.#heardAt = this.network.time.now;
    if (ms > 0) this.#watch();
    return this;
  }

  #watch(): void {
    const idle = this.#idle;
    if (idle === undefined || this.destroyed) return;
    const left = this.#heardAt + idle.ms - this.network.time.now;
    if (left <= 0) return idle.fn();
    this.#looks.after(left, () => this.#watch(), true);
  }

  override _read(): void {
    // Lines are pushed as they come.
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#send(chunk);
    done();
  }

  override _final(done: () => void): void {
    const peer = this.#peer;
    if (peer !== undefined) this.#arrive(this.network.latency(), () => peer.receive(null));
    done();
  }

  override _destroy(e: Error | null, done: (e: Error | null) => void): void {
    this.network.streams.delete(this);
    const peer = this.#peer;
    this.#peer = undefined;
    if (peer !== undefined) this.network.time.after(RESET_MS, () => { if (this.network.reachable(this.own) && this.network.reachable(peer.own)) peer.destroy(); });
    done(e);
  }

  /** The far side, or the way to it, is gone. */
  sever(why: string): void {
    if (this.destroyed) return;
    const peer = this.#peer;
    this.#peer = undefined;
    this.network.time.after(RESET_MS, () => { if (peer !== undefined && this.network.reachable(peer.own)) peer.destroy(new Error(why)); });
    this.network.streams.delete(this);
    if (this.own.alive) this.destroy(new Error(why));
  }

  #send(chunk: Buffer): void {
    const { network, own } = this;
    const peer = this.#peer;
    if (peer === undefined || !own.alive) return;
    const { lost, doubled, reordered } = network.weather;
    if (lost + doubled + reordered === 0 || OPENING.some((o) => chunk.subarray(0, o.length).equals(o))) return this.#carry(peer, chunk, false);
    for (const line of linesOf(chunk)) {
      if (network.dice.chance(lost)) network.trace.add('lost', own.name, line.toString().slice(0, 60));
      else this.#carry(peer, line, network.dice.chance(reordered));
      if (network.dice.chance(doubled)) this.#carry(peer, line, true);
    }
  }

  #carry(peer: SimStream, bytes: Buffer, overtakes: boolean): void {
    const { network, own } = this;
    network.messages += 1;
    network.onMessage(own, peer.own);
    const latency = network.latency() + (overtakes ? network.dice.int(1, OVERTAKEN_MS) : 0);
    // Copied: the writer may use its buffer again.
    const copy = Buffer.from(bytes);
    if (overtakes) network.time.after(latency, () => peer.receive(copy));
    else this.#arrive(latency, () => peer.receive(copy));
  }

  #arrive(latency: number, fn: () => void): void {
    const { time } = this.network;
    this.#lastAt = Math.max(this.#lastAt, time.now + latency);
    time.after(this.#lastAt - time.now, fn);
  }

  /** null: the far side has ended. */
  receive(bytes: Buffer | null): void {
    const { network, own } = this;
    if (this.destroyed || this.#over || !own.alive) return;
    // A message to a machine that cannot be reached is lost; TCP would send it again, and the line be silent meanwhile.
    if (!network.reachable(own) || this.#peer === undefined || !network.reachable(this.#peer.own)) return;
    if (own.pausedUntil > network.time.now) return void network.time.after(own.pausedUntil - network.time.now, () => this.receive(bytes));
    this.#heardAt = network.time.now;
    this.bytesRead += bytes?.length ?? 0;
    network.trace.add('heard', own.name, bytes === null ? 'the end' : bytes.toString('latin1'));
    this.#over = bytes === null;
    this.push(bytes);
  }
}

function linesOf(chunk: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let from = 0; from < chunk.length;) {
    const end = chunk.indexOf(10, from);
    const to = end === -1 ? chunk.length : end + 1;
    lines.push(chunk.subarray(from, to));
    from = to;
  }
  return lines;
}
