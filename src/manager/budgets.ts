/**
 * What the policies leave to users, inside a transaction. Opened with the lock, nobody else grants anything to these users, or
 * under the policies that they share with others, before the transaction ends: what was decided is true when it is committed.
 */
import { reservedMinutes } from '../accounting/charge.ts';
import { allowedZones, CONFIGURATION, counts, decide, refusal, take, type Decision } from '../authorization/decide.ts';
import { DEFAULT_PERIOD_DAYS, type Bounds } from '../authorization/settings.ts';
import type { Applied, Ask, AskPart, Policy, Use } from '../authorization/types.ts';
import { Fault } from '../lease/faults.ts';
import type { Config } from '../platform/config.ts';
import type { Queryable } from '../store/db.ts';
import { appliedPolicies, runningMinutes, type AccountUse, type AppliedPolicy, type PolicyUse } from '../store/policies.ts';
import type { Order, ResolvedRequest } from './resolved.ts';

const DAY_MS = 86_400_000;

export interface Budgets {
  decide(accountId: number, ask: Ask): Promise<Decision>;
  /** Leases for each part of an ask that is allowed. */
  counts(accountId: number, ask: Ask): number[];
  /** Zones that are allowed; null = all. */
  zones(accountId: number, site: readonly string[]): string[] | null;
  /** What was granted counts for the next order. */
  take(accountId: number, ask: Ask, granted: readonly number[]): void;
  /** The policies of a user, with what they count. */
  of(accountId: number): readonly Applied[];
}

/** `key`: of the row that says what the policy counts; null = the configuration's. */
interface Counted extends Applied {
  readonly key: string | null;
}

/** An account with its policies: its template or the default one, its groups, the site's. */
interface Held {
  readonly account: AccountUse;
  readonly policies: readonly AppliedPolicy[];
}

const policiesOf = ({ template, groups }: AccountUse, all: readonly AppliedPolicy[]): AppliedPolicy[] => all.filter((p) => p.kind === 'site' || p.id === template || groups.includes(p.id));

interface At {
  readonly now: number;
  readonly kind: Ask['kind'];
  /** False: for who only looks. */
  readonly lock: boolean;
}

export async function openBudgets(q: Queryable, config: Config, accountIds: readonly number[], at: At): Promise<Budgets> {
  const [found] = await q.query(appliedPolicies, [[...new Set(accountIds)], firstDay(at.now, 1), DEFAULT_PERIOD_DAYS, at.lock]);
  const rows = (found?.accounts ?? []).map((account): Held => ({ account, policies: policiesOf(account, found?.policies ?? []) }));
  const applied = applyPolicies(config, at.kind, rows);
  const of = (accountId: number): readonly Applied[] => {
    const all = applied.get(accountId);
    if (all === undefined) throw new Fault('AuthFailure', 'the user has just been removed');
    return all;
  };

  /** Adding up what live leases have used so far costs something; most are far from the limit whatever it comes to. */
  async function lookUpRunning(): Promise<void> {
    const exact = await readRunning(q, config, at.now, rows);
    for (const [account, all] of applied) {
      applied.set(account, all.map((a) => (a.key === null ? a : { ...a, runningMinutes: exact.get(a.key) ?? a.runningMinutes })));
    }
  }

  return {
    of,
    async decide(accountId, ask) {
      const first = decide(of(accountId), ask);
      if (at.lock && !first.checks.some((c) => c.bound === 'used_minutes' && !c.ok)) return first;
      await lookUpRunning();
      return decide(of(accountId), ask);
    },
    counts: (accountId, ask) => counts(of(accountId), ask),
    zones: (accountId, site) => allowedZones(of(accountId), site),
    take: (accountId, ask, granted) => take(of(accountId), ask.parts, granted),
  };
}

const keyOf = (policy: { id: number; kind: string }, accountId: number): string => (policy.kind === 'template' ? `${policy.id} ${accountId}` : String(policy.id));

