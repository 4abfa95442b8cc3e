/** What the driver remembers of a started VM, so that a restarted agent finds it: `vm.json` in the VM's directory. */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Reach } from '../../../../lease/types.ts';
import { FILES } from './launch.ts';
import type { Accelerator } from './launch.ts';

export interface VmRecord {
  /** null between the start of QEMU and its first answer. */
  readonly pid: number | null;
  readonly reach: Reach | null;
  /** Port of the node that leads to the guest. */
  readonly port: number | null;
  /** The VM holds taps. */
  readonly taps: boolean;
  /** Absent in the records of older agents. */
  readonly accelerator?: Accelerator;
}

export async function writeRecord(dir: string, record: VmRecord): Promise<void> {
  const file = join(dir, FILES.record);
  await writeFile(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** null when there is none; the directory is the agent's own, so what is in the file is what the driver wrote. */
export async function readRecord(dir: string): Promise<VmRecord | null> {
  try {
    return JSON.parse(await readFile(join(dir, FILES.record), 'utf8')) as VmRecord;
  } catch {
    return null;
  }
}

export const removeRecord = (dir: string): Promise<void> => rm(join(dir, FILES.record), { force: true });
