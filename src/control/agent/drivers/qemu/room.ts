/** Room on the disk, asked for before much is written: other VMs' disks grow on the same file system, and must not stop for this one. */
import { statfs } from 'node:fs/promises';
import { AgentFault } from '../../fault.ts';

const MIB = 1024 * 1024;

/** `what`: of this VM, in a sentence. @throws AgentFault DiskFull */
export async function requireRoom(dir: string, bytes: number, what: string): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  const [free, needed] = [Math.floor((bavail * bsize) / MIB), Math.ceil(bytes / MIB)];
  if (free < needed) throw new AgentFault('DiskFull', `${free} MiB of disk are free; ${what} of this VM may take ${needed} MiB`);
}
