/** Text from outside: what it may hold before it is kept and shown. */

/** XML 1.0 has no way to write these, and PostgreSQL has none for NUL. */
const UNWRITABLE = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/u;
const EVERY_UNWRITABLE = new RegExp(UNWRITABLE.source, 'gu');
/** A sentence that explains; an agent that sends its whole log must not fill the table with it. */
const LONGEST_REASON = 2_000;

export const isWritable = (text: string): boolean => !UNWRITABLE.test(text);

/** A reason as it can be written down, whatever a driver or a user put into it. */
export function writable(reason: string): string {
  return reason.slice(0, LONGEST_REASON).replace(EVERY_UNWRITABLE, '\ufffd');
}
