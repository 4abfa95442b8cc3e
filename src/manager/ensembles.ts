/** Ensembles: groups of one user that are placed together or not at all; on borrowed nodes they are one batch job. */
import { createHash } from 'node:crypto';
import { Fault } from '../lease/faults.ts';
import type { CreateRequest } from '../lease/types.ts';

/** A batch system takes a job of so many parts, and a user reads a refusal of so many. */
export const MOST_GROUPS = 32;

/** @throws Fault ParameterMissing, TooMany, ParameterInvalid */
export function checkEnsemble(requests: readonly CreateRequest[]): void {
  if (requests.length === 0) throw new Fault('ParameterMissing', 'An ensemble has at least one group');
  if (requests.length > MOST_GROUPS) throw new Fault('TooMany', `An ensemble has at most ${MOST_GROUPS} groups; you asked for ${requests.length}`);
  const tokens = requests.flatMap((r) => r.clientToken ?? []);
  if (tokens.length > 0 && tokens.length < requests.length) {
    throw new Fault('ParameterInvalid', 'Of an ensemble either every group has a client token or none has', [`${tokens.length} of ${requests.length} have one`]);
  }
  if (new Set(tokens).size < tokens.length) throw new Fault('ParameterInvalid', 'Each group of an ensemble has a client token of its own; some are the same');
}

/** Digests of the groups' requests, such that a token of one is good only with all others as they were. */
export function boundDigests(digests: readonly string[], tokens: ReadonlyArray<string | null>): readonly string[] {
  if (digests.length === 1) return digests;
  const whole = JSON.stringify(digests.map((d, i) => [d, tokens[i] ?? null]));
  return digests.map((_, i) => createHash('sha256').update(`${i} ${whole}`).digest('hex'));
}

/** A refusal says which group of an ensemble it is about; one request alone needs no number. */
export function ofGroup(fault: Fault, index: number, groups: number): Fault {
  if (groups === 1) return fault;
  return new Fault(fault.code, `Group ${index + 1} of ${groups}: ${fault.message}`, fault.reasons, { cause: fault.cause, ec2: fault.ec2 });
}
