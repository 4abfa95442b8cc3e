/** The cluster's directory on disk: made once, whole or not at all, and opened by its own major version only. */
import { chownSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Context } from '../../platform/context.ts';
import { replaceFile, syncDirectory } from '../../platform/durable.ts';
import { errorText, StartError } from '../../platform/errors.ts';
import { makeDirectory } from '../../platform/make-directory.ts';
import type { Identity } from './identity.ts';
import { openDirs } from './open-dirs.ts';
import type { Programs } from './programs.ts';
import { run } from './run.ts';

export const ROLE = 'nimbus';
export const DATABASE = 'nimbus';
const INITDB_DEADLINE_MS = 120_000;

export interface ClusterPlace {
  /** `pg` in the data directory; its user's alone. */
  readonly cluster: string;
  /** Directory of the socket; the cluster's user writes it. */
  readonly socketDir: string;
  readonly passwordFile: string;
  readonly logFile: string;
}

/** Recorded by initdb in PG_VERSION; undefined when there is no cluster yet. */
export function clusterMajor(cluster: string): number | undefined {
  const file = join(cluster, 'PG_VERSION');
  if (!existsSync(file)) return undefined;
  const text = readFileSync(file, 'utf8').trim();
  if (!/^\d+$/.test(text)) throw new StartError(`${file} says "${text}", which is no version of PostgreSQL that this program can open`);
  return Number(text);
}

export function readPassword(ctx: Context, place: ClusterPlace): string {
  if (!existsSync(place.passwordFile)) {
    if (existsSync(place.cluster)) throw new StartError(`${place.passwordFile}, the password of the database in ${place.cluster}, is missing; restore it from a backup`);
    replaceFile(place.passwordFile, ctx.random.bytes(24).toString('base64url'), 0o600);
  }
  return readFileSync(place.passwordFile, 'utf8').trim();
}

export function makePrivateDir(path: string, owner: Identity | null): void {
  makeDirectory(path, 0o700);
  if (owner !== null) chownSync(path, owner.uid, owner.gid);
}

/** Makes the cluster beside its place and renames it, so that an interrupted initdb leaves nothing that looks finished. */
export async function createCluster(place: ClusterPlace, programs: Programs, identity: Identity | null, password: string): Promise<void> {
  const draft = `${place.cluster}.new`;
  rmSync(draft, { recursive: true, force: true });
  makePrivateDir(draft, identity);
  const passwordFile = join(place.socketDir, 'password');
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (identity !== null) chownSync(passwordFile, identity.uid, identity.gid);
  const dirs = openDirs([draft, place.socketDir]);
  try {
    await run(join(programs.bin, 'initdb'), [
      '-D', dirs.inChild(0), '--username', ROLE, '--pwfile', `${dirs.inChild(1)}/password`, '--auth', 'scram-sha-256',
      '--encoding', 'UTF8', '--locale', 'C', '--data-checksums',
    ], { identity, deadlineMs: INITDB_DEADLINE_MS, descriptors: dirs.descriptors });
  } catch (e) {
    rmSync(draft, { recursive: true, force: true });
    throw new StartError(`the database could not be made in ${place.cluster}: ${errorText(e)}`, { cause: e });
  } finally {
    dirs.close();
    rmSync(passwordFile, { force: true });
  }
  renameSync(draft, place.cluster);
  syncDirectory(dirname(place.cluster));
}
