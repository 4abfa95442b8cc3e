/** Words that a batch system says, before they are kept or shown; and the few shapes that its words must have. */
import { SLOT_ID } from '../protocol.ts';

/** Long enough for any sentence of a batch system, short enough for a table. */
const LONGEST_WORDS = 300;
const LONGEST_JOB_ID = 128;
const HOST = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?$/;

export const isSlotId = (word: string): boolean => SLOT_ID.test(word);
export const isHost = (word: string): boolean => HOST.test(word);

/** `123`, `123.server.example.org`; array jobs and steps are never ours. */
export const isJobId = (word: string): boolean => word.length <= LONGEST_JOB_ID && /^\d{1,18}(?:\.[A-Za-z0-9][A-Za-z0-9._-]*)?$/.test(word);

/** One line without control characters and invisible ones, with an end; null when nothing is left. */
export function printable(words: string): string | null {
  const line = words.slice(0, 4 * LONGEST_WORDS).replace(/[\p{C}\p{Z}\s]+/gu, ' ').trim();
  if (line === '') return null;
  return line.length > LONGEST_WORDS ? `${line.slice(0, LONGEST_WORDS - 1)}…` : line;
}