/** Of policies that bound used minutes. */
async function readRunning(q: Queryable, config: Config, now: number, rows: readonly Held[]): Promise<ReadonlyMap<string, number>> {
  const asked = new Map<string, object>();
  for (const { account: { account_id: account }, policies } of rows) {
    for (const p of policies) {
      if ((p.bounds as Bounds).used_minutes !== undefined) asked.set(keyOf(p, account), { key: keyOf(p, account), kind: p.kind, policy: p.id, account });
    }
  }
  if (asked.size === 0) return new Map();
  return new Map((await q.query(runningMinutes, [JSON.stringify([...asked.values()]), new Date(now), chargeStep(config)])).map((r) => [r.key, r.minutes]));
}

/** Minutes that charges are rounded up to a multiple of. */
export const chargeStep = (config: Config): number => Math.max(1, Math.ceil(config.accounting.charge_granularity / 60));

/** A period of one day is today, UTC. */
export const firstDay = (now: number, days: number): string => new Date(now - (days - 1) * DAY_MS).toISOString().slice(0, 10);

function applyPolicies(config: Config, kind: Ask['kind'], rows: readonly Held[]): Map<number, Counted[]> {
  const uses = new Map<AppliedPolicy, Use>();
  const configuration: Policy = { name: CONFIGURATION, kind: 'template', bounds: configBounds(config, kind) };
  return new Map(rows.map(({ account, policies }) => {
    const own = useOf(account);
    const all = policies.map((p): Counted => {
      const use = p.kind === 'template' ? own : uses.get(p) ?? useOf(p.use);
      uses.set(p, use);
      const closedMinutes = (p.kind === 'template' ? account : p.use)?.closed_minutes ?? 0;
      return { key: keyOf(p, account.account_id), policy: { name: p.name, kind: p.kind, bounds: p.bounds as Bounds }, use, closedMinutes, runningMinutes: null };
    });
    return [account.account_id, [{ key: null, policy: configuration, use: own, closedMinutes: 0, runningMinutes: null }, ...all]];
  }));
}

const useOf = (r: PolicyUse | null): Use => (
  { leases: r?.leases ?? 0, cores: r?.cores ?? 0, memoryMb: r?.memory_mb ?? 0, reservedMinutes: r?.reserved_minutes ?? 0 });

/** The longest time of the configuration is counted from now when a lease is extended, which `moveEnd` checks by itself. */
function configBounds({ lease }: Config, kind: Ask['kind']): Bounds {
  return kind === 'extend' ? {} : { leases: lease.max_per_user, group_size: lease.max_group, duration: lease.max_duration };
}

/** Who does not say how long gets the site's default, or what his policies allow of it. */
export function withinDuration(order: Order, applied: readonly Applied[]): Order {
  const longest = Math.min(...applied.map((a) => a.policy.bounds.duration ?? Infinity));
  const within = (r: ResolvedRequest): ResolvedRequest => (r.durationAsked || r.durationS <= longest ? r : { ...r, durationS: longest });
  const [first, ...others] = order;
  return [within(first), ...others.map(within)];
}

export function askOf(config: Config, order: Order, zones: readonly string[]): Ask {
  const part = (r: ResolvedRequest): AskPart => ({
    minCount: r.minCount, maxCount: r.maxCount, cores: r.resources.cores, memoryMb: r.resources.memoryMb,
    minutes: reservedMinutes(r.durationS, true, config.accounting.charge_granularity), durationS: r.durationS,
    image: { id: r.image.id, name: r.image.name, owner: r.image.owner }, networks: r.networks.map((n) => n.name), zone: r.zone, type: r.type,
  });
  const [first, ...others] = order;
  return { kind: 'create', user: first.who, parts: [part(first), ...others.map(part)], zones };
}

/** @throws Fault when some policy refuses */
export function requireAllowed(decision: Decision, kind: Ask['kind']): void {
  if (!decision.allowed) throw refusal(decision, kind);
}
