/**
 * What the bytes of an image are, by their first bytes (QEMU documentation, "QCOW2 image format"; RFC 1952 for gzip).
 * A qcow2 that names another file would have the VMM read files of the host for its user, so it is refused.
 */

/** Enough for every header that is looked at. */
export const HEAD_BYTES = 128;

const QCOW2 = Buffer.from('QFI\xfb', 'latin1');
const GZIP = Buffer.of(0x1f, 0x8b);
const HAS_INCOMPATIBLE_FEATURES = 3;
const CORRUPT = 1n << 1n;
const EXTERNAL_DATA = 1n << 2n;
/** Dirty, corrupt, external data, compression type, extended L2 entries. */
const KNOWN_FEATURES = 0b11111n;

/** Formats that would be taken for raw and then not boot. */
const OTHERS: ReadonlyArray<{ readonly magic: Buffer; readonly name: string; readonly packed?: boolean }> = [
  { magic: Buffer.from('KDMV'), name: 'VMDK' },
  { magic: Buffer.from('# Disk DescriptorFile'), name: 'VMDK' },
  { magic: Buffer.from('vhdxfile'), name: 'VHDX' },
  { magic: Buffer.from('conectix'), name: 'VHD' },
  { magic: Buffer.from('<<< '), name: 'VDI' },
  { magic: Buffer.from('QED\0'), name: 'QED' },
  { magic: Buffer.from('\xfd7zXZ\0', 'latin1'), name: 'xz', packed: true },
  { magic: Buffer.from('BZh'), name: 'bzip2', packed: true },
  { magic: Buffer.of(0x28, 0xb5, 0x2f, 0xfd), name: 'zstd', packed: true },
  { magic: GZIP, name: 'gzip', packed: true },
];

export type Verdict = { readonly format: 'raw' | 'qcow2' } | { readonly refused: string };

const startsWith = (head: Buffer, magic: Buffer): boolean => head.subarray(0, magic.length).equals(magic);

export const isGzip = (head: Buffer): boolean => startsWith(head, GZIP);

/** `head`: the first HEAD_BYTES of the image, fewer when it is shorter. */
export function inspect(head: Buffer): Verdict {
  if (head.length === 0) return { refused: 'it is empty' };
  if (startsWith(head, QCOW2)) return inspectQcow2(head);
  const other = OTHERS.find((o) => startsWith(head, o.magic));
  if (other === undefined) return { format: 'raw' };
  return {
    refused: other.packed === true
      ? `it is packed with ${other.name}: unpack it first (one layer of gzip is undone here)`
      : `it is a ${other.name} image: convert it with qemu-img convert -O qcow2`,
  };
}

/** Bytes of the disk that a qcow2 image describes. @param head its first HEAD_BYTES */
export const qcow2DiskBytes = (head: Buffer): number => Number(head.readBigUInt64BE(24));

function inspectQcow2(head: Buffer): Verdict {
  if (head.length < 72) return { refused: 'it is a cut qcow2 image' };
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) return { refused: `it is a qcow image of version ${version}; 2 and 3 are supported` };
  if (head.readBigUInt64BE(8) !== 0n || head.readUInt32BE(16) !== 0) {
    return { refused: 'it is a qcow2 image with a backing file: flatten it with qemu-img convert -O qcow2' };
  }
  if (head.readUInt32BE(32) !== 0) return { refused: 'it is an encrypted qcow2 image' };
  if (version < HAS_INCOMPATIBLE_FEATURES) return { format: 'qcow2' };
  if (head.length < 104) return { refused: 'it is a cut qcow2 image' };
  const features = head.readBigUInt64BE(72);
  if ((features & EXTERNAL_DATA) !== 0n) return { refused: 'it is a qcow2 image with an external data file: flatten it with qemu-img convert -O qcow2' };
  if ((features & CORRUPT) !== 0n) return { refused: 'it is a qcow2 image marked as corrupt: repair it with qemu-img check -r all' };
  if ((features & ~KNOWN_FEATURES) !== 0n) return { refused: 'it is a qcow2 image with features that are not known here' };
  return { format: 'qcow2' };
}
