// The machine that the Xen suite boots, made of Debian packages: a hypervisor, a dom0 kernel and dom0's disk. It is kept in a
// directory named by all that it is made of, so that a changed recipe or another Node makes another one.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';

const SUITE = 'bookworm';
/** Another mirror, for a site without access to Debian's own. */
const MIRROR = process.env.NIMBUS_XEN_MIRROR ?? 'http://deb.debian.org/debian';
const XEN = 'xen-hypervisor-4.17-amd64';
/** The cloud kernel cannot be dom0. */
const KERNEL = 'linux-image-amd64';
/** libstdc++6 is for Node, which is copied from this machine. */
const PACKAGES = ['xen-utils-4.17', 'xenstore-utils', 'openssh-server', 'sudo', 'busybox-static', 'kmod', 'iproute2', 'libstdc++6'];
/** What the first stage needs to see its disk, each after what it depends on. */
const BOOT_MODULES = [
  'virtio', 'virtio_ring', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev', 'virtio_pci', 'virtio_blk',
  'crc16', 'crc32c_generic', 'libcrc32c', 'mbcache', 'jbd2', 'ext4',
];
const DISK = '1800M';
/** Rises when this file makes something else of the same recipe. */
const VERSION = 1;

const DEBOOTSTRAP_MS = 20 * 60_000;
const COMMAND_MS = 5 * 60_000;

function run(argv, { cwd, timeout = COMMAND_MS } = {}) {
  const { status, signal, error, stdout, stderr } = spawnSync(argv[0], argv.slice(1), {
    cwd, timeout, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (status === 0) return stdout;
  const said = `${stdout}${stderr}`.trimEnd().split('\n').slice(-15).join('\n');
  throw new Error(`${argv.join(' ')} ${error?.message ?? `ended with ${status ?? signal}`}:\n${said}`);
}

const inRoot = (root, ...argv) => run(['chroot', root, ...argv]);

const cache = () => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'nimbus-xen');

function recipe() {
  const node = createHash('sha256').update(readFileSync(process.execPath)).digest('hex');
  return JSON.stringify({ VERSION, SUITE, XEN, KERNEL, PACKAGES, BOOT_MODULES, DISK, node });
}

/** Where the image stands, or will: a directory with xen, vmlinuz, dom0.img, busybox and modules/. */
export const imageDirectory = () => join(cache(), createHash('sha256').update(recipe()).digest('hex').slice(0, 16));

/** Makes the image in `directory`. @param say told each step as it begins. @throws Error with the last words of what failed */
export function makeImage(directory, say) {
  mkdirSync(cache(), { recursive: true });
  removeOld(cache());
  const work = mkdtempSync(join(cache(), 'making-'));
  try {
    const draft = join(work, 'image');
    mkdirSync(draft);
    make(join(work, 'root'), draft, say);
    writeFileSync(join(draft, 'recipe.json'), `${recipe()}\n`);
    renameSync(draft, directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** One image is kept. What a build that was killed left behind goes too, once no build can be at it any more. */
function removeOld(directory) {
  for (const name of readdirSync(directory)) {
    const age = Date.now() - statSync(join(directory, name)).mtimeMs;
    if (/^[0-9a-f]{16}$/.test(name) || (name.startsWith('making-') && age > 2 * DEBOOTSTRAP_MS)) rmSync(join(directory, name), { recursive: true, force: true });
  }
}

function make(root, image, say) {
  say(`Debian ${SUITE} from ${MIRROR}`);
  // In a mount namespace of its own, so that nothing stays mounted however it ends.
  run(['unshare', '--mount', '--propagation', 'private', 'debootstrap', '--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, root, MIRROR],
    { timeout: DEBOOTSTRAP_MS });
  say('hypervisor and kernel');
  unpackKernel(root);
  say('Node');
  addNode(root);
  say('disk');
  trim(root);
  takeBootFiles(root, image);
  run(['mke2fs', '-q', '-t', 'ext4', '-O', '^has_journal', '-L', 'dom0', '-d', root, join(image, 'dom0.img'), DISK]);
}

/** Unpacked, not installed: an installed kernel would bring a boot loader and an initrd of its own. */
function unpackKernel(root) {
  inRoot(root, 'apt-get', '-q', 'update');
  const kernel = /Depends: (linux-image-\S+)/.exec(inRoot(root, 'apt-cache', 'depends', KERNEL))?.[1];
  if (kernel === undefined) throw new Error(`Debian's lists name no package behind ${KERNEL}`);
  const debs = join(root, 'debs');
  mkdirSync(debs);
  inRoot(root, 'env', '--chdir=/debs', 'apt-get', '-q', '-o', 'APT::Sandbox::User=root', 'download', kernel, XEN);
  for (const deb of readdirSync(debs)) run(['dpkg-deb', '-x', join(debs, deb), join(debs, 'unpacked')]);
  // Not onto the root itself, where /lib is a link.
  for (const from of ['boot', 'lib/modules']) run(['cp', '-a', join(debs, 'unpacked', from), join(root, from === 'boot' ? '/' : 'usr/lib/')]);
  rmSync(debs, { recursive: true });
  inRoot(root, 'depmod', kernel.replace('linux-image-', ''));
}

function addNode(root) {
  const node = join(root, 'usr/local/bin/node');
  copyFileSync(process.execPath, node);
  chmodSync(node, 0o755);
  try {
    inRoot(root, '/usr/local/bin/node', '--version');
  } catch (e) {
    throw new Error(`Node ${process.version} of this machine (${process.execPath}) does not run on Debian ${SUITE}; run the suite with one from nodejs.org or of a Debian package`, { cause: e });
  }
}

/** What a package brought and no test reads. */
function trim(root) {
  for (const path of ['var/cache/apt', 'var/lib/apt/lists', 'usr/share/doc', 'usr/share/man', 'usr/share/locale']) rmSync(join(root, path), { recursive: true, force: true });
}

function takeBootFiles(root, image) {
  const boot = join(root, 'boot');
  const only = (pattern) => {
    const name = readdirSync(boot).find((entry) => pattern.test(entry));
    if (name === undefined) throw new Error(`no package brought a file like ${pattern} in /boot`);
    return join(boot, name);
  };
  writeFileSync(join(image, 'xen'), gunzipSync(readFileSync(only(/^xen-.*\.gz$/))));
  copyFileSync(only(/^vmlinuz-/), join(image, 'vmlinuz'));
  copyFileSync(join(root, 'bin/busybox'), join(image, 'busybox'));
  rmSync(boot, { recursive: true });
  mkdirSync(join(image, 'modules'));
  const modules = new Map(readdirSync(join(root, 'usr/lib/modules'), { recursive: true }).map((path) => [basename(path), path]));
  // A module that this kernel has built in has no file.
  for (const name of BOOT_MODULES.filter((module) => modules.has(`${module}.ko`))) {
    copyFileSync(join(root, 'usr/lib/modules', modules.get(`${name}.ko`)), join(image, 'modules', `${name}.ko`));
  }
  writeFileSync(join(image, 'modules/order'), `${BOOT_MODULES.filter((module) => modules.has(`${module}.ko`)).join('\n')}\n`);
}
