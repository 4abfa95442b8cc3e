/** How a command by hand speaks to the agent: over its socket, or to an agent that it starts for the while. */
import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { VERSION } from '../../../platform/version.ts';
import { PROTOCOLS } from '../../protocol.ts';
import type { AgentHello, AgentLine, AgentPhase, AgentRequest, Done, Protocol } from '../../protocol.ts';
import { encodeLine, lineReader } from '../../wire.ts';
import type { Clock, Timer } from '../clock.ts';
import { EXIT, Exit } from '../exit.ts';
import { hangsExit } from '../holder.ts';
import { GREETING_MS } from '../relay.ts';
import { connectTo } from '../socket.ts';

/** An agent that is started here may have to wait for one that ends. */
const HELLO_MS = 150_000;
/** The agent answers at the deadline; this much later it is not going to. */
const ANSWER_GRACE_MS = 10_000;
const CLOSE_MS = 2_000;

export interface AgentCall {
  ask(request: AgentRequest, onPhase?: (phase: AgentPhase) => void): Promise<Done>;
  close(): Promise<void>;
}

interface Link {
  readonly input: Readable;
  readonly output: Writable;
  readonly ended: Promise<void>;
}

/** Arguments that start this very program, as a script or as a self-contained executable. */
export type OwnCommand = readonly [program: string, ...args: string[]];

export async function callAgent(clock: Clock, stateDir: string, own: OwnCommand, serveArgs: readonly string[]): Promise<AgentCall> {
  const socket = await connectTo(stateDir).catch((e: Error) => { throw new Exit(EXIT.environment, `${stateDir}: ${e.message}`); });
  const link = socket === undefined
    ? startAgent(own, serveArgs)
    : { input: socket, output: socket, ended: new Promise<void>((resolve) => socket.once('close', () => resolve())) };
  return new Call(clock, link).opened(socket === undefined ? undefined : { ms: GREETING_MS, late: () => hangsExit(stateDir, `has said nothing for ${GREETING_MS / 1000} s`) });
}

/** In a session of its own: it may serve others when this command has ended, and the terminal's signals are not for it. */
function startAgent([program, ...args]: OwnCommand, serveArgs: readonly string[]): Link {
  const child = spawn(program, [...args, 'serve', ...serveArgs], { detached: true, stdio: ['pipe', 'pipe', 'inherit'] });
  child.on('error', () => child.stdout.destroy());
  return { input: child.stdout, output: child.stdin, ended: new Promise((resolve) => child.once('close', () => resolve())) };
}

interface Patience {
  readonly ms: number;
  readonly late: () => Exit;
}

const patience = (ms: number, what: string): Patience => ({ ms, late: () => new Exit(EXIT.environment, `the agent did not ${what} within ${ms / 1000} s`) });

class Call implements AgentCall {
  readonly #clock: Clock;
  readonly #link: Link;
  #onLine: (line: AgentLine) => void = () => undefined;
  #onEnd: (why: string) => void = () => undefined;
  #lastWords = 'the agent has ended';

  constructor(clock: Clock, link: Link) {
    this.#clock = clock;
    this.#link = link;
    const push = lineReader((text) => this.#line(text), () => link.input.destroy());
    link.input.on('data', push).on('error', () => undefined).on('close', () => this.#onEnd(this.#lastWords));
    link.output.on('error', () => undefined);
  }

  async opened(holder?: Patience): Promise<AgentCall> {
    const hello = await this.#wait<AgentHello>(holder ?? patience(HELLO_MS, 'greet'), (line) => ('hello' in line ? line.hello : undefined));
    const protocol = [...PROTOCOLS].reverse().find((p) => hello.protocols.includes(p));
    if (protocol === undefined) throw new Exit(EXIT.environment, `the agent, version ${hello.version}, speaks no protocol that version ${VERSION} knows`);
    this.#send({ hello: { program: 'nimbus', version: VERSION, protocol: protocol satisfies Protocol } });
    return this;
  }

  async ask(request: AgentRequest, onPhase: (phase: AgentPhase) => void = () => undefined): Promise<Done> {
    const answer = this.#wait<Done>(patience(request.deadlineMs + ANSWER_GRACE_MS, 'answer'), (line) => {
      if ('progress' in line) onPhase(line.progress.phase);
      return 'done' in line ? [line.done].flat().find((d) => d.id === request.id) : undefined;
    });
    this.#send({ do: request });
    return answer;
  }

  async close(): Promise<void> {
    this.#link.output.end();
    let timer: Timer | undefined;
    await Promise.race([this.#link.ended, new Promise<void>((resolve) => { timer = this.#clock.after(CLOSE_MS, resolve); })]);
    timer?.cancel();
    this.#link.input.destroy();
  }

  #send(line: unknown): void {
    this.#link.output.write(encodeLine(line));
  }

  #line(text: string): void {
    let line: AgentLine;
    try {
      line = JSON.parse(text) as AgentLine;
    } catch {
      this.#lastWords = 'the agent said something that is no JSON';
      this.#link.input.destroy();
      return;
    }
    if ('bye' in line) this.#lastWords = `the agent has ended: ${line.bye}`;
    this.#onLine(line);
  }

  #wait<T>({ ms, late }: Patience, pick: (line: AgentLine) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(ms, () => reject(late()));
      this.#onEnd = (why) => {
        timer.cancel();
        reject(new Exit(EXIT.environment, why));
      };
      this.#onLine = (line) => {
        const picked = pick(line);
        if (picked === undefined) return;
        timer.cancel();
        resolve(picked);
      };
    });
  }
}
