/** What VMs run on: QEMU and its accelerator, room for their disks, the clock. */
import { fail, ok, warn } from '../findings.ts';
import type { Check, Finding, NodeLook } from '../types.ts';

/** Below the first a start is likely to fail; below the second an image of today does not fit. MiB */
const NO_ROOM = 1_024;
const LITTLE_ROOM = 5_120;
/** Moments are corrected by the offset; one as large as this also shows in what users see of their guests. */
const MUCH_MS = 2_000;

type Nodes = ReadonlyArray<{ readonly name: string; readonly answer: Exclude<NodeLook['answer'], { missing: string }> }>;
const answered = (nodes: readonly NodeLook[]): Nodes => nodes.flatMap(({ row, answer }) => ('missing' in answer ? [] : [{ name: row.name, answer }]));

export const vmm: Check = {
  name: 'QEMU',
  look: ({ nodes }) => {
    const there = answered(nodes);
    return there.length === 0 ? [] : [...qemu(there), ...accelerator(there), ...disks(there), ...clocks(there)];
  },
};

function qemu(nodes: Nodes): Finding[] {
  const simulated = nodes.filter((n) => n.answer.status.driver === 'simulated').map((n) => n.name);
  const versions = [...new Set(nodes.flatMap((n) => n.answer.status.qemuVersion ?? []))];
  return [
    ...(simulated.length > 0 ? [warn('QEMU', `VMs are only simulated on ${list(simulated)}`, 'install QEMU there (Debian: apt-get install qemu-system-x86), unless simulation is meant (driver = "simulated")')] : []),
    ...(versions.length > 0 ? [ok('QEMU', `version ${versions.join(', ')}`)] : []),
  ];
}

function accelerator(nodes: Nodes): Finding[] {
  const slow = nodes.filter((n) => n.answer.status.accelerator === 'tcg').map((n) => n.name);
  const fast = nodes.filter((n) => n.answer.status.accelerator === 'kvm').length;
  return [
    ...(slow.length > 0 ? [warn('accelerator', `VMs run without KVM, many times slower, on ${list(slow)}`,
      'switch virtualization on in the firmware (of a virtual node: nested), load kvm_intel or kvm_amd', 'open /dev/kvm to the agent’s account (usermod -aG kvm ACCOUNT), remove accelerator.json in its state directory, end the agent')] : []),
    ...(fast > 0 ? [ok('accelerator', `KVM on ${fast} ${fast === 1 ? 'node' : 'nodes'}`)] : []),
  ];
}

function disks(nodes: Nodes): Finding[] {
  const found = nodes.filter((n) => n.answer.status.diskFreeMb < LITTLE_ROOM).map(({ name, answer: { status } }) => (status.diskFreeMb < NO_ROOM ? fail : warn)(
    'disk space', `${name} has ${status.diskFreeMb} MiB free for VMs’ disks and ${status.cacheMb} MiB of cached images`, 'put the agent’s state directory on a larger disk, or lower images.node_cache_mb',
  ));
  return found.length > 0 ? found : [ok('disk space', `each node has ${LITTLE_ROOM / 1024} GiB or more free for VMs’ disks`)];
}

function clocks(nodes: Nodes): Finding[] {
  const wrong = nodes.filter((n) => Math.abs(n.answer.clockOffsetMs) > MUCH_MS);
  if (wrong.length === 0) return [ok('clocks', `nodes’ clocks are within ${MUCH_MS / 1000} s of this machine’s`)];
  return wrong.map(({ name, answer: { clockOffsetMs: ms } }) =>
    warn('clocks', `the clock of ${name} is ${(Math.abs(ms) / 1000).toFixed(1)} s ${ms > 0 ? 'ahead of' : 'behind'} this machine’s`, 'have a time service (chrony, systemd-timesyncd) run on both'));
}

const MOST_NAMED = 10;
const list = (names: readonly string[]): string => (names.length <= MOST_NAMED ? names.join(', ') : `${names.slice(0, MOST_NAMED).join(', ')} and ${names.length - MOST_NAMED} more`);
