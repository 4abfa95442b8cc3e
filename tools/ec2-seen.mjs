// What the tests have not shown of the table of EC2 actions: each action's success, and each fault that it lists.
import { readdirSync } from 'node:fs';
import { tableOfActions } from './ec2-table.mjs';

/** @param {Iterable<{name: string, errors: readonly string[]}>} operations @param {Iterable<string>} seen names `Action.success`, `Action.FaultCode` */
export function unseen(operations, seen) {
  const noted = new Set(seen);
  return [...operations].flatMap(({ name, errors }) => ['success', ...errors].map((what) => `${name}.${what}`)).filter((pair) => !noted.has(pair));
}

/** A line for each, `dir` has the notes of test/ec2/seen.ts. */
export async function unseenActions(dir) {
  const { operations } = await tableOfActions();
  return unseen(operations, readdirSync(dir)).map((pair) => `no test has seen ${pair.replace('.', ' answer with ')}`);
}
