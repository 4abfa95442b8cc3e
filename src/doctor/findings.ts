/** Findings, made short. */
import type { LrmFacts } from '../pilot/lrm/types.ts';
import type { BatchSite, Finding, Level } from './types.ts';

const finding = (level: Level) => (check: string, what: string, ...mend: readonly string[]): Finding => ({ check, level, what, mend });

export const ok = finding('ok');
export const note = finding('note');
export const warn = finding('warn');
export const fail = finding('fail');

/** Undefined when the batch system did not answer; one check says so for all. */
export const factsOf = ({ facts }: BatchSite): LrmFacts | undefined => ('missing' in facts ? undefined : facts);
