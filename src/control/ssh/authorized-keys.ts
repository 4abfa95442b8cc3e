/** The one line of a node's authorized_keys that is ours (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"). */
import { OPERATE_COMMENT } from './keys.ts';
import { shellQuote } from './remote.ts';

export interface OperateLine {
  /** What the key may start, and nothing else. */
  readonly command: readonly string[];
  /** `ssh-ed25519 AAAA… comment` */
  readonly publicLine: string;
}

/** `restrict` takes everything from the key that sshd has or will have to give: forwarding, terminals, start files. */
export function operateLine({ command, publicLine }: OperateLine): string {
  const [type = '', key = ''] = publicLine.trim().split(/\s+/);
  const text = command.map(shellQuote).join(' ');
  return `restrict,command="${text.replace(/"/g, '\\"')}" ${type} ${key} ${OPERATE_COMMENT}`;
}

/**
 * The file with our line in it once. An older line of ours goes: one with the same key (whatever it allowed), and one of
 * an earlier operating key for the same state directory. All other lines stay as they are.
 */
export function withOperateLine(text: string, line: OperateLine, stateDir: string): string {
  const key = line.publicLine.trim().split(/\s+/)[1] ?? '';
  const state = `--state ${shellQuote(stateDir)}`.replace(/"/g, '\\"');
  const ours = (l: string): boolean =>
    !l.trimStart().startsWith('#') && (l.split(/\s+/).includes(key) || (l.trimEnd().endsWith(` ${OPERATE_COMMENT}`) && l.includes(state)));
  const others = text.split('\n').filter((l) => !ours(l));
  while (others.at(-1) === '') others.pop();
  return [...others, operateLine(line), ''].join('\n');
}

const keyOf = (publicLine: string): string => publicLine.trim().split(/\s+/)[1] ?? '';
const isLineOf = (key: string) => (l: string): boolean => !l.trimStart().startsWith('#') && l.split(/\s+/).includes(key);

/** Beside each line of `before` the same for `next`; undefined where no line has `before`. */
export function withNextKey(text: string, before: string, next: string): string | undefined {
  const lines = text.split('\n');
  if (!lines.some(isLineOf(keyOf(before)))) return undefined;
  if (lines.some(isLineOf(keyOf(next)))) return text;
  return lines.flatMap((l) => (isLineOf(keyOf(before))(l) ? [l, l.replace(keyOf(before), keyOf(next))] : [l])).join('\n');
}

/** Without the lines of a key. */
export const withoutKey = (text: string, publicLine: string): string => text.split('\n').filter((l) => !isLineOf(keyOf(publicLine))(l)).join('\n');
