/** Whether the service can serve: the database answers, and what works in the background does. */
import type { Context } from '../platform/context.ts';
import { withDeadline } from '../platform/deadline.ts';
import type { Pulses } from '../platform/pulses.ts';
import { statement, type Db } from '../store/db.ts';

const ANSWER_MS = 3_000;
const answering = statement<{ one: number }>('monitoring-answering', 'SELECT 1 AS one');

export interface Readiness {
  readonly ready: boolean;
  /** Sentences; empty when it is. */
  readonly missing: readonly string[];
}

export async function readiness({ clock }: Context, db: Db, pulses: Pulses): Promise<Readiness> {
  // The error may name hosts and users: it stands in the log, and who asks here is nobody.
  const away = await withDeadline(clock, ANSWER_MS, 'asking the database', db.query(answering)).then(() => [], () => ['the database does not answer']);
  const missing = [...away, ...pulses.missing()];
  return { ready: missing.length === 0, missing };
}
