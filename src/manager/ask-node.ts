/**
 * Asks a node's agent something, whoever reaches it: over this process's own channel, or through the table of questions, which
 * the process that has the channel answers. A question changes nothing; one that is lost is asked again by its user.
 */
import type { AgentRequest, Done } from '../control/protocol.ts';
import { Fault, type FaultCode } from '../lease/faults.ts';
import { sleep } from '../platform/deadline.ts';
import { answerTo, dropQuestion, insertQuestion } from '../store/questions.ts';
import type { ManagerDeps } from './deps.ts';

export type QuestionAnswer = { readonly done: Done & { ok: true } } | { readonly code: FaultCode; readonly message: string; readonly reasons: readonly string[] };

const FIRST_LOOK_MS = 20;
const LOOK_MOST_MS = 250;
/** Beyond the node's own deadline, for the way through the table. */
const WAY_MS = 2_000;
const MOST_ASKED = 64;

/** Rejects as `ControlClient.ask` does. */
export type AskNode = (nodeId: number, request: AgentRequest) => Promise<Done & { ok: true }>;

export function createAskNode(deps: Pick<ManagerDeps, 'ctx' | 'db' | 'control' | 'pool' | 'tellOthers'>): AskNode {
  const { ctx, db, control, pool } = deps;
  let asked = 0;

  async function throughOthers(nodeId: number, request: AgentRequest): Promise<Done & { ok: true }> {
    const deadline = ctx.clock.monotonic() + request.deadlineMs + WAY_MS;
    await db.query(insertQuestion, [request.id, nodeId, JSON.stringify(request)]);
    deps.tellOthers?.('questions');
    try {
      for (let pause = FIRST_LOOK_MS; ; pause = Math.min(LOOK_MOST_MS, pause * 2)) {
        const [row] = await db.query(answerTo, [request.id]);
        if (row !== undefined) return heard(row.answer as QuestionAnswer);
        if (ctx.clock.monotonic() > deadline) throw new Fault('NodeUnreachable', `Node ${pool.name(nodeId)} does not answer.`, [`${pool.name(nodeId)}: the service that reaches it has not answered`]);
        await sleep(ctx.clock, pause);
      }
    } finally {
      await db.query(dropQuestion, [request.id]).catch((e: unknown) => ctx.log.debug('a question is left to be forgotten', { question: request.id, error: (e as Error).message }));
    }
  }

  return async (nodeId, request) => {
    if (control.state(nodeId).up || !pool.elsewhere(nodeId)) return control.ask(nodeId, request);
    if (asked >= MOST_ASKED) throw new Fault('Busy', `${MOST_ASKED} questions to nodes of other services are waiting already`);
    asked += 1;
    try {
      return await throughOthers(nodeId, request);
    } finally {
      asked -= 1;
    }
  };
}

function heard(answer: QuestionAnswer): Done & { ok: true } {
  if ('done' in answer) return answer.done;
  throw new Fault(answer.code, answer.message, answer.reasons);
}
