/**
 * The one text that a shell reads: a batch job's script. Every word in it is quoted here, and the credentials stand in
 * here-documents whose delimiter is quoted, so that the shell replaces nothing in them (POSIX.1-2017, XCU 2.7.4).
 */
const DELIMITER = 'NIMBUS_CREDENTIALS';
const PLAIN = /^[A-Za-z0-9_/.,:=@%+-]+$/;

/** One word for sh. @throws Error on control characters: no value that belongs here has any */
export function quote(word: string): string {
  if (/[\x00-\x1f\x7f]/.test(word)) throw new Error('a control character in a word of a job script');
  return PLAIN.test(word) ? word : `'${word.replaceAll('\'', '\'\\\'\'')}'`;
}

export const command = (argv: readonly string[]): string => argv.map(quote).join(' ');

/**
 * The words of `argv` as a command that reads `text` (one line) as its standard input; `background`: it is not waited for.
 * ASCII only: where a line of a here-document begins as its delimiter does, dash 0.5.12 (Debian's sh) loses an octet of what follows.
 * @throws Error when `text` is no single line of ASCII
 */
export function withInput(argv: readonly string[], text: string, background = false): string {
  if (/[^\x20-\x7e]/.test(text) || text === DELIMITER) throw new Error('what a pilot reads is one line of ASCII without control characters');
  return [`${command(argv)} <<'${DELIMITER}'${background ? ' &' : ''}`, text, DELIMITER].join('\n');
}

export const script = (lines: readonly string[]): string => `${['#!/bin/sh', ...lines].join('\n')}\n`;
