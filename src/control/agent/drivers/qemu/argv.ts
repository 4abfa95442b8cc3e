/**
 * QEMU's arguments for a VM. Nothing that a user chose can become an option: structures go as JSON, and the few values
 * that stand in `key=value` lists have their commas doubled (QEMU manual, "-name" and "-fw_cfg").
 *
 * All paths are relative to the VM's directory, which is the process's working directory: QEMU runs under a uid of its
 * own that may enter no other directory of the agent, and a Unix socket's path may have 107 bytes only.
 */
import { FILES, nameArgument, tapName } from './launch.ts';
import type { Launch, LaunchNic } from './launch.ts';
import { userNetwork } from './usernet.ts';

/** A Linux guest reads lines from `/dev/virtio-ports/` and this name (kernel documentation, "virtio console"). */
export const NOTICE_PORT = 'org.nimbus-workspace.notice';

/** Everything that QEMU's system call filter can deny. */
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

/** `memPath`: directory of a file system whose pages back the guest's memory, all of it taken at the start; null = ordinary pages. */
export function qemuArguments(lease: string, launch: Launch, memPath: string | null = null): string[] {
  const cpu = launch.accelerator === 'kvm' ? 'host' : 'max';
  return [
    '-name', value(nameArgument(lease)),
    '-nodefaults', '-no-user-config', '-display', 'none',
    '-sandbox', SANDBOX,
    '-machine', `pc,accel=${launch.accelerator},usb=off`,
    '-cpu', cpu,
    '-smp', `${launch.cores}`,
    '-m', `${launch.memoryMb}M`,
    ...(memPath === null ? [] : ['-mem-path', memPath, '-mem-prealloc']),
    '-rtc', 'base=utc',
    '-boot', 'strict=on',
    '-fw_cfg', `name=opt/nimbus/instance-id,string=${value(lease)}`,
    '-chardev', `socket,id=qmp,path=${FILES.qmp},server=on,wait=off`,
    '-mon', 'chardev=qmp,mode=control',
    '-chardev', `file,id=console,path=${FILES.console},append=on`,
    '-serial', 'chardev:console',
    '-chardev', `socket,id=notices,path=${FILES.notices},server=on,wait=off`,
    '-device', 'virtio-serial-pci',
    '-device', `virtserialport,chardev=notices,name=${NOTICE_PORT}`,
    ...disk(launch.baseFormat),
    ...(launch.seed ? seed() : []),
    ...launch.nics.flatMap((nic, i) => network(lease, launch, nic, i)),
    ...(launch.incoming === true ? ['-incoming', 'defer'] : []),
  ];
}

/**
 * The whole chain is spelt out, so that no image decides what is opened: a base's own header is not asked for a backing
 * file (`backing: null`), and a raw base is never probed.
 */
function disk(baseFormat: Launch['baseFormat']): string[] {
  const base = { driver: 'file', filename: FILES.base, 'read-only': true };
  const node = {
    driver: 'qcow2', 'node-name': 'disk',
    file: { driver: 'file', filename: FILES.disk },
    backing: baseFormat === 'raw'
      ? { driver: 'raw', 'read-only': true, file: base }
      : { driver: 'qcow2', 'read-only': true, file: base, backing: null },
  };
  return ['-blockdev', JSON.stringify(node), '-device', 'virtio-blk-pci,drive=disk,bootindex=0'];
}

/** NoCloud finds its seed by the file system label `cidata` (cloud-init documentation, "NoCloud"). */
function seed(): string[] {
  const node = { driver: 'vvfat', 'node-name': 'seed', dir: FILES.seed, label: 'cidata', rw: false, 'read-only': true };
  return ['-blockdev', JSON.stringify(node), '-device', 'virtio-blk-pci,drive=seed'];
}

function network(lease: string, launch: Launch, nic: LaunchNic, index: number): string[] {
  const id = `net${index}`;
  const forwarded = launch.nics.findIndex((n) => n.kind === 'user') === index ? launch.forward : null;
  const netdev = nic.kind === 'user'
    ? user(id, nic, forwarded)
    : `tap,id=${id},ifname=${value(tapName(lease, index))},script=no,downscript=no`;
  // Without the ROM the firmware does not try to boot from the network.
  return ['-netdev', netdev, '-device', `virtio-net-pci,netdev=${id},mac=${value(nic.mac)},romfile=`];
}

function user(id: string, nic: LaunchNic, forward: Launch['forward']): string {
  const n = userNetwork(nic);
  const list = `user,id=${id},net=${n.net},host=${n.host},dns=${n.dns},dhcpstart=${n.guest},ipv6=off`;
  return forward === null ? list : `${list},hostfwd=tcp:${forward.address}:${forward.port}-${n.guest}:22`;
}

const value = (text: string): string => text.replaceAll(',', ',,');
