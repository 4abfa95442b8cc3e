import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HEAD_BYTES, inspect, isGzip } from '../../src/images/format.ts';
import { hasPart } from '../parts.ts';

function qcow2(facts: { version?: number; backingOffset?: bigint; backingSize?: number; crypt?: number; features?: bigint } = {}): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.write('QFI\xfb', 'latin1');
  head.writeUInt32BE(facts.version ?? 3, 4);
  head.writeBigUInt64BE(facts.backingOffset ?? 0n, 8);
  head.writeUInt32BE(facts.backingSize ?? 0, 16);
  head.writeUInt32BE(facts.crypt ?? 0, 32);
  head.writeBigUInt64BE(facts.features ?? 0n, 72);
  return head;
}

test.each([
  ['a boot sector', Buffer.concat([Buffer.alloc(510), Buffer.of(0x55, 0xaa)]), 'raw'], ['one byte', Buffer.of(0), 'raw'],
  ['qcow2', qcow2(), 'qcow2'], ['qcow2 of version 2', qcow2({ version: 2 }).subarray(0, 72), 'qcow2'], ['lazy refcounts left dirty', qcow2({ features: 1n }), 'qcow2'],
] as const)('%s is taken', (_, head, format) => {
  expect(inspect(head)).toEqual({ format });
});

test.each([
  ['nothing', Buffer.alloc(0), 'it is empty'],
  ['a backing file', qcow2({ backingOffset: 200n, backingSize: 11 }), 'backing file'],
  ['a backing file without length', qcow2({ backingOffset: 200n }), 'backing file'],
  ['a backing file of version 2', qcow2({ version: 2, backingSize: 11 }), 'backing file'],
  ['an external data file', qcow2({ features: 4n }), 'external data file'],
  ['an encrypted one', qcow2({ crypt: 2 }), 'encrypted'],
  ['a corrupt one', qcow2({ features: 2n }), 'corrupt'],
  ['features of the future', qcow2({ features: 1n << 40n }), 'not known'],
  ['qcow version 1', qcow2({ version: 1 }), 'version 1'],
  ['a cut header', qcow2().subarray(0, 90), 'cut'],
  ['a very short one', qcow2().subarray(0, 4), 'cut'],
  ['VMDK', Buffer.from('KDMV....'), 'qemu-img convert'],
  ['xz', Buffer.from('\xfd7zXZ\0', 'latin1'), 'unpack it first'],
  ['gzip in gzip', Buffer.of(0x1f, 0x8b, 8), 'unpack it first'],
] as const)('%s is refused', (_, head, why) => {
  expect(inspect(head)).toEqual({ refused: expect.stringContaining(why) });
});

test('gzip is known by its first bytes', () => {
  expect(isGzip(Buffer.of(0x1f, 0x8b))).toBe(true);
  expect(isGzip(Buffer.of(0x1f))).toBe(false);
});

describe.skipIf(!hasPart('qemu'))('what qemu-img writes', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'format-'));
    writeFileSync(join(dir, 'base.raw'), Buffer.alloc(65536));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const made = (...args: string[]): Buffer => {
    const file = join(dir, 'image');
    rmSync(file, { force: true });
    const { status, stderr } = spawnSync('qemu-img', ['create', '-q', ...args, file, '1M'], { cwd: dir });
    if (status !== 0) throw new Error(stderr.toString());
    return readFileSync(file).subarray(0, HEAD_BYTES);
  };

  test.each([['-f', 'qcow2'], ['-f', 'qcow2', '-o', 'compat=0.10'], ['-f', 'qcow2', '-o', 'lazy_refcounts=on,extended_l2=on']])('%s %s %s %s is taken', (...args) => {
    expect(inspect(made(...args.filter((a) => a !== undefined)))).toEqual({ format: 'qcow2' });
  });

  test('an overlay and an image with an external data file are refused', () => {
    expect(inspect(made('-f', 'qcow2', '-b', 'base.raw', '-F', 'raw'))).toEqual({ refused: expect.stringContaining('backing file') });
    expect(inspect(made('-f', 'qcow2', '-o', 'data_file=data.raw'))).toEqual({ refused: expect.stringContaining('external data file') });
  });

  test.each(['vmdk', 'vhdx', 'vdi', 'qed'])('%s is refused', (format) => {
    expect(inspect(made('-f', format))).toEqual({ refused: expect.stringContaining('qemu-img convert') });
  });
});
