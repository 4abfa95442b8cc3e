/** Copies of a file for which a VM stands still: at once where the file system shares blocks, else for a bounded time. */
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { copyFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../clock.ts';
import { AgentFault } from '../../fault.ts';
import { requireRoom } from './room.ts';

/** Longer than that no guest shall stand still. */
const STILL_MS = 10_000;
const PIECE = 1024 * 1024;

export interface Still {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** @throws AgentFault, and leaves what was written so far */
export async function copyStill(from: string, to: string, still: Still): Promise<void> {
  if (await shares(from, to)) return;
  await requireRoom(dirname(to), (await stat(from)).size, 'a copy of what was written to the disk');
  await copyBytes(from, to, STILL_MS, still);
}

const shares = (from: string, to: string): Promise<boolean> => copyFile(from, to, constants.COPYFILE_FICLONE_FORCE).then(() => true, () => false);

export async function copyBytes(from: string, to: string, ms: number, { clock, signal }: Still): Promise<void> {
  const late = new AbortController();
  const timer = clock.after(ms, () => late.abort(), true);
  try {
    await pipeline(
      createReadStream(from, { highWaterMark: PIECE }), createWriteStream(to, { mode: 0o600, highWaterMark: PIECE }),
      { signal: AbortSignal.any([signal, late.signal]) },
    );
  } catch (e) {
    throw asFault(e as NodeJS.ErrnoException, ms, late.signal.aborted);
  } finally {
    timer.cancel();
  }
}

function asFault(e: NodeJS.ErrnoException, ms: number, late: boolean): AgentFault {
  if (late) return new AgentFault('DeadlineExceeded', `what the VM has written is too much to be copied within ${ms} ms, for which it stood still: have the image made with a reboot`);
  if (e.name === 'AbortError') return new AgentFault('DriverFailed', 'the copy was broken off');
  return new AgentFault(['ENOSPC', 'EDQUOT'].includes(e.code ?? '') ? 'DiskFull' : 'DriverFailed', `the disk could not be copied: ${e.message}`, { cause: e });
}
