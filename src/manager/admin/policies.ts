/**
 * Policies and who they are assigned to. What is changed here holds for the next request, whichever process takes it. A policy is
 * locked before an account, as creates do.
 */
import { periodDays, type Bounds } from '../../authorization/settings.ts';
import { Fault } from '../../lease/faults.ts';
import { isName } from '../../lease/ids.ts';
import type { Queryable } from '../../store/db.ts';
import {
  allPolicies, assignPolicy, deletePolicy, dropTemplateOf, lockPolicy, policyUse, runningMinutes, unassignPolicy, usersOfPolicy, writePolicy, type PolicyRow,
} from '../../store/policies.ts';
import { accountByName, lockAccount, type AccountRow } from '../../store/users.ts';
import type { AdminManager, PolicyView } from '../admin-types.ts';
import { chargeStep, firstDay } from '../budgets.ts';
import { changedPolicy } from './policy-change.ts';
import { explain, type PolicyDeps } from './policy-explain.ts';

export function policyAdministration(deps: PolicyDeps): AdminManager['policies'] {
  const { ctx, db, config } = deps;
  const now = (): Date => new Date(ctx.clock.now());

  async function show(name: string): ReturnType<AdminManager['policies']['show']> {
    const row = (await db.query(allPolicies)).find((p) => p.name === name);
    if (row === undefined) throw unknown(name);
    if (row.kind === 'template') return { ...view(row), use: null };
    const bounds = row.bounds as Bounds;
    const [u] = await db.query(policyUse, [row.kind, row.id, firstDay(ctx.clock.now(), periodDays(bounds))]);
    const [running] = await db.query(runningMinutes, [JSON.stringify([{ key: name, kind: row.kind, policy: row.id }]), now(), chargeStep(config)]);
    const closed = u?.closed_minutes ?? 0;
    return {
      ...view(row),
      use: {
        leases: u?.leases ?? 0, cores: u?.cores ?? 0, memoryMb: u?.memory_mb ?? 0,
        reservedMinutes: closed + (u?.reserved_minutes ?? 0), usedMinutes: closed + (running?.minutes ?? 0),
      },
    };
  }

  return {
    list: async () => (await db.query(allPolicies)).map(view),
    show,

    async set(name, change) {
      await db.transaction(async (tx) => {
        const [before] = isName(name) ? await tx.query(lockPolicy, [name]) : [];
        const { kind, description, bounds } = changedPolicy(name, change, before);
        checkUnused(name, kind, before);
        await tx.query(writePolicy, [name, kind, description, JSON.stringify(bounds), now()]);
      });
      return show(name);
    },

    async remove(name) {
      await db.transaction(async (tx) => {
        const policy = await locked(tx, name);
        const users = await tx.query(usersOfPolicy, [policy.id]);
        if (users.length > 0) throw new Fault('PolicyInUse', `The policy ${name} is assigned to users: unassign it first`, users.map((u) => `user ${u.name} has it`));
        await tx.query(deletePolicy, [policy.id]);
      });
    },

    assign: (name, user) => db.transaction(async (tx) => {
      const policy = await locked(tx, name);
      const account = await lockedAccount(tx, user);
      if (policy.kind === 'site') throw new Fault('ParameterInvalid', 'The policy site holds for every user; it is assigned to none');
      const [had] = policy.kind === 'template' ? await tx.query(dropTemplateOf, [account.id]) : [];
      const made = await tx.query(assignPolicy, [account.id, policy.id, policy.kind === 'template']);
      const instead = had === undefined || had.name === name ? null : had.name;
      return { policy: name, user, instead, changed: made.length > 0 && had?.name !== name };
    }),

    unassign: (name, user) => db.transaction(async (tx) => {
      const policy = await locked(tx, name);
      const account = await lockedAccount(tx, user);
      const gone = await tx.query(unassignPolicy, [account.id, policy.id]);
      return { policy: name, user, instead: null, changed: gone.length > 0 };
    }),

    async explain(caller, user, request) {
      const [account] = isName(user) ? await db.query(accountByName, [user]) : [];
      if (account === undefined) throw new Fault('UserNotFound', `No user is named ${user.slice(0, 64)}`);
      return explain(deps, caller, account, request);
    },
  };
}

const view = ({ name, kind, description, bounds, users, changed_at: changedAt }: PolicyRow & { users: string[] }): PolicyView => (
  { name, kind, description, bounds: bounds as Bounds, users, changedAt });

const unknown = (name: string): Fault => new Fault('PolicyNotFound', `No policy is named ${name.slice(0, 64)}`);

async function locked(tx: Queryable, name: string): Promise<PolicyRow> {
  const [policy] = isName(name) ? await tx.query(lockPolicy, [name]) : [];
  if (policy === undefined) throw unknown(name);
  return policy;
}

async function lockedAccount(tx: Queryable, name: string): Promise<AccountRow> {
  const [account] = isName(name) ? await tx.query(lockAccount, [name]) : [];
  if (account === undefined) throw new Fault('UserNotFound', `No user is named ${name.slice(0, 64)}`);
  return account;
}

/** What counts each alone and what counts all together are not made of each other while somebody has them. */
function checkUnused(name: string, kind: PolicyRow['kind'], before: (PolicyRow & { users: number }) | undefined): void {
  if (before === undefined || before.kind === kind || before.users === 0) return;
  throw new Fault('PolicyInUse', `The policy ${name} is a ${before.kind} and assigned to users: unassign it first`, [before.users === 1 ? 'one user has it' : `${before.users} users have it`]);
}
