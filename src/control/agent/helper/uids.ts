/** A uid for each VM, derived from its lease so that no table of them is needed; siblings' uids are avoided. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FILES } from '../drivers/qemu/launch.ts';
import { AgentFault } from '../fault.ts';
import type { UidRange } from './policy.ts';

const ATTEMPTS = 64;

export const uidOf = (lease: string, attempt: number, { first, count }: UidRange): number =>
  first + (createHash('sha256').update(`${lease} ${attempt}`).digest().readUInt32BE(0) % count);

/**
 * Gives the VM (`claim`: chown of its disk) the first of its uids that no sibling holds. Whoever finds after the claim that
 * a sibling holds the same one moves on; both may, since their next uids differ.
 */
export async function claimUid(lease: string, range: UidRange, parent: string, claim: (uid: number) => Promise<void>): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const uid = uidOf(lease, attempt, range);
    if ((await siblingUids(lease, parent)).has(uid)) continue;
    await claim(uid);
    if (!(await siblingUids(lease, parent)).has(uid)) return uid;
  }
  throw new AgentFault('NotPermitted', `the uid range ${range.first}+${range.count} is too small for the VMs of this node`);
}

async function siblingUids(lease: string, parent: string): Promise<ReadonlySet<number>> {
  const names = (await readdir(parent)).filter((name) => name !== lease);
  const owners = await Promise.all(names.map((name) => lstat(join(parent, name, FILES.disk)).then((s) => s.uid, () => null)));
  return new Set(owners.filter((uid) => uid !== null));
}

/** Inside a user namespace only mapped uids exist (user_namespaces(7): lines of `inside outside count`). */
export function isMapped(range: UidRange, uidMap = readFileSync('/proc/self/uid_map', 'utf8')): boolean {
  return uidMap.trim().split('\n').some((line) => {
    const [inside, , count] = line.trim().split(/\s+/).map(Number);
    return inside !== undefined && count !== undefined && range.first >= inside && range.first + range.count <= inside + count;
  });
}
