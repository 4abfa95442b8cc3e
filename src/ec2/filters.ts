/** `Filter.N.Name` / `Filter.N.Value.M`: values of one filter are alternatives, filters must all hold; `*` and `?` match. */
import { Fault } from '../lease/faults.ts';
import { list, required, shown, string, struct } from './inputs.ts';
import type { InputOf } from './inputs.ts';

/** EC2 allows 200 values in one request (EC2 API reference, "Filter"). */
const MAX_VALUES = 200;

export const filters = list(struct({ Name: required(string()), Value: required(list(string({ empty: true }))) }), MAX_VALUES);
export type Filters = InputOf<typeof filters>;

type FilterValue = string | number | boolean | undefined;
/** Filter name → what it looks at. A field may have several values; undefined never matches. */
export type FilterTable<T> = Readonly<Record<string, (item: T) => FilterValue | readonly FilterValue[]>>;

/** Filters of EC2 for what nothing here has: known, and matching nothing. */
export const absentFilters = (...names: readonly string[]): FilterTable<unknown> => Object.fromEntries(names.map((name) => [name, () => undefined]));

/** `item => kept`; a table that is made for each request is made only for those that filter. An unknown filter is refused, never ignored: ignoring it would answer what was not asked for. */
export function filterBy<T>(wanted: Filters, table: FilterTable<T> | (() => FilterTable<T>), tagsOf?: (item: T) => Readonly<Record<string, string>>): (item: T) => boolean {
  if (wanted.length === 0) return () => true;
  if (wanted.reduce((n, f) => n + f.Value.length, 0) > MAX_VALUES) {
    throw new Fault('TooMany', `The filters have more than ${MAX_VALUES} values.`, [], { ec2: 'FilterLimitExceeded' });
  }
  const known = typeof table === 'function' ? table() : table;
  const tests = wanted.map((f) => {
    const read = reader(f.Name, known, tagsOf);
    return (item: T): boolean => {
      const found = read(item);
      const values = Array.isArray(found) ? found as readonly FilterValue[] : [found as FilterValue];
      return values.some((v) => v !== undefined && f.Value.some((pattern) => matches(pattern, String(v))));
    };
  });
  return (item) => tests.every((test) => test(item));
}

function reader<T>(name: string, table: FilterTable<T>, tagsOf: ((item: T) => Readonly<Record<string, string>>) | undefined): (item: T) => FilterValue | readonly FilterValue[] {
  if (Object.hasOwn(table, name)) return table[name] as (item: T) => FilterValue;
  if (tagsOf !== undefined) {
    if (name === 'tag-key') return (item) => Object.keys(tagsOf(item));
    if (name === 'tag-value') return (item) => Object.values(tagsOf(item));
    if (name.startsWith('tag:')) {
      const key = name.slice(4);
      return (item) => (Object.hasOwn(tagsOf(item), key) ? tagsOf(item)[key] : undefined);
    }
  }
  throw new Fault('ParameterInvalid', `The filter '${shown(name)}' is invalid`);
}

/** `*` any run, `?` any one character, `\` takes the next literally. Steps are bounded by the product of both lengths. */
export function matches(pattern: string, text: string): boolean {
  if (!/[*?\\]/.test(pattern)) return pattern === text;
  const tokens = tokenize(pattern);
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    const token = tokens[p];
    if (token === ANY_RUN) {
      star = p++;
      resume = t;
    } else if (token !== undefined && (token === ANY_ONE || token === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (tokens[p] === ANY_RUN) p++;
  return p === tokens.length;
}

const ANY_RUN = 0;
const ANY_ONE = 1;

function tokenize(pattern: string): Array<string | 0 | 1> {
  const tokens: Array<string | 0 | 1> = [];
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i] as string;
    tokens.push(c === '*' ? ANY_RUN : c === '?' ? ANY_ONE : c === '\\' && i + 1 < pattern.length ? pattern[++i] as string : c);
  }
  return tokens;
}
