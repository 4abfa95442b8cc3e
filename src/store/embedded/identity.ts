/** As whom the private PostgreSQL runs. It refuses to run as root, so root gives it another user. */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { StartError } from '../../platform/errors.ts';

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** `nobody` and `nogroup`, which every distribution has. */
const NOBODY: Identity = { uid: 65534, gid: 65534 };

/** null = as ourselves. An existing cluster keeps its owner; a new one takes the data directory's, unless that is root. */
export function identityFor(cluster: string, dataDir: string): Identity | null {
  const self = process.getuid?.();
  const owner = ownerOf(cluster);
  if (self !== 0) {
    if (owner === undefined || owner.uid === self) return null;
    throw new StartError(`${cluster} belongs to user id ${owner.uid}: start the service as that user or as root`);
  }
  return [owner, ownerOf(dataDir), NOBODY].find((i) => i !== undefined && i.uid !== 0) ?? NOBODY;
}

function ownerOf(path: string): Identity | undefined {
  const s = statSync(path, { throwIfNoEntry: false });
  return s === undefined ? undefined : { uid: s.uid, gid: s.gid };
}

/** Whether `who` may enter every directory on the way to `path`, by the modes; access lists are not read. */
export function canReach(who: Identity, path: string): boolean {
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    const s = statSync(dir);
    const bit = s.uid === who.uid ? 0o100 : s.gid === who.gid ? 0o010 : 0o001;
    if ((s.mode & bit) === 0) return false;
    if (dir === dirname(dir)) return true;
  }
}
