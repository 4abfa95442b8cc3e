/** Which mechanism a host has. Another one is a file and a line here; docs/new-memory-mechanism.md is the checklist. */
import { existsSync } from 'node:fs';
import type { MemoryMechanism, NodeSettings, ProgramContext } from '../types.ts';
import { createHugepages } from './hugepages.ts';
import { createLibvirt } from './libvirt.ts';
import { None } from './none.ts';
import { becomeRoot } from './sudo.ts';
import { createXl } from './xl.ts';

type MechanismSettings = NodeSettings & { readonly become: readonly string[] };

const MECHANISMS: { readonly [N in MemoryMechanism['name']]: (settings: MechanismSettings, ctx: ProgramContext) => MemoryMechanism } = {
  xl: createXl,
  libvirt: createLibvirt,
  hugepages: createHugepages,
  none: (_settings, ctx) => new None(ctx),
};

/** Where Xen runs, its kernel says so. */
const XEN = '/proc/xen';

export function mechanismName(settings: Pick<NodeSettings, 'mechanism'>): MemoryMechanism['name'] {
  if (settings.mechanism !== 'auto') return settings.mechanism;
  return existsSync(XEN) ? 'xl' : 'none';
}

export interface MechanismChoice {
  /** The one by which memory was taken before; absent = what the settings say. */
  readonly name?: MemoryMechanism['name'];
  /** Whose pilot took it; absent = this account. */
  readonly owner?: number;
}

/** @throws PilotError actionFailed when `owner` could not have changed memory */
export function createMechanism(settings: NodeSettings, ctx: ProgramContext, { name, owner }: MechanismChoice = {}): MemoryMechanism {
  const chosen = name ?? mechanismName(settings);
  const uid = process.getuid?.() ?? 0;
  const become = chosen === 'none' ? [] : becomeRoot(settings.sudo, uid, owner ?? uid);
  const mechanism = MECHANISMS[chosen]({ ...settings, become }, ctx);
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
