/**
 * Opens what a caller names and makes sure it is what it should be. The caller owns the directories on the way and may
 * exchange them at any moment, so every object is opened once, without following links, checked on the open descriptor,
 * and then reached through /proc/self/fd only.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, normalize } from 'node:path';
import type { VmPlace } from '../driver.ts';
import { FILES } from '../drivers/qemu/launch.ts';
import { AgentFault } from '../fault.ts';

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

const ERRORS_READ = 4096;

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** The VM's directory, open; closed by the caller of `openVmDirectory`. */
export interface VmDirectory {
  readonly handle: FileHandle;
  /** A path to it that no renaming can divert, valid for this process and, until it executes something, its children. */
  readonly path: string;
}

/** @throws AgentFault NotPermitted */
export async function openVmDirectory(place: VmPlace, stateDirs: readonly string[], owner: Owner, closedParent: boolean): Promise<VmDirectory> {
  const { dir, lease } = place;
  const inside = stateDirs.some((state) => dir.startsWith(`${state.replace(/\/+$/, '')}/`));
  if (!inside || normalize(dir) !== dir || basename(dir) !== lease) refuse(`${dir} is no VM directory of ${lease} below ${stateDirs.join(', ')}`);
  const parent = await openChecked(dirname(dir), DIRECTORY, owner);
  try {
    const { mode } = await parent.stat();
    if (closedParent && (mode & 0o077) !== 0) refuse(`${dirname(dir)} must be closed to other users (mode 0700)`);
    const handle = await openChecked(`/proc/self/fd/${parent.fd}/${lease}`, DIRECTORY, owner);
    return { handle, path: `/proc/${process.pid}/fd/${handle.fd}` };
  } finally {
    await parent.close();
  }
}

async function openChecked(path: string, flags: number, owner: Owner): Promise<FileHandle> {
  const handle = await open(path, flags).catch((e: unknown) => refuse(`${path} cannot be opened: ${(e as NodeJS.ErrnoException).code ?? String(e)}`));
  const { uid } = await handle.stat();
  if (uid === owner.uid) return handle;
  await handle.close();
  return refuse(`${path} belongs to uid ${uid}, not to ${owner.uid}`);
}

/**
 * Gives a VM's uid what it writes: its disk, its console and its `run` directory. The agent's group keeps access to the
 * latter two. Everything else in the directory stays the agent's.
 */
export async function giveToVm(dir: VmDirectory, vmUid: number, agent: Owner): Promise<void> {
  const disk = await openRegular(`${dir.path}/${FILES.disk}`, constants.O_RDONLY, [agent.uid, vmUid]);
  try {
    await disk.chown(vmUid, agent.gid);
    await disk.chmod(0o600);
  } finally {
    await disk.close();
  }
  for (const name of [FILES.console, FILES.errors]) {
    const file = await openRegular(`${dir.path}/${name}`, constants.O_WRONLY, [agent.uid, vmUid]);
    try {
      await file.chown(vmUid, agent.gid);
      await file.chmod(0o660);
    } finally {
      await file.close();
    }
  }
  const run = await open(`${dir.path}/${FILES.run}`, DIRECTORY);
  try {
    const { uid } = await run.stat();
    if (uid !== agent.uid && uid !== vmUid) refuse(`${FILES.run} belongs to uid ${uid}`);
    await run.chown(vmUid, agent.gid);
    // Set-group-id: the QMP socket gets the agent's group.
    await run.chmod(0o2770);
  } finally {
    await run.close();
  }
  await dir.handle.chmod(0o711);
}

/** The file that takes what QEMU says on its standard error, emptied. */
export async function openErrors(dir: VmDirectory, owners: readonly number[]): Promise<FileHandle> {
  const file = await openRegular(`${dir.path}/${FILES.errors}`, constants.O_RDWR | constants.O_APPEND, owners);
  await file.truncate(0);
  return file;
}

/** From the open file: its name may lead elsewhere by now. */
export async function readErrors(file: FileHandle): Promise<string> {
  const { size } = await file.stat();
  const bytes = Buffer.alloc(Math.min(size, ERRORS_READ));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, size - bytes.length);
  return bytes.toString('utf8', 0, bytesRead);
}

async function openRegular(path: string, flags: number, owners: readonly number[]): Promise<FileHandle> {
  // Without O_NONBLOCK a FIFO put in the file's place would stop the opener.
  const handle = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    .catch((e: unknown) => refuse(`${basename(path)} cannot be opened: ${(e as NodeJS.ErrnoException).code ?? String(e)}`));
  const stat = await handle.stat();
  if (stat.isFile() && stat.nlink === 1 && owners.includes(stat.uid)) return handle;
  await handle.close();
  return refuse(`${basename(path)} is not a plain file of the agent's own`);
}

function refuse(message: string): never {
  throw new AgentFault('NotPermitted', message);
}
