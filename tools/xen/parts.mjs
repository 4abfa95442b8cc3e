// What the Xen suite needs of this machine, and the Debian package that brings each.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Program → package: to boot the machine, and to make it. */
const TO_BOOT = { 'qemu-system-x86_64': 'qemu-system-x86', setpriv: 'util-linux' };
const TO_MAKE = { debootstrap: 'debootstrap', 'dpkg-deb': 'dpkg', mke2fs: 'e2fsprogs', chroot: 'coreutils', unshare: 'util-linux' };

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

/** One sentence that names what is missing and how to have it, or undefined. @param made the image is there already */
export function missing(made) {
  const needed = made ? TO_BOOT : { ...TO_BOOT, ...TO_MAKE };
  const programs = Object.keys(needed).filter((program) => !here(program));
  if (programs.length > 0) {
    const packages = [...new Set(programs.map((program) => needed[program]))];
    return `The Xen suite needs ${programs.join(', ')}: run "apt-get install --no-install-recommends ${packages.join(' ')}" as root.`;
  }
  if (process.arch !== 'x64') return `The Xen suite copies this machine's Node into an x86-64 guest, and this machine is ${process.arch}.`;
  if (!made && process.getuid() !== 0) return 'The Xen suite makes a Debian root file system with debootstrap: run it once as root.';
  return undefined;
}
