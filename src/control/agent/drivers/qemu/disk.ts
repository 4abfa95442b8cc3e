/** The VM's own disk: a qcow2 overlay in its directory over the cached base image, which is never written. */
import { constants } from 'node:fs';
import { access, chmod, link, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AgentFault } from '../../fault.ts';
import { FILES } from './launch.ts';
import { readQcow2, writeOverlay } from './qcow2.ts';

const MIB = 1024 * 1024;
const SECTOR = 512;

export interface OverlayOptions {
  readonly dir: string;
  readonly base: string;
  readonly baseFormat: 'raw' | 'qcow2';
  /** 0 = as large as the base */
  readonly diskMb: number;
  /** The VM will run under another uid than the agent's. */
  readonly foreignUid: boolean;
}

/** Repeatable: a disk that is there is kept. */
export async function prepareOverlay(o: OverlayOptions): Promise<void> {
  const disk = join(o.dir, FILES.disk);
  if (await exists(disk)) return;
  const size = Math.max(await baseSize(o.base, o.baseFormat), o.diskMb * MIB);
  await placeBase(o);
  await rm(`${disk}.new`, { force: true });
  await writeOverlay(`${disk}.new`, size, FILES.base, o.baseFormat);
  await rename(`${disk}.new`, disk);
}

/**
 * The base is seen by QEMU under a name in the VM's own directory. A hard link needs no way into the cache, and the cache
 * may drop its own name while the VM runs; where the cache lies on another file system a symbolic link serves, which a
 * foreign uid can follow only through directories that are open to it.
 */
async function placeBase({ dir, base, foreignUid }: OverlayOptions): Promise<void> {
  const name = join(dir, FILES.base);
  await rm(name, { force: true });
  // The cache's directory keeps others out; the file itself must be readable by the uid of each VM that is given it.
  if (foreignUid && process.getuid?.() === (await stat(base)).uid) await chmod(base, 0o444);
  try {
    await link(base, name);
  } catch (e) {
    if (!['EXDEV', 'EPERM', 'EMLINK', 'EACCES'].includes((e as NodeJS.ErrnoException).code ?? '')) throw e;
    await symlink(base, name);
  }
}

/** Bytes of the disk that a base image describes. Refuses images that would have QEMU open further files of the node. */
async function baseSize(image: string, format: 'raw' | 'qcow2'): Promise<number> {
  if (format === 'raw') return Math.ceil((await stat(image)).size / SECTOR) * SECTOR;
  const facts = await readQcow2(image);
  if (facts.obstacle !== null) throw new AgentFault('BadRequest', `the image ${facts.obstacle}`);
  return facts.virtualSize;
}

/** Others' uids may enter a VM's directory only from inside, as their working directory: its parent is closed to them. */
export async function closeParent(dir: string): Promise<void> {
  const parent = dirname(dir);
  const { mode, uid } = await stat(parent);
  if ((mode & 0o077) !== 0 && process.getuid?.() === uid) await chmod(parent, 0o700);
}

export async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(() => true, () => false);
}
