/** What the matrix found as tables of docs/clients.md, between two marks. */
import { REFUSED, STEPS, type Found, type MatrixClient } from './clients.ts';

const BEGIN = '<!-- begin: written by npm run docs:clients -->';
const END = '<!-- end -->';
const UNTRIED = '·';

export interface Row {
  readonly client: MatrixClient;
  readonly found: Found;
}

/** Lines of the page by what they are of: a row of a table, or a note on a client. */
type Lines = Map<string, string>;

const VERSION = /^(\| [^|]* \| )[^|]*(?= \|)/;
const keyOf = ({ name, signature }: MatrixClient): string => `${name} ${signature}`;
const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const head = (cells: readonly string[]): string[] => [line(cells), `|${'---|'.repeat(cells.length)}`];
const SESSION_HEAD = head(['client', 'version', 'signature', ...STEPS, 'ssh']);
const REFUSAL_HEAD = head(['client', 'version', 'signature', ...REFUSED]);

function linesOf({ client, found }: Row): Lines {
  const who = [client.name, found.version, client.signature];
  const session = STEPS.map((name) => {
    const step = found.steps.find((s) => s.step === name);
    return step?.missing === undefined ? step?.how ?? 'yes' : '–';
  });
  const refused = REFUSED.map((name) => {
    const refusal = found.refusals.find((r) => r.refusal === name);
    return refusal?.missing === undefined ? `${refusal?.code}${refusal?.status == null ? '' : ` ${refusal.status}`}` : '–';
  });
  const missing = [...found.steps.map((s) => ({ what: s.step, why: s.missing })), ...found.refusals.map((r) => ({ what: r.refusal, why: r.missing }))];
  const reasons = [...new Set(missing.flatMap(({ why }) => why ?? []))];
  const notes = reasons.map((why) => `${missing.filter((m) => m.why === why).map((m) => m.what).join(', ')}: ${why}`);
  const ssh = found.reached === true ? 'yes' : UNTRIED;
  const key = keyOf(client);
  return new Map([
    [`session ${key}`, line([...who, ...session, ssh])],
    [`refusals ${key}`, line([...who, ...refused])],
    ...(notes.length === 0 ? [] : [[`missing ${key}`, `* ${client.name}, ${client.signature}: ${notes.join('; ')}.`] as const]),
  ]);
}

/** In the order of `clients`. What stands on the page of one that is not here stays. */
export function section(rows: readonly Row[], page: string, clients: readonly MatrixClient[]): string {
  const stands = standing(page);
  const of = (kind: string): string[] => clients.flatMap((client) => {
    const row = rows.find((r) => r.client === client);
    return (row === undefined ? stands : linesOf(row)).get(`${kind} ${keyOf(client)}`) ?? [];
  });
  const missing = of('missing');
  return [...SESSION_HEAD, ...of('session'), '', ...REFUSAL_HEAD, ...of('refusals'), ...(missing.length === 0 ? [] : ['', ...missing])].join('\n');
}

/** What stands on the page, by the same keys. */
function standing(page: string): Lines {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  const lines: Lines = new Map();
  let table = 'session';
  for (const text of from < 0 ? [] : page.slice(from + BEGIN.length, to).trim().split('\n')) {
    if (text === '') table = 'refusals';
    const [, client = '', , signature = ''] = text.split('|').map((cell) => cell.trim());
    const note = /^\* ([^:]*), ([^,:]*): /.exec(text);
    if (note !== null) lines.set(`missing ${note[1]} ${note[2]}`, text);
    else if (client !== '' && client !== 'client' && !client.startsWith('---')) lines.set(`${table} ${client} ${signature}`, text);
  }
  return lines;
}

export function withSection(page: string, text: string): string {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`the page has no ${BEGIN} … ${END}`);
  return `${page.slice(0, from)}${BEGIN}\n${text}\n${page.slice(to)}`;
}

/**
 * What the page says otherwise than these rows. Versions are the machine's: they count where all parts are there; ssh counts
 * where it was tried.
 */
export function differences(page: string, rows: readonly Row[], versions: boolean): string[] {
  const stands = standing(page);
  return rows.flatMap((row) => [...linesOf(row)].flatMap(([key, text]) => {
    const plain = (l: string): string => {
      const unversioned = versions ? l : l.replace(VERSION, '$1');
      return key.startsWith('session') && row.found.reached === undefined ? unversioned.replace(/\| [^|]* \|$/, '|') : unversioned;
    };
    const there = stands.get(key);
    return there !== undefined && plain(there) === plain(text) ? [] : [`found: ${text}\n page: ${there ?? 'nothing'}`];
  }));
}
