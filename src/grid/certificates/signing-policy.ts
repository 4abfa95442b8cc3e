/**
 * Signing policies of Globus (EACL): for each authority, the names that it may sign.
 *
 *     access_id_CA  X509    '/O=Grid/CN=My CA'
 *     pos_rights    globus  CA:sign
 *     cond_subjects globus  '"/O=Grid/*" "/O=Grid Lab/*"'
 *
 * In a pattern `*` stands for any characters, `?` for one.
 */
import { normalSlash } from './name.ts';

export interface SigningPolicy {
  /** Undefined where the file does not speak of the authority. */
  of(authority: string): { allows(subject: string): boolean } | undefined;
}

const MOST_BYTES = 256 * 1024;
const MOST_PATTERN = 1024;

/** @throws Error that names the line */
export function readSigningPolicy(text: string): SigningPolicy {
  if (text.length > MOST_BYTES) throw new Error('the file is too large');
  const patterns = new Map<string, string[]>();
  let authority: string | undefined;
  let maySign = false;
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const words = wordsOf(line, i + 1);
    if (words.length === 0) continue;
    const [keyword = '', , value = ''] = words;
    if (words.length !== 3) throw new Error(`line ${i + 1}: an entry has three words`);
    if (keyword === 'access_id_CA') {
      authority = nameOf(value);
      maySign = false;
    } else if (authority === undefined) throw new Error(`line ${i + 1}: ${keyword.slice(0, 40)} stands before any access_id_CA`);
    else if (keyword === 'pos_rights') maySign = value === 'CA:sign';
    else if (keyword === 'cond_subjects' && maySign) patterns.set(authority, [...patterns.get(authority) ?? [], ...patternsOf(value, i + 1)]);
    else if (keyword !== 'cond_subjects' && keyword !== 'neg_rights') throw new Error(`line ${i + 1}: unknown keyword ${keyword.slice(0, 40)}`);
  }
  return {
    of(name) {
      const own = patterns.get(name);
      return own === undefined ? undefined : { allows: (subject) => own.some((pattern) => matches(pattern, subject)) };
    },
  };
}

/** Words of a line; quotes of either kind hold one together. */
function wordsOf(line: string, number: number): string[] {
  const words: string[] = [];
  for (let rest = line.trim(); rest !== '' && !rest.startsWith('#');) {
    const m = /^(?:'([^']*)'|"([^"]*)"|([^\s'"#]+))/.exec(rest);
    if (m === null) throw new Error(`line ${number}: a quote is not closed`);
    words.push(m[1] ?? m[2] ?? m[3] ?? '');
    rest = rest.slice(m[0].length).trimStart();
  }
  return words;
}

function patternsOf(value: string, number: number): string[] {
  const found = value.includes('"') ? [...value.matchAll(/"([^"]*)"/g)].map(([, pattern = '']) => pattern) : [value.trim()];
  const bad = found.find((pattern) => pattern.length > MOST_PATTERN || pattern === '');
  if (bad !== undefined || found.length === 0) throw new Error(`line ${number}: a pattern is empty or too long`);
  return found.map(nameOf);
}

const nameOf = (text: string): string => normalSlash(text) ?? text;

/** Without backtracking over more than the last `*`. */
function matches(pattern: string, text: string): boolean {
  let [p, t, star, from] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p;
      from = t;
      p += 1;
    } else if (pattern[p] === '?' || pattern[p] === text[t]) {
      p += 1;
      t += 1;
    } else if (star >= 0) {
      from += 1;
      p = star + 1;
      t = from;
    } else return false;
  }
  return /^\**$/.test(pattern.slice(p));
}
