/** Finds PostgreSQL's programs: where the configuration says, on the PATH, where Debian puts them, in the npm package. */
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { errorText, StartError } from '../../platform/errors.ts';
import type { Identity } from './identity.ts';
import { npmNative, prepareNpmPrograms, removeCopy, type NpmPrograms } from './npm-programs.ts';
import { run } from './run.ts';

export interface Programs extends NpmPrograms {
  readonly major: number;
}

/** The schema needs `xid8`, which came with 13. */
const LOWEST_MAJOR = 13;
const DEBIAN = '/usr/lib/postgresql';
const VERSION_DEADLINE_MS = 10_000;

export interface Wanted {
  /** `database.bin` of the configuration; empty = search */
  readonly bin: string;
  /** Major version of the existing cluster; undefined = any */
  readonly major: number | undefined;
  readonly identity: Identity | null;
}

/** @throws StartError that names what was tried and the way out */
export async function findPrograms(wanted: Wanted): Promise<Programs> {
  const refused: string[] = [];
  for (const candidate of candidates(wanted)) {
    const found = candidate();
    try {
      const major = await majorOf(found.bin, wanted.identity);
      if (major >= LOWEST_MAJOR && (wanted.major ?? major) === major) return { ...found, major };
      refused.push(`${found.bin} is version ${major}`);
    } catch (e) {
      refused.push(errorText(e));
    }
    if (found.copy !== null) removeCopy(found.copy);
  }
  throw new StartError(advice(wanted, refused));
}

/** In the order of preference; the npm package last, as it may have to be copied. */
function* candidates(wanted: Wanted): Generator<() => NpmPrograms> {
  const installed = wanted.bin !== '' ? [wanted.bin] : [...onPath(), ...debian()];
  for (const bin of new Set(installed)) yield () => ({ bin, copy: null });
  const native = wanted.bin === '' ? npmNative() : undefined;
  if (native !== undefined) yield () => prepareNpmPrograms(native, wanted.identity);
}

function onPath(): string[] {
  return (process.env['PATH'] ?? '').split(delimiter)
    .filter((dir) => dir.startsWith('/') && existsSync(join(dir, 'postgres')) && existsSync(join(dir, 'initdb')));
}

function debian(): string[] {
  if (!existsSync(DEBIAN)) return [];
  return readdirSync(DEBIAN)
    .filter((version) => /^\d+$/.test(version) && existsSync(join(DEBIAN, version, 'bin', 'initdb')))
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(DEBIAN, version, 'bin'));
}

async function majorOf(bin: string, identity: Identity | null): Promise<number> {
  const said = await run(join(bin, 'postgres'), ['--version'], { identity, deadlineMs: VERSION_DEADLINE_MS });
  const version = /\(PostgreSQL\) (\d+)/.exec(said)?.[1];
  if (version === undefined) throw new Error(`${bin}/postgres says "${said.trim()}"`);
  return Number(version);
}

function advice(wanted: Wanted, refused: readonly string[]): string {
  const tried = refused.length === 0 ? 'none was found' : `tried: ${refused.join('; ')}`;
  const installHint = `install it (Debian: apt-get install postgresql${wanted.major === undefined ? '' : `-${wanted.major}`}) or point database.bin at the directory of its programs`;
  if (wanted.major === undefined) {
    return `the service needs PostgreSQL ${LOWEST_MAJOR} or newer; ${tried}. Either ${installHint}, or name your own server in database.url`;
  }
  return `the database in the data directory was made by PostgreSQL ${wanted.major} and opens with that version only; ${tried}. `
    + `Either ${installHint}, or dump it with version ${wanted.major} and restore it into a server named in database.url`;
}
