/** What a qcow2 file's header says (QEMU, docs/interop/qcow2.txt). */
import { open } from 'node:fs/promises';
import { AgentFault } from '../../fault.ts';

const MAGIC = 0x514649fb;
/** Version 2 ends here; version 3 goes on with feature bits. */
const HEADER_V2 = 72;
const HEADER_V3 = 104;
const EXTERNAL_DATA_FILE = 1n << 2n;

export interface Qcow2Facts {
  readonly virtualSize: number;
  /** Why it cannot serve as a base image; null when it can. */
  readonly obstacle: string | null;
}

export async function readQcow2(path: string): Promise<Qcow2Facts> {
  const file = await open(path, 'r');
  try {
    const header = Buffer.alloc(HEADER_V3);
    const { bytesRead } = await file.read(header, 0, HEADER_V3, 0);
    if (bytesRead < HEADER_V2 || header.readUInt32BE(0) !== MAGIC) throw new AgentFault('ImageCorrupt', 'the image is no qcow2 file');
    return { virtualSize: Number(header.readBigUInt64BE(24)), obstacle: obstacleIn(header) };
  } finally {
    await file.close();
  }
}

function obstacleIn(header: Buffer): string | null {
  const features = header.readUInt32BE(4) >= 3 ? header.readBigUInt64BE(72) : 0n;
  if (header.readBigUInt64BE(8) !== 0n) return 'has a backing file; flatten it with "qemu-img convert"';
  if ((features & EXTERNAL_DATA_FILE) !== 0n) return 'keeps its data in another file; flatten it with "qemu-img convert"';
  if (header.readUInt32BE(32) !== 0) return 'is encrypted';
  return null;
}
