/** Pieces of SQL that the rules share. */

/** Words of the program's own tables as SQL literals. */
export const list = (words: readonly string[]): string => words.map((w) => `'${w}'`).join(', ');

/** The milliseconds between two columns, as a whole number. */
export const millis = (from: string, to: string): string => `round(extract(epoch FROM ${to} - ${from}) * 1000)`;
