/** What users set of a lease that exists: its protection, its security groups, what its own exit means, and while it is stopped its user data and its type. */
import type { AskPart } from '../authorization/types.ts';
import { Fault } from '../lease/faults.ts';
import { ec2State } from '../lease/states.ts';
import type { LeaseType } from '../lease/types.ts';
import { DEFAULT_GROUP_NAME, defaultGroupId } from '../network/mirror.ts';
import type { Queryable } from '../store/db.ts';
import { leaseAttributes, setLeaseAttributes, type AttributesRow } from '../store/lease-attributes.ts';
import { insertEvents, type LockedLease } from '../store/leases.ts';
import { changeNodeUse, lockNodes } from '../store/nodes.ts';
import { openBudgets, requireAllowed } from './budgets.ts';
import type { ManagerDeps } from './deps.ts';
import { accountOf, checkIds, lockNamed, notFound } from './named-leases.ts';
import { MOST_USER_DATA, securityGroupsFor } from './resolve.ts';
import { holdGroups } from './security-groups.ts';
import { siteTypes } from './site.ts';
import type { AttributeChange, Caller, LeaseAttributes, Manager } from './types.ts';

export function attributeCases(deps: ManagerDeps): Pick<Manager['leases'], 'attributes' | 'setAttributes'> {
  return {
    async attributes(caller, id) {
      return view(await read(deps.db, caller, id));
    },
    async setAttributes(caller, id, change, options) {
      const ids = checkIds([id]);
      if (change.type !== undefined) await deps.decision?.resize(caller, id, typeCalled(deps, change.type));
      await deps.db.transaction(async (tx) => {
        const lease = (await lockNamed(tx, caller, ids)).get(id) as LockedLease;
        await apply(deps, tx, caller, lease, change);
        // Thrown inside, so that what was tried is rolled back.
        if (options?.dryRun === true) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
      });
      if (change.type !== undefined) deps.pool.invalidate();
    },
  };
}

async function read(q: Queryable, caller: Caller, id: string): Promise<AttributesRow> {
  const [row] = await q.query(leaseAttributes, [...checkIds([id]), accountOf(caller)]);
  if (row === undefined) throw notFound([id]);
  return row;
}

const view = (r: AttributesRow): LeaseAttributes => (
  { id: r.id, type: r.type, userData: r.user_data, endProtected: r.end_protected, stopProtected: r.stop_protected, rests: r.rests });

async function apply(deps: ManagerDeps, tx: Queryable, caller: Caller, lease: LockedLease, change: AttributeChange): Promise<void> {
  if (lease.final || lease.state === 'Ending') throw refused(lease, 'is over: nothing of it can be changed');
  if (Object.keys(change).length === 0) return;
  if ((change.userData?.length ?? 0) > MOST_USER_DATA) throw new Fault('UserDataMalformed', `User data is limited to ${MOST_USER_DATA} bytes`);
  if (change.userData !== undefined) requireStopped(lease, 'user data');
  const groups = change.securityGroups === undefined ? null : await groupsOf(deps, tx, caller, lease, change.securityGroups);
  const type = change.type === undefined ? undefined : await resize(deps, tx, caller, lease, change.type);
  // No user data are an empty text: null would leave what stands.
  const userData = change.userData === undefined ? null : change.userData ?? Buffer.alloc(0);
  await tx.query(setLeaseAttributes, [
    lease.id, change.endProtected ?? null, change.stopProtected ?? null, change.rests ?? null, userData,
    type?.name ?? null, type?.memoryMb ?? null, type?.cores ?? null, groups === null ? null : JSON.stringify(groups),
  ]);
  await tx.query(insertEvents, [JSON.stringify([{
    lease_id: lease.id, at: new Date(Math.max(deps.ctx.clock.now(), lease.created_at)).toISOString(), from_state: lease.state, to_state: lease.state, trigger: 'changed',
    who: caller.name, why: sentence(change), request_id: caller.requestId,
  }])]);
}

/** User data are not for a trail: they may hold secrets. */
function sentence(c: AttributeChange): string {
  const told = [
    c.endProtected === undefined ? '' : `${c.endProtected ? 'protected' : 'not protected'} from its end`,
    c.stopProtected === undefined ? '' : `${c.stopProtected ? 'protected' : 'not protected'} from being stopped`,
    c.rests === undefined ? '' : `${c.rests ? 'rests' : 'ends'} when its guest powers off`,
    c.userData === undefined ? '' : 'other user data',
    c.type === undefined ? '' : `of the type ${c.type}`,
    c.securityGroups === undefined ? '' : `in the security groups ${c.securityGroups.join(', ')}`,
  ];
  return told.filter((t) => t !== '').join(', ');
}

