/**
 * What the Xen machine runs: a first stage that finds dom0's disk, dom0's own start, and the initramfs of a PV guest. They are
 * made anew for every boot, with that boot's SSH keys: the kept image has Debian's packages and no secret.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { cpio, directory, file, symlink, type Entry } from '../guests/cpio.ts';

/** dom0 prints this on its console when everything runs. */
export const READY = 'nimbus-dom0-ready';
/** A guest prints this on its console when it has booted. */
export const GUEST_UP = 'nimbus-guest-up';
/** Where `xl create` finds the guest in dom0. */
export const GUEST = { kernel: '/srv/guest/vmlinuz', ramdisk: '/srv/guest/initrd.gz' } as const;
/** An ordinary user of dom0 that may run xl by sudo, as a site's batch user may. */
export const BATCH_USER = 'batch';
export const PILOT_LOGS = '/var/log/pilot';

const FIRST_STAGE = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod /modules/$module.ko; done < /modules/order
mount -t ext4 /dev/vda /disk || { echo "the disk of dom0 cannot be mounted"; exit 1; }
cp -a /seed/. /disk/
umount /proc /sys /dev
exec switch_root /disk /usr/sbin/dom0
`;

// QEMU's user network: the machine is 10.0.2.15, the host's 127.0.0.1 is 10.0.2.2, and without a route there is nothing else.
const DOM0 = `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
hostname dom0
modprobe virtio_net
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
mount -t xenfs xenfs /proc/xen
modprobe -a xen-evtchn xen-gntdev xen-gntalloc xen-privcmd
mkdir -p /run/lock /run/xen /run/sshd /var/log/xen/console
useradd --create-home --shell /bin/sh ${BATCH_USER}
install -d -o ${BATCH_USER} -g ${BATCH_USER} -m 0700 ${PILOT_LOGS}
chmod 0440 /etc/sudoers.d/pilot
chown -R root:root /root/.ssh
xenstored --pid-file /run/xen/xenstored.pid
/usr/lib/xen-4.17/bin/xen-init-dom0
xenconsoled --log=guest --pid-file=/run/xen/xenconsoled.pid
/usr/sbin/sshd -o HostKey=/etc/ssh/boot_key -o UseDNS=no -o UsePAM=no
echo ${READY} > /dev/console
while :; do sleep 3600; done
`;

const GUEST_INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox echo ${GUEST_UP}
while :; do /bin/busybox sleep 3600; done
`;

export interface BootKeys {
  /** OpenSSH private key of the machine's sshd. */
  readonly host: string;
  /** Line for root's authorized_keys. */
  readonly authorized: string;
}

/** The initramfs of dom0, with the guest's inside. @param image a directory made by tools/xen/image.mjs */
export function firstStage(image: string, keys: BootKeys): Buffer {
  const busybox = readFileSync(join(image, 'busybox'));
  const order = readFileSync(join(image, 'modules/order'), 'utf8');
  const modules = order.trim().split('\n').map((name) => file(`modules/${name}.ko`, readFileSync(join(image, 'modules', `${name}.ko`))));
  return cpio([
    ...['bin', 'dev', 'proc', 'sys', 'disk', 'modules'].map(directory),
    file('init', FIRST_STAGE, 0o755),
    file('bin/busybox', busybox, 0o755),
    symlink('bin/sh', 'busybox'),
    file('modules/order', order),
    ...modules,
    ...seed(keys, readFileSync(join(image, 'vmlinuz')), guestInitramfs(busybox)),
  ]);
}

/** Copied over dom0's disk. Directories that the disk has keep what is in them. */
function seed(keys: BootKeys, vmlinuz: Buffer, initrd: Buffer): Entry[] {
  return [
    ...['seed', 'seed/etc', 'seed/etc/ssh', 'seed/etc/sudoers.d', 'seed/root', 'seed/srv', 'seed/srv/guest', 'seed/usr', 'seed/usr/sbin'].map(directory),
    { ...directory('seed/root/.ssh'), mode: 0o040700 },
    file('seed/root/.ssh/authorized_keys', `${keys.authorized}\n`, 0o600),
    file('seed/etc/hosts', '127.0.0.1 localhost dom0\n'),
    file('seed/etc/ssh/boot_key', keys.host, 0o600),
    file('seed/etc/sudoers.d/pilot', `${BATCH_USER} ALL=(root) NOPASSWD: /usr/sbin/xl\n`, 0o440),
    file(`seed${GUEST.kernel}`, vmlinuz),
    file(`seed${GUEST.ramdisk}`, initrd),
    file('seed/usr/sbin/dom0', DOM0, 0o755),
  ];
}

function guestInitramfs(busybox: Buffer): Buffer {
  return gzipSync(cpio([
    ...['bin', 'dev', 'proc'].map(directory),
    file('init', GUEST_INIT, 0o755),
    file('bin/busybox', busybox, 0o755),
  ]), { level: 1 });
}
