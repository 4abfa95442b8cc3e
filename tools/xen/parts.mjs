// What the Xen suite needs of this machine, and the Debian package that brings each of it.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Program → package. */
const PROGRAMS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  debootstrap: 'debootstrap',
  'dpkg-deb': 'dpkg',
  depmod: 'kmod',
  'mke2fs': 'e2fsprogs',
  chroot: 'coreutils',
  unshare: 'util-linux',
  setpriv: 'util-linux',
};

function here(program) {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** One sentence that names everything missing and how to have it, or undefined. */
export function missing() {
  const programs = Object.keys(PROGRAMS).filter((program) => !here(program));
  if (programs.length > 0) {
    const packages = [...new Set(programs.map((program) => PROGRAMS[program]))];
    return `The Xen suite needs ${programs.join(', ')}: run "apt-get install --no-install-recommends ${packages.join(' ')}" as root.`;
  }
  if (process.getuid() !== 0) return 'The Xen suite makes a Debian root file system with debootstrap: run it as root.';
  if (process.arch !== 'x64') return `The Xen suite copies this machine's Node into an x86-64 guest; this machine is ${process.arch}.`;
  return undefined;
}
