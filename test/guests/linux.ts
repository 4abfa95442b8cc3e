/**
 * A small Linux guest, as a bootable disk image: Debian's cloud kernel and an initramfs with busybox and dropbear, on a FAT
 * file system that syslinux boots. It reads its NoCloud seed as cloud-init would: host name, address, keys of root; then it
 * answers SSH. Built from Debian packages that are downloaded and unpacked, not installed; kept until the cache is removed.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { cpio, directory, file, symlink } from './cpio.ts';
import type { Entry } from './cpio.ts';
import { INIT } from './linux-init.ts';

export const LINUX_GUEST_PACKAGES = [
  'busybox-static', 'dropbear-bin', 'libtomcrypt1', 'libtommath1', 'libgmp10', 'zlib1g', 'libcrypt1', 'libc6', 'syslinux', 'mtools',
];
const KERNEL = 'linux-image-cloud-amd64';
/** In the order in which they need each other. */
const MODULES = [
  'virtio_ring', 'virtio', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev', 'virtio_pci', 'failover', 'net_failover', 'virtio_net', 'virtio_blk', 'virtio_console',
  'nls_ascii', 'nls_cp437', 'fat', 'vfat',
];
const LIBRARIES = ['libtomcrypt.so.1', 'libtommath.so.1', 'libgmp.so.10', 'libz.so.1', 'libcrypt.so.1', 'libc.so.6'];
const BOOT = `default guest
prompt 0
label guest
  kernel vmlinuz
  append initrd=initrd.gz console=ttyS0 quiet panic=1
`;
const DISK_SECTORS = 64 * 2048; // 64 MiB, most of it a hole

const CACHE = fileURLToPath(new URL('../../node_modules/.cache/nimbus-linux-guest/', import.meta.url));
/** Rises with what is built here, so that an older image is not taken for it. */
const IMAGE = join(CACHE, 'guest-2.img');

/** The image's path; built at the first call. */
export function linuxGuest(): string {
  if (existsSync(IMAGE)) return IMAGE;
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, 'build-'));
  try {
    const root = unpack(work);
    const disk = join(work, 'disk.img');
    makeDisk(root, work, disk);
    renameSync(disk, IMAGE);
    return IMAGE;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function unpack(work: string): string {
  const debs = join(work, 'debs');
  const root = join(work, 'root');
  mkdirSync(debs);
  const kernel = /Depends: (linux-image-\S+)/.exec(execFileSync('apt-cache', ['depends', KERNEL], { encoding: 'utf8' }))?.[1];
  if (kernel === undefined) throw new Error(`apt-cache knows no package behind ${KERNEL}`);
  execFileSync('apt-get', ['download', '-q', kernel, ...LINUX_GUEST_PACKAGES], { cwd: debs, stdio: ['ignore', 'ignore', 'pipe'], timeout: 300_000 });
  for (const deb of readdirSync(debs)) execFileSync('dpkg-deb', ['-x', join(debs, deb), root]);
  return root;
}

function makeDisk(root: string, work: string, disk: string): void {
  const bin = join(root, 'usr/bin');
  const mtools = { cwd: work, env: { PATH: `${bin}:/usr/bin:/bin`, MTOOLS_SKIP_CHECK: '1' }, stdio: ['ignore', 'ignore', 'inherit'] as ('ignore' | 'inherit')[] };
  const boot = join(root, 'boot');
  const vmlinuz = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'));
  if (vmlinuz === undefined) throw new Error('the kernel package has no kernel');
  copyFileSync(join(boot, vmlinuz), join(work, 'vmlinuz'));
  writeFileSync(join(work, 'syslinux.cfg'), BOOT);
  writeFileSync(join(work, 'initrd.gz'), gzipSync(cpio(initramfs(root)), { level: 1 }));
  execFileSync(join(bin, 'mformat'), ['-C', '-i', disk, '-T', `${DISK_SECTORS}`, '-h', '16', '-s', '63', '-c', '8', '::'], mtools);
  execFileSync(join(bin, 'syslinux'), ['--install', disk], mtools);
  execFileSync(join(bin, 'mcopy'), ['-i', disk, 'vmlinuz', 'initrd.gz', 'syslinux.cfg', '::/'], mtools);
}

function initramfs(root: string): Entry[] {
  const programs = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => /^(usr\/)?(s?bin|lib(64)?)\//.test(path));
  const found = new Map(programs.map((path) => [path.split('/').at(-1) ?? '', path]));
  const read = (name: string): Buffer => {
    const path = found.get(name);
    if (path === undefined) throw new Error(`no package brought ${name}`);
    return readFileSync(join(root, path));
  };
  return [
    ...['bin', 'dev', 'etc', 'etc/dropbear', 'lib', 'lib64', 'modules', 'proc', 'root', 'run', 'seed', 'sys', 'var', 'var/log'].map(directory),
    file('init', INIT, 0o755),
    file('bin/busybox', read('busybox'), 0o755),
    symlink('bin/sh', 'busybox'),
    file('bin/dropbear', read('dropbear'), 0o755),
    file('lib64/ld-linux-x86-64.so.2', read('ld-linux-x86-64.so.2'), 0o755),
    ...LIBRARIES.map((name) => file(`lib/${name}`, read(name), 0o755)),
    file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n'),
    file('etc/shadow', 'root:*:1:0:99999:7:::\n', 0o600),
    file('etc/modules', `${MODULES.join('\n')}\n`),
    ...MODULES.map((name) => file(`modules/${name}.ko`, read(`${name}.ko`))),
  ];
}
