/** Which mechanism a host has. Another one is a file and a line here; docs/new-memory-mechanism.md is the checklist. */
import { existsSync } from 'node:fs';
import type { MemoryMechanism, NodeSettings, ProgramContext } from '../types.ts';
import { createHugepages } from './hugepages.ts';
import { createLibvirt } from './libvirt.ts';
import { None } from './none.ts';
import { createXl } from './xl.ts';

const MECHANISMS: { readonly [N in MemoryMechanism['name']]: (settings: NodeSettings, ctx: ProgramContext) => MemoryMechanism } = {
  xl: createXl,
  libvirt: createLibvirt,
  hugepages: createHugepages,
  none: (_settings, ctx) => new None(ctx),
};

/** Where Xen runs, its kernel says so. */
const XEN = '/proc/xen/capabilities';

export function mechanismName(settings: Pick<NodeSettings, 'mechanism'>): MemoryMechanism['name'] {
  if (settings.mechanism !== 'auto') return settings.mechanism;
  return existsSync(XEN) ? 'xl' : 'none';
}

/** `name` is the one that the settings choose, or the one by which memory was taken before. */
export function createMechanism(settings: NodeSettings, ctx: ProgramContext, name = mechanismName(settings)): MemoryMechanism {
  const mechanism = MECHANISMS[name](settings, ctx);
  return settings.bubble ? mechanism : withoutChange(mechanism);
}

/** `bubble_mem: no`: the hypervisor has memory for guests set aside already. Guests are found and ended all the same. */
function withoutChange(m: MemoryMechanism): MemoryMechanism {
  return {
    name: m.name,
    read: (signal) => m.read(signal),
    hostMb: (signal) => m.hostMb(signal),
    reduce: (target) => Promise.resolve(target.afterMb),
    restore: (target) => Promise.resolve(target.beforeMb),
    guests: (signal) => m.guests(signal),
    destroy: (guest, signal) => m.destroy(guest, signal),
    check: () => m.check(),
  };
}
