/** The data directory: everything that the service keeps on disk, its owner's alone. */
import { chmodSync, existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { reasonText, StartError } from './errors.ts';
import { makeDirectory } from './make-directory.ts';

export interface DataDir {
  readonly root: string;
  /** Sockets and what lives only as long as the service. */
  readonly run: string;
  /** Keys and passwords. */
  readonly keys: string;
  readonly images: string;
  /** State directories of agents on this machine. */
  readonly nodes: string;
  readonly log: string;
}

/** Where things are, whether or not they exist. The private PostgreSQL's cluster is `pg`, see `src/store/embedded/`. */
export function dataDirAt(path: string): DataDir {
  const root = resolve(path);
  return {
    root,
    run: join(root, 'run'),
    keys: join(root, 'keys'),
    images: join(root, 'images'),
    nodes: join(root, 'nodes'),
    log: join(root, 'log'),
  };
}

/** The test authority (`nimbus ca init`), whose certificates the first start may need. */
const MADE_BEFORE = 'ca';

/**
 * Makes what is missing, 0700. A directory that holds other things is refused, so that a mistyped `--data` neither
 * scatters files over someone's home nor changes its mode.
 * @throws StartError
 */
export function openDataDir(path: string): DataDir {
  const dir = dataDirAt(path);
  try {
    makeDirectory(dir.root, 0o700);
    if (!existsSync(dir.keys) && readdirSync(dir.root).some((entry) => entry !== MADE_BEFORE)) {
      throw new StartError(`${dir.root} is not empty and no data directory of nimbus; name another one with --data`);
    }
    for (const sub of [dir.root, dir.run, dir.keys, dir.images, dir.nodes, dir.log]) {
      makeDirectory(sub, 0o700);
      if ((statSync(sub).mode & 0o777) !== 0o700) chmodSync(sub, 0o700);
    }
  } catch (e) {
    if (e instanceof StartError) throw e;
    throw new StartError(`the data directory ${dir.root} cannot be used: ${reasonText(e)}`, { cause: e });
  }
  return dir;
}
