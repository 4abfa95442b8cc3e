/**
 * The serial console: QEMU appends it to a file, so that it is complete whether or not an agent lives. Two bounds keep a
 * talkative guest from filling the node's disk:
 *
 * - while an agent lives it keeps the last part and empties the file whenever that exceeds MAX_FILE (QEMU writes with
 *   O_APPEND and goes on at the new end);
 * - while none lives the process's file size limit (RLIMIT_FSIZE) holds. It leaves room for the VM's whole disk, so a guest
 *   can fill at most as much again as it was given; SIGXFSZ is ignored and the surplus is dropped.
 */
import { constants } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { FILES } from './launch.ts';

export const MAX_FILE = 2 * 1024 * 1024;
/** Bytes kept when the file is emptied: more than any console request may ask for. */
const KEPT = 512 * 1024;
const METADATA_BYTES = 64 * 1024 * 1024;

/** qcow2's tables take less than a 64th of what they describe. */
export const fileLimit = (diskBytes: number): number => Math.ceil(diskBytes * (65 / 64)) + METADATA_BYTES;

export async function readConsole(dir: string, maxBytes: number): Promise<{ bytes: Buffer; truncated: boolean }> {
  const newer = await readTail(join(dir, FILES.console), maxBytes);
  const older = await readTail(join(dir, FILES.olderConsole), maxBytes - newer.bytes.length);
  return { bytes: Buffer.concat([older.bytes, newer.bytes]), truncated: newer.truncated || older.truncated };
}

/** Keeps the end of an overlong console in a second file and empties the first. True when it did. */
export async function trimConsole(dir: string): Promise<boolean> {
  const file = await openFile(join(dir, FILES.console), constants.O_RDWR);
  if (file === null) return false;
  try {
    if ((await file.stat()).size <= MAX_FILE) return false;
    const { bytes } = await tailOf(file, KEPT);
    const older = join(dir, FILES.olderConsole);
    const copy = await open(`${older}.new`, 'w', 0o600);
    try {
      await copy.writeFile(bytes);
    } finally {
      await copy.close();
    }
    await rename(`${older}.new`, older);
    await file.truncate(0);
    return true;
  } finally {
    await file.close();
  }
}

async function readTail(path: string, maxBytes: number): Promise<{ bytes: Buffer; truncated: boolean }> {
  const file = await openFile(path, constants.O_RDONLY);
  if (file === null) return { bytes: Buffer.alloc(0), truncated: false };
  try {
    return await tailOf(file, maxBytes);
  } finally {
    await file.close();
  }
}

async function tailOf(file: FileHandle, maxBytes: number): Promise<{ bytes: Buffer; truncated: boolean }> {
  const { size } = await file.stat();
  const length = Math.max(0, Math.min(size, maxBytes));
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await file.read(bytes, 0, length, size - length);
  return { bytes: bytes.subarray(0, bytesRead), truncated: length < size };
}

async function openFile(path: string, flags: number): Promise<FileHandle | null> {
  try {
    return await open(path, flags | constants.O_NOFOLLOW);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw e;
  }
}
