/** The commands by hand: one request each, over the same protocol as the service's. */
import { randomBytes } from 'node:crypto';
import type { AgentRequest, Done, VmSpec } from '../../protocol.ts';
import type { Clock } from '../clock.ts';
import { EXIT, Exit } from '../exit.ts';
import { MAX_CONSOLE, readRequest } from '../requests.ts';
import { callAgent } from './client.ts';
import type { AgentCall, OwnCommand } from './client.ts';
import { describe } from './output.ts';
import { specFrom } from './spec.ts';
import { needed, wholeNumber } from './usage.ts';
import type { ByHandCommand, Invocation } from './usage.ts';

const DEFAULT_TIMEOUT_S = 120;
const DEFAULT_CONSOLE = 64 * 1024;

/** Commands whose word differs from the protocol's. */
const OPERATIONS: Readonly<Partial<Record<ByHandCommand, AgentRequest['op']>>> = { create: 'start', unpause: 'resume' };

export interface ByHand {
  readonly clock: Clock;
  readonly own: OwnCommand;
  readonly out: (text: string) => void;
  /** Undefined when nobody watches. */
  readonly onPhase: ((text: string) => void) | undefined;
}

/** @throws Exit when it did not succeed */
export async function runByHand(command: ByHandCommand, invocation: Invocation, by: ByHand): Promise<void> {
  const { values, stateDir, driver } = invocation;
  const draft = await draftOf(command, invocation);
  const serveArgs = ['--state', stateDir, '--driver', driver, ...(values.config === undefined ? [] : ['--config', values.config])];
  const agent = await callAgent(by.clock, stateDir, by.own, serveArgs);
  try {
    const generation = 'generation' in draft && values.generation === undefined
      ? { generation: await nextGeneration(agent, draft, command) }
      : {};
    const done = await agent.ask({ ...draft, ...generation }, by.onPhase);
    print(done, values.json === true, by.out);
  } finally {
    await agent.close();
  }
}

async function draftOf(command: ByHandCommand, { values, name }: Invocation): Promise<AgentRequest> {
  const base = { id: operationId(), deadlineMs: wholeNumber('timeout', values.timeout, DEFAULT_TIMEOUT_S) * 1000 };
  const op = OPERATIONS[command] ?? command;
  if (op === 'list' || op === 'status') return checked({ ...base, op });
  const lease = needed('name', name);
  if (op === 'info') return checked({ ...base, op, lease });
  if (op === 'console') return checked({ ...base, op, lease, maxBytes: Math.min(MAX_CONSOLE, wholeNumber('bytes', values.bytes, DEFAULT_CONSOLE)) });
  const generation = wholeNumber('generation', values.generation, 0);
  const vm: VmSpec | undefined = op === 'start' || op === 'propagate' ? await specFrom(lease, values) : undefined;
  return checked({ ...base, op, lease, generation, ...(vm === undefined ? {} : { vm }) });
}

/** The agent would refuse it too; here the sentence names what was typed. */
function checked(request: unknown): AgentRequest {
  try {
    return readRequest(request, 'request');
  } catch (e) {
    throw new Exit(EXIT.arguments, (e as Error).message);
  }
}

/** A new VM needs a generation of its own; everything else is done to the lease as it is. */
async function nextGeneration(agent: AgentCall, request: AgentRequest & { lease: string }, command: ByHandCommand): Promise<number> {
  const done = await agent.ask({ id: operationId(), op: 'info', lease: request.lease, deadlineMs: request.deadlineMs });
  const seen = done.ok && 'vm' in done.result ? done.result.vm.generation : 0;
  return command === 'create' || command === 'propagate' ? seen + 1 : seen;
}

function print(done: Done, json: boolean, out: (text: string) => void): void {
  if (json) out(`${JSON.stringify(done.ok ? done.result : { error: done.error }, null, 2)}\n`);
  if (!done.ok) throw new Exit(done.error.code === 'BadRequest' ? EXIT.arguments : EXIT.failed, `${done.error.code}: ${done.error.message}`);
  if (!json) out(describe(done.result));
}

const operationId = (): string => `by-hand-${randomBytes(8).toString('hex')}`;