/** Its owner's, held to the commit; an instance is always in one. */
async function groupsOf(deps: ManagerDeps, tx: Queryable, caller: Caller, lease: LockedLease, asked: readonly string[]): Promise<ReadonlyArray<{ readonly id: string; readonly name: string }>> {
  const { account_id: accountId, owner_id: ownerId } = await read(tx, caller, lease.id);
  const groups = await securityGroupsFor({ db: tx, config: deps.config }, { accountId, ownerId }, asked) ?? [{ id: defaultGroupId(ownerId), name: DEFAULT_GROUP_NAME }];
  await holdGroups(tx, groups);
  return groups;
}

const refused = (lease: LockedLease, why: string): Fault => new Fault('StateRefused', `The instance '${lease.id}' ${why}.`, [`it is ${lease.state}`]);

/** Its disk is kept and no VM of it is there: what it is made of at its next start can be changed. */
function requireStopped(lease: LockedLease, what: string): void {
  const rests = lease.state === 'Propagated' && (ec2State(lease.state, lease.running_at !== null) === 'stopped' || lease.target !== null);
  if (!rests) throw refused(lease, `is not in the 'stopped' state; its ${what} can be changed only then`);
}

/** @throws Fault TypeUnknown */
function typeCalled({ config }: ManagerDeps, name: string): LeaseType {
  const types = siteTypes(config);
  const type = types.find((t) => t.name === name);
  if (type === undefined) throw new Fault('TypeUnknown', `Invalid value '${name.slice(0, 100)}' for InstanceType.`, [`the site offers ${types.map((t) => t.name).join(', ')}`]);
  return type;
}

/** Its disk lies on its node, so that is where the new size must fit. The room is taken at once, and is there at the next start. */
async function resize(deps: ManagerDeps, tx: Queryable, caller: Caller, lease: LockedLease, name: string): Promise<LeaseType> {
  requireStopped(lease, 'type');
  const row = await read(tx, caller, lease.id);
  const type = typeCalled(deps, name);
  if (lease.slot_node_id !== null) throw new Fault('Unsupported', 'The node of this instance is borrowed from the batch system for the size that it has; run a new one');
  const networks = type.networks.length > 0 ? type.networks : [deps.config.lease.default_network];
  if (networks.join() !== row.nics.map((n) => n.network).join()) {
    throw new Fault('Unsupported', `The type ${name} joins other networks than the instance; run a new one`, [`${name}: ${networks.join(', ')}`, `the instance: ${row.nics.map((n) => n.network).join(', ')}`]);
  }
  if (type.diskMb > row.disk_mb) throw new Fault('Unsupported', `The type ${name} has a larger disk, and disks do not grow; run a new one`, [`${name}: ${type.diskMb} MiB`, `the instance: ${row.disk_mb === 0 ? 'as large as its image' : `${row.disk_mb} MiB`}`]);
  const more = { memory: type.memoryMb - lease.memory_mb, cores: type.cores - lease.cores };
  await requireWithinPolicies(deps, tx, lease, type, more);
  await takeRoom(tx, lease, more);
  return type;
}

const RESIZED = new Set(['cores', 'memory_mb', 'types']);

/** Of the policies what has to do with a size; a smaller one is always within them. */
async function requireWithinPolicies(deps: ManagerDeps, tx: Queryable, lease: LockedLease, type: LeaseType, more: { memory: number; cores: number }): Promise<void> {
  const budgets = await openBudgets(tx, deps.config, [lease.account_id], { now: deps.ctx.clock.now(), lock: true, kind: 'create' });
  const part: AskPart = {
    minCount: 1, maxCount: 1, cores: Math.max(0, more.cores), memoryMb: Math.max(0, more.memory), minutes: 0, durationS: 0,
    image: { id: '', name: '', owner: null }, networks: [], zone: null, type: type.name,
  };
  const { checks } = await budgets.decide(lease.account_id, { kind: 'create', user: '', parts: [part], zones: [] });
  const ofSize = checks.filter((c) => RESIZED.has(c.bound) && (c.bound === 'types' || c.asked !== 0));
  requireAllowed({ allowed: ofSize.every((c) => c.ok), checks: ofSize }, 'create');
}

async function takeRoom(tx: Queryable, lease: LockedLease, more: { memory: number; cores: number }): Promise<void> {
  const [node] = await tx.query(lockNodes, [[lease.node_id]]);
  if (node === undefined) throw refused(lease, 'is on no node');
  const free = { memory: node.memory_mb - node.memory_used, cores: node.cores - node.cores_used };
  if (more.memory > free.memory || more.cores > free.cores) {
    throw new Fault('NoCapacity', 'The disk of the instance is on a node that has no room for this type', [
      `${node.name} has ${free.memory} MiB and ${free.cores} cores free; ${more.memory} MiB and ${more.cores} cores more are needed`]);
  }
  await tx.query(changeNodeUse, [[lease.node_id], [more.memory], [more.cores], false]);
}
