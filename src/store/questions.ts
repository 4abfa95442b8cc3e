/** Statements on questions: what a process asks of a node whose agent another process has a channel to. */
import { statement } from './db.ts';

/** $1 id, $2 node, $3 request */
export const insertQuestion = statement<never>('insert-question', 'INSERT INTO question (id, node_id, request) VALUES ($1, $2, $3)');
/** $1 id */
export const answerTo = statement<{ answer: unknown }>('answer-to', 'SELECT answer FROM question WHERE id = $1 AND answer IS NOT NULL');
export const dropQuestion = statement<never>('drop-question', 'DELETE FROM question WHERE id = $1');

/** $1 process, $2 limit: questions about nodes that it reaches, each to one process. What nobody waits for any more goes. */
export const takeQuestions = statement<{ id: string; node_id: number; request: unknown }>('take-questions', `
  WITH old AS (DELETE FROM question WHERE asked_at < clock_timestamp() - interval '5 minutes')
  UPDATE question SET process_id = $1 WHERE id IN (
    SELECT q.id FROM question q JOIN node_channel c ON c.node_id = q.node_id AND c.process_id = $1
     WHERE q.process_id IS NULL ORDER BY q.asked_at LIMIT $2 FOR UPDATE OF q SKIP LOCKED)
  RETURNING id, node_id, request`);
/** $1 id, $2 answer */
export const answerQuestion = statement<never>('answer-question', 'UPDATE question SET answer = $2 WHERE id = $1');
