/** A network namespace with a bridge, for VMs with addresses of their own: root only. What is to see it runs `within`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { run } from '../fixtures/sshd.ts';
import type { Serve } from './serve.ts';

/** A tun device as udev makes it, a bridge with the gateway's address, then nothing until the input ends. */
const SET_UP = `
mount -t tmpfs -o dev,mode=755 tmpfs /mnt && mknod -m 666 /mnt/tun c 10 200
[ -e /dev/net/tun ] && mount --bind /mnt/tun /dev/net/tun
ip link set lo up
ip link add br-lease type bridge && ip address add 10.77.0.1/24 dev br-lease && ip link set br-lease up
echo ready; exec cat`;

export const BRIDGE_OPTIONS = ['--bridge', 'br-lease', '--netmask', '255.255.255.0', '--gateway', '10.77.0.1', '--dns', '10.77.0.1'];

/** Types of a service whose guests may stand on the bridge. */
export const WIRED_TYPES = `
[types."m1.small"]
memory_mb = 128
cores = 1
[types."m1.wired"]
memory_mb = 128
cores = 1
networks = ["wire"]
`;

/** The network `wire`, on the bridge. */
export async function addWire({ admin }: Pick<Serve, 'admin'>): Promise<void> {
  await admin('network', 'add', 'wire', ...BRIDGE_OPTIONS);
  await admin('network', 'address', 'add', 'wire', '10.77.0.10-10.77.0.29');
}

export interface Bridge {
  /** Goes before a command. */
  readonly within: readonly string[];
  /** Where this namespace reaches the other one, with `reachable`. */
  readonly host: string;
  /** Taps of VMs that are there. */
  taps(): string[];
  close(): Promise<void>;
}

/** `reachable`: a link leads into it, which goes with it. */
export async function openBridge({ reachable = false } = {}): Promise<Bridge> {
  const holder = spawn('unshare', ['--net', '--mount', '--propagation', 'private', '--', 'sh', '-ec', SET_UP], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  // Other runs of the tests may have links of their own on this machine.
  const net = ((holder.pid ?? 0) % 2 ** 14) * 4;
  const end = (n: number): string => `10.78.${(net + n) >> 8}.${(net + n) & 255}`;
  const within = ['nsenter', '--target', String(holder.pid), '--net', '--mount', '--'];
  if (reachable) {
    const link = `nl${holder.pid}`;
    run('ip', ['link', 'add', link, 'type', 'veth', 'peer', 'name', 'outside', 'netns', String(holder.pid)]);
    run('ip', ['address', 'add', `${end(1)}/30`, 'dev', link]);
    run('ip', ['link', 'set', link, 'up']);
    run('nsenter', [...within.slice(1), 'sh', '-ec', `ip address add ${end(2)}/30 dev outside && ip link set outside up`]);
  }
  return {
    within, host: end(2),
    taps: () => readFileSync(`/proc/${holder.pid}/net/dev`, 'utf8').split('\n').flatMap((line) => /^\s*(nb[0-9a-f]{10}\.\d+):/.exec(line)?.[1] ?? []),
    async close() {
      holder.stdin.end();
      await once(holder, 'exit');
    },
  };
}
