/** Taps on host bridges: one a bridged NIC, persistent, opened by the VM's uid. */
import { readFile } from 'node:fs/promises';
import { tapName, tapPrefix } from '../drivers/qemu/launch.ts';
import type { LaunchNic } from '../drivers/qemu/launch.ts';
import { run } from '../drivers/qemu/programs.ts';
import { AgentFault } from '../fault.ts';

const IP_MS = 10_000;

export async function createTaps(ip: string, lease: string, nics: readonly LaunchNic[], bridges: readonly string[] | null, uid: number): Promise<void> {
  for (const [index, nic] of nics.entries()) {
    if (nic.kind !== 'bridge') continue;
    if (nic.bridge === null) throw new AgentFault('BadRequest', `NIC ${index} names no bridge`);
    if (bridges !== null && !bridges.includes(nic.bridge)) throw new AgentFault('NotPermitted', `the bridge ${nic.bridge} is not among those allowed: ${bridges.join(', ') || '(none)'}`);
    const name = tapName(lease, index);
    await run(ip, ['tuntap', 'add', 'dev', name, 'mode', 'tap', 'user', `${uid}`], { ms: IP_MS });
    await run(ip, ['link', 'set', 'dev', name, 'master', nic.bridge, 'up'], { ms: IP_MS });
  }
}

/** Every tap of the lease; harmless when there is none. */
export async function deleteTaps(ip: string, lease: string): Promise<void> {
  const prefix = tapPrefix(lease);
  // Lines of /proc/net/dev are `  name: counters`; /sys would show the namespace that it was mounted in.
  const names = (await readFile('/proc/net/dev', 'utf8')).split('\n').map((line) => line.split(':')[0]?.trim() ?? '');
  for (const name of names.filter((n) => n.startsWith(prefix))) await run(ip, ['link', 'delete', 'dev', name], { ms: IP_MS });
}
