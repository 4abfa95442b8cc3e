/** Answers what other processes ask of the nodes that this one reaches. */
import type { AgentRequest } from '../control/protocol.ts';
import type { ControlClient } from '../control/types.ts';
import { isFault } from '../lease/faults.ts';
import type { QuestionAnswer } from '../manager/ask-node.ts';
import type { Self } from '../manager/processes.ts';
import type { Context, Timer } from '../platform/context.ts';
import type { Db } from '../store/db.ts';
import { answerQuestion, takeQuestions } from '../store/questions.ts';

const LOOK_MS = 1_000;
const MOST_AT_ONCE = 16;

export interface Questions {
  start(): void;
  stop(): Promise<void>;
  /** There may be one. */
  look(): Promise<void>;
}

export function createQuestions({ ctx, db, control, self }: { ctx: Context; db: Db; control: ControlClient; self: Self }): Questions {
  const running = new Set<Promise<void>>();
  let timer: Timer | undefined;
  let stopped = false;

  async function look(): Promise<void> {
    const me = self.id();
    const room = MOST_AT_ONCE - running.size;
    if (stopped || me === null || room <= 0) return;
    for (const q of await db.query(takeQuestions, [me, room])) {
      const work = control.ask(q.node_id, q.request as AgentRequest).then((done): QuestionAnswer => ({ done }), refusal)
        .then((answer) => db.query(answerQuestion, [q.id, JSON.stringify(answer)]))
        .then(() => undefined, (e: unknown) => ctx.log.warn('a question of another service was not answered', { question: q.id, error: (e as Error).message }))
        .finally(() => running.delete(work));
      running.add(work);
    }
  }

  function arm(): void {
    if (stopped) return;
    timer = ctx.clock.after(LOOK_MS, () => {
      look().catch((e: unknown) => ctx.log.warn('questions of other services could not be looked for', { error: (e as Error).message })).finally(arm);
    }, true);
  }

  return {
    start: arm,
    look,
    async stop() {
      stopped = true;
      timer?.cancel();
      await Promise.all(running);
    },
  };
}

const refusal = (e: unknown): QuestionAnswer => (isFault(e)
  ? { code: e.code, message: e.message, reasons: e.reasons }
  : { code: 'NodeRefused', message: (e as Error).message, reasons: [] });
