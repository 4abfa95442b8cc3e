/** The grid-mapfile: certificate names and the users that they are, a line each: `"/O=Grid/CN=Alice" alice`. Read again when it changes. */
import { readFile, stat } from 'node:fs/promises';
import { isName } from '../../lease/ids.ts';
import type { Context } from '../../platform/context.ts';
import { normalSlash } from '../certificates/name.ts';
import { createReloader } from '../reload.ts';

export interface Mapfile {
  /** Name of the user, or undefined. */
  userOf(dn: string): string | undefined;
  readonly entries: number;
  readonly problems: readonly string[];
  refresh(): Promise<void>;
  stop(): void;
}

const MOST_BYTES = 16 * 1024 * 1024;
const MOST_PROBLEMS = 20;
const LOOK_EVERY_MS = 5_000;

/** @throws when the file cannot be read */
export async function openMapfile(ctx: Context, file: string, everyMs = LOOK_EVERY_MS): Promise<Mapfile> {
  let mark = await markOf(file);
  let map = parseMapfile(await readFile(file, 'utf8'));
  const reloader = createReloader(ctx, everyMs, `the grid-mapfile ${file}`, async () => {
    const now = await markOf(file);
    if (now === mark) return;
    map = parseMapfile(await readFile(file, 'utf8'));
    mark = now;
    ctx.log.info('the grid-mapfile has changed', { file, entries: map.users.size, problems: map.problems.length });
  });
  return {
    userOf: (dn) => map.users.get(dn),
    get entries() { return map.users.size; },
    get problems() { return map.problems; },
    refresh: () => reloader.look(),
    stop: () => reloader.stop(),
  };
}

async function markOf(file: string): Promise<string> {
  const { ino, mtimeMs, size } = await stat(file);
  if (size > MOST_BYTES) throw new Error(`it is larger than ${MOST_BYTES} bytes`);
  return `${ino} ${mtimeMs} ${size}`;
}

/** Lines that are none are skipped and said, so that one of them locks nobody else out. A name's first line counts. */
export function parseMapfile(text: string): { users: ReadonlyMap<string, string>; problems: readonly string[] } {
  const users = new Map<string, string>();
  const problems: string[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    const [, quoted, plain = '', accounts = ''] = /^\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))\s+(\S+)\s*$/.exec(line) ?? [];
    const dn = normalSlash(quoted?.replace(/\\(["\\])/g, '$1') ?? plain);
    // Globus lets a name have several accounts; the first is the one it gets.
    const [user = ''] = accounts.split(',');
    if (dn !== undefined && isName(user)) {
      if (!users.has(dn)) users.set(dn, user);
    } else if (problems.length < MOST_PROBLEMS) problems.push(`line ${i + 1}: must be "/O=…/CN=…" and a user's name`);
  }
  return { users, problems };
}
