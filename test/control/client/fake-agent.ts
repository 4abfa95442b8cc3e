/** A scripted agent behind an in-memory link. */
import { PassThrough } from 'node:stream';
import type { AgentHello, AgentRequest, Done, ServiceLine } from '../../../src/control/protocol.ts';
import type { AgentLink, Transport } from '../../../src/control/client/transport.ts';
import { encodeLine, lineReader } from '../../../src/control/wire.ts';

export const HELLO: AgentHello = {
  program: 'workspace-control', version: '0.1.0', protocols: [1, 2], node: 'fake', bootId: 'b00t', pid: 1, driver: 'simulated', at: 0,
};

export interface FakeAgent {
  say(line: unknown): void;
  sayRaw(bytes: Buffer | string): void;
  hang(reason: string): void;
  /** Lines that it was sent, in order. */
  readonly heard: ServiceLine[];
  /** Bytes written to it but not read; it stops reading with `deaf`. */
  deaf: boolean;
  readonly closed: Promise<string>;
}

export interface Script {
  readonly hello?: Partial<AgentHello> | null;
  /** Called for each line; pings are answered already unless `mute`. */
  readonly onLine?: (line: ServiceLine, agent: FakeAgent) => void;
  readonly mute?: boolean;
  readonly clock?: () => number;
}

/** Answers requests at once. */
export function echo(line: ServiceLine, agent: FakeAgent, answer: (r: AgentRequest) => Done = succeed): void {
  if (!('do' in line)) return;
  if (Array.isArray(line.do)) agent.say({ done: (line.do as AgentRequest[]).map(answer) });
  else agent.say({ done: answer(line.do as AgentRequest) });
}

export const succeed = (r: AgentRequest): Done => ({ id: r.id, ok: true, result: { vms: [] }, stamps: { received: 1 } });

export interface FakeNode {
  readonly transport: Transport;
  /** One per connection, the latest last. */
  readonly agents: FakeAgent[];
  /** Set to make the next attempts fail. */
  refuse: string | undefined;
}

export function fakeNode(script: Script): FakeNode {
  const node: FakeNode = {
    agents: [],
    refuse: undefined,
    transport: {
      describe: 'fake',
      async open() {
        if (node.refuse !== undefined) throw new Error(node.refuse);
        const { agent, link } = connect(script);
        node.agents.push(agent);
        return link;
      },
    },
  };
  return node;
}

function connect(script: Script): { agent: FakeAgent; link: AgentLink } {
  const toService = new PassThrough({ highWaterMark: 1 << 20 });
  const toAgent = new PassThrough({ highWaterMark: 1 << 20 });
  let end: (reason: string) => void = () => undefined;
  const ended = new Promise<string>((resolve) => { end = resolve; });
  const agent: FakeAgent = {
    say: (line) => void toService.write(encodeLine(line)),
    sayRaw: (bytes) => void toService.write(bytes),
    hang: (reason) => end(reason),
    heard: [],
    deaf: false,
    closed: ended,
  };
  const read = lineReader((text) => {
    const line = JSON.parse(text) as ServiceLine;
    agent.heard.push(line);
    if ('ping' in line && script.mute !== true) agent.say({ pong: line.ping, at: script.clock?.() ?? 0 });
    script.onLine?.(line, agent);
  }, () => undefined);
  toAgent.on('data', (chunk: Buffer) => { if (!agent.deaf) read(chunk); });
  if (script.hello !== null) agent.say({ hello: { ...HELLO, ...script.hello } });
  const link: AgentLink = { readable: toService, writable: toAgent, ended, close: (how) => end(`closed ${how}`) };
  return { agent, link };
}
