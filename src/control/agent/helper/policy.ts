/** What the privileged side may do. Under sudo it comes from a file that only root can write, so that no caller can widen it. */
import { constants, fstatSync, openSync, closeSync, readFileSync } from 'node:fs';
import { AgentFault } from '../fault.ts';
import { findPrograms } from '../drivers/qemu/programs.ts';
import type { Programs } from '../drivers/qemu/programs.ts';
import { bad, fieldsOf, integer, list, optional, record, text } from '../validate.ts';
import type { Check } from '../validate.ts';

export interface UidRange {
  readonly first: number;
  readonly count: number;
}

export interface HostPolicy {
  /** VMs live in directories below these. */
  readonly stateDirs: readonly string[];
  /** Bridges that VMs may join; `null` = any. */
  readonly bridges: readonly string[] | null;
  /** Uids for VMs, one each; `null` = VMs run as the agent. */
  readonly uids: UidRange | null;
  /** Directory whose pages back the memory of VMs, e.g. a hugetlbfs; `null` = ordinary pages. */
  readonly memPath: string | null;
  readonly programs: Programs;
}

export const POLICY_FILE = '/etc/nimbus/helper.json';

/** No distribution and no container manager uses these (systemd, "Users, Groups, UIDs and GIDs"). */
export const DEFAULT_UIDS: UidRange = { first: 1_879_048_192, count: 1_000_000 };
/** Below are the system's own accounts. */
const LEAST_UID = 1000;

export const absolute = text(4096, /^\/(?!\/)/);
/** IFNAMSIZ (linux/if.h): 15 characters. */
export const bridgeName = text(15, /^[A-Za-z0-9][A-Za-z0-9._-]*$/);
export const uidRange = record<UidRange>({ first: integer(LEAST_UID, 2 ** 31 - 1), count: integer(1, 2 ** 31) });
export const programPaths: Check<Partial<Programs>> = record<Partial<Programs>>({
  qemu: optional(absolute), qemuImg: optional(absolute), ip: optional(absolute), prlimit: optional(absolute), env: optional(absolute),
  setpriv: optional(absolute),
});

interface PolicyFile {
  readonly stateDirs: readonly string[];
  readonly bridges?: readonly string[];
  readonly uids?: UidRange;
  readonly memPath?: string;
  readonly programs?: Partial<Programs>;
}
const KEYS = ['stateDirs', 'bridges', 'uids', 'memPath', 'programs'];
const policyFile = record<PolicyFile>({
  stateDirs: list(absolute, 64),
  bridges: optional(list(bridgeName, 256)),
  uids: optional(uidRange),
  memPath: optional(absolute),
  programs: optional(programPaths),
});

/** @throws AgentFault NotPermitted, BadRequest */
export function readPolicy(file: string): HostPolicy {
  const given = parse(readRootOwned(file), file);
  const unknown = Object.keys(fieldsOf(given, file)).filter((key) => !KEYS.includes(key));
  if (unknown.length > 0) bad(file, `has unknown keys: ${unknown.join(', ')}`);
  const { stateDirs, bridges, uids, memPath, programs } = policyFile(given, file);
  return { stateDirs, bridges: bridges ?? [], uids: uids ?? DEFAULT_UIDS, memPath: memPath ?? null, programs: findPrograms(programs ?? {}) };
}

function readRootOwned(file: string): string {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (e) {
    throw new AgentFault('NotPermitted', `${file} cannot be read: ${(e as NodeJS.ErrnoException).code ?? String(e)}`);
  }
  try {
    const { uid, mode } = fstatSync(fd);
    if (uid !== 0 || (mode & 0o022) !== 0) throw new AgentFault('NotPermitted', `${file} must belong to root and be writable by nobody else`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function parse(content: string, file: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return bad(file, 'is no JSON');
  }
}
