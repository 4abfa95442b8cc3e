/** Puts the driver together: who starts QEMU (root itself, the helper, or nobody but the agent) and with what settings. */
import { join } from 'node:path';
import type { Clock } from '../../clock.ts';
import type { Driver } from '../../driver.ts';
import { DirectHost } from '../../helper/direct-host.ts';
import { lacksOf } from '../../helper/main.ts';
import { absolute, bridgeName, DEFAULT_UIDS, POLICY_FILE, programPaths, uidRange } from '../../helper/policy.ts';
import type { UidRange } from '../../helper/policy.ts';
import { SudoHost } from '../../helper/sudo-host.ts';
import { isMapped } from '../../helper/uids.ts';
import type { Log } from '../../log.ts';
import { bad, fieldsOf, list, nullable, optional, record, text } from '../../validate.ts';
import { QemuDriver } from './driver.ts';
import { NodeFacts } from './facts.ts';
import type { VmHost } from './host.ts';
import { ForwardPorts } from './ports.ts';
import { findPrograms } from './programs.ts';
import type { Programs } from './programs.ts';

export interface QemuDriverOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The agent's state directory, absolute: VMs' directories lie below it. */
  readonly stateDir: string;
  /** Where the choice of accelerator is kept for all agents of the account; absent = in the state directory. */
  readonly sharedDir?: string | undefined;
  readonly forwardPorts: readonly [number, number];
  /** The agent's configuration, keys `qemu` and `helper`, as they were read. */
  readonly settings: unknown;
  readonly helper: unknown;
  /** The agent runs in a job of a batch system: VMs stay in it. */
  readonly inJob?: boolean;
}

interface Settings {
  /** Address of the node that forwarded ports are bound to, and at which users reach them unless `reachHost` says another. */
  readonly bindAddress?: string;
  readonly reachHost?: string;
  /** Bridges that VMs may join; absent = any. Only for an agent that is root: the helper has its own list. */
  readonly bridges?: readonly string[];
  /** null = VMs run under the agent's uid */
  readonly uids?: UidRange | null;
  /** Directory whose pages back VMs' memory, e.g. /dev/hugepages; absent = ordinary pages. The helper has its own. */
  readonly memPath?: string;
  readonly programs?: Partial<Programs>;
}
const settingsOf = record<Settings>({
  bindAddress: optional(text(45, /^[0-9.]+$/)),
  reachHost: optional(text(253, /^[A-Za-z0-9][A-Za-z0-9.:-]*$/)),
  bridges: optional(list(bridgeName, 256)),
  uids: optional(nullable(uidRange)),
  memPath: optional(absolute),
  programs: optional(programPaths),
});
const SETTINGS = ['bindAddress', 'reachHost', 'bridges', 'uids', 'memPath', 'programs'];

interface HelperSettings {
  /** Argument vector; absent = no helper. */
  readonly command?: readonly string[];
}
const helperOf = record<HelperSettings>({ command: optional(list(text(4096), 16)) });

/** QEMU's path by the agent's configuration, key `qemu`; a bare name where it is not found. @throws AgentFault BadRequest */
export const qemuProgram = (settings: unknown): string => findPrograms(settingsOf(known(settings, 'qemu', SETTINGS), 'qemu').programs ?? {}).qemu;

/** @throws AgentFault BadRequest when the settings are wrong */
export function createQemuDriver(o: QemuDriverOptions): Driver {
  const settings = settingsOf(known(o.settings, 'qemu', SETTINGS), 'qemu');
  const helper = helperOf(known(o.helper, 'helper', ['command']), 'helper');
  const programs = findPrograms(settings.programs ?? {});
  const host = hostFor(o, settings, helper, programs);
  const bindAddress = settings.bindAddress ?? '127.0.0.1';
  const facts = new NodeFacts({ clock: o.clock, log: o.log, programs, host, acceleratorFile: join(o.sharedDir ?? o.stateDir, 'accelerator.json'), workDir: o.stateDir });
  return new QemuDriver({
    clock: o.clock, log: o.log, host, programs, facts,
    ports: new ForwardPorts(o.forwardPorts, bindAddress), bindAddress, reachHost: settings.reachHost ?? bindAddress,
  });
}

function hostFor({ clock, log, stateDir, inJob = false }: QemuDriverOptions, settings: Settings, helper: HelperSettings, programs: Programs): VmHost {
  const agent = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const isRoot = agent.uid === 0;
  if (!isRoot && helper.command !== undefined && helper.command.length > 0) {
    if (inJob) bad('helper.command', 'cannot be used in a job: sudo would start VMs outside of it');
    if (settings.memPath !== undefined) bad('qemu.memPath', `has no effect beside helper.command: set "memPath" in ${POLICY_FILE}`);
    return new SudoHost({ clock, command: helper.command });
  }
  // A batch system may count, limit and end by uid: in a job VMs run under the job's own.
  const wanted = settings.uids === undefined ? (inJob ? null : DEFAULT_UIDS) : settings.uids;
  const uids = isRoot && wanted !== null && isMapped(wanted) ? wanted : null;
  if (isRoot && wanted !== null && uids === null) log.warn('VMs run under the agent\'s own uid: the uids for VMs do not exist here', { ...wanted });
  const policy = { stateDirs: [stateDir], bridges: settings.bridges ?? null, uids, memPath: settings.memPath ?? null, programs };
  return new DirectHost({ clock, policy, agent, isRoot, inJob, lacks: lacksOf(policy) });
}

/** A misspelt key must not pass for a setting. */
function known(value: unknown, at: string, keys: readonly string[]): unknown {
  const unknown = Object.keys(fieldsOf(value, at)).filter((key) => !keys.includes(key));
  return unknown.length === 0 ? value : bad(at, `has unknown keys: ${unknown.join(', ')}; known are ${keys.join(', ')}`);
}
