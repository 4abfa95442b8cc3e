/** A VM as described on the command line. */
import { createHash } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { Nic } from '../../../lease/types.ts';
import type { ImageRef, VmSpec } from '../../protocol.ts';
import { digestOf } from '../cache.ts';
import { EXIT, Exit } from '../exit.ts';
import { needed, wholeNumber } from './usage.ts';
import type { Values } from './usage.ts';

/** QEMU disk image format: magic number "QFI\xfb" (qemu, docs/interop/qcow2.rst). */
const QCOW2_MAGIC = Buffer.from([0x51, 0x46, 0x49, 0xfb]);

export async function specFrom(name: string, values: Values): Promise<VmSpec> {
  const hostname = values.hostname ?? name;
  const networks = values.network ?? ['user'];
  return {
    memoryMb: wholeNumber('memory', needed('memory', values.memory), 0),
    cores: wholeNumber('cores', values.cores, 1),
    diskMb: wholeNumber('disk', values.disk, 0),
    image: await imageFrom(needed('image', values.image), values.format),
    nics: networks.filter((n) => n !== 'none').map((n, i) => nicFrom(n, name, i, hostname)),
    seed: {
      instanceId: name,
      hostname,
      publicKeys: (await Promise.all((values['public-key'] ?? []).map(readKeys))).flat(),
      ...(values['user-data'] === undefined ? {} : { userData: (await read(values['user-data'])).toString('base64') }),
    },
  };
}

async function imageFrom(file: string, format: string | undefined): Promise<ImageRef> {
  const path = resolve(file);
  try {
    const { size } = await stat(path);
    const sha256 = await digestOf(path);
    if (format !== undefined && format !== 'raw' && format !== 'qcow2') throw new Exit(EXIT.arguments, '--format must be raw or qcow2');
    return { id: imageName(path, sha256), sha256, format: format ?? await formatOf(path), sizeBytes: size, path };
  } catch (e) {
    if (e instanceof Exit) throw e;
    throw new Exit(EXIT.arguments, `--image ${file}: ${(e as Error).message}`);
  }
}

function imageName(path: string, sha256: string): string {
  const name = basename(path).replace(/[^A-Za-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 48);
  return `${name === '' ? 'image' : name}-${sha256.slice(0, 12)}`;
}

async function formatOf(path: string): Promise<ImageRef['format']> {
  const file = await open(path, 'r');
  try {
    const { buffer } = await file.read(Buffer.alloc(QCOW2_MAGIC.length), 0, QCOW2_MAGIC.length, 0);
    return buffer.equals(QCOW2_MAGIC) ? 'qcow2' : 'raw';
  } finally {
    await file.close();
  }
}

async function readKeys(file: string): Promise<string[]> {
  return (await read(file)).toString('utf8').split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
}

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (e) {
    throw new Exit(EXIT.arguments, `${file}: ${(e as Error).message}`);
  }
}

/** A locally administered MAC that stays the same for the same VM. */
function macFor(name: string, index: number): string {
  const digest = createHash('sha256').update(`${name} ${index}`).digest('hex');
  return `a2:aa:bb:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`;
}

/** User-mode addresses are those that QEMU's network gives by default (QEMU documentation, "User mode network stack"). */
function nicFrom(text: string, name: string, index: number, hostname: string): Nic {
  if (text === 'user') {
    return {
      network: 'user', kind: 'user', bridge: null, mac: macFor(name, index), ip: `10.0.${2 + index}.15`, prefix: 24,
      gateway: `10.0.${2 + index}.2`, dns: [`10.0.${2 + index}.3`], hostname,
    };
  }
  const m = /^bridge:([^,]+),([^,]+),([^,/]+)\/(\d{1,2})(?:,([^,]+))?(?:,([^,]+))?$/.exec(text);
  if (m === null) throw new Exit(EXIT.arguments, '--network must be user, none or bridge:BRIDGE,MAC,IP/PREFIX[,GATEWAY[,DNS]]');
  const [, bridge = '', mac = '', ip = '', prefix = '', gateway, dns] = m;
  return {
    network: bridge, kind: 'bridge', bridge, mac: mac.toLowerCase(), ip, prefix: Number(prefix), gateway: gateway ?? null,
    dns: dns === undefined ? [] : [dns], hostname,
  };
}
