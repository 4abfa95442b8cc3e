/** What would become of a request: the same look-ups, policies and decision as a create has, without locks and without leases. */
import type { AccountRow } from '../../store/users.ts';
import type { ExplainedRequest, Explanation } from '../admin-types.ts';
import { askOf, openBudgets, withinDuration } from '../budgets.ts';
import { lookUp } from '../resolve.ts';
import type { Order } from '../resolved.ts';
import { siteCases } from '../site.ts';
import type { Caller } from '../types.ts';
import type { AdminDeps } from './deps.ts';

export type PolicyDeps = Pick<AdminDeps, 'ctx' | 'db' | 'config' | 'decision'>;

export async function explain(deps: PolicyDeps, admin: Caller, account: AccountRow, request: ExplainedRequest): Promise<Explanation> {
  const { ctx, db, config } = deps;
  const caller: Caller = { accountId: account.id, name: account.name, ownerId: account.owner_id, requestId: admin.requestId, door: 'admin', admin: account.admin };
  const asked: Order = [await lookUp(deps, caller, request)];
  const budgets = await openBudgets(db, config, [account.id], { now: ctx.clock.now(), lock: false, kind: 'create' });
  const order = withinDuration(asked, budgets.of(account.id));
  const zones = (await siteCases(deps).zones()).map((z) => z.name);
  const ask = askOf(config, order, zones);
  const { allowed, checks } = await budgets.decide(account.id, ask);
  const site = await deps.decision?.explain(caller, asked) ?? null;
  return {
    user: account.name, checks, site, allowed: allowed && site?.allowed !== false,
    leases: allowed ? budgets.counts(account.id, ask)[0] ?? 0 : 0, durationS: order[0].durationS,
  };
}
