/** What the site offers. */
import type { LeaseType } from '../lease/types.ts';
import type { Config } from '../platform/config.ts';
import type { Db } from '../store/db.ts';
import { openBudgets } from './budgets.ts';
import { subnetId, USER_CIDR, USER_FREE } from '../network/mirror.ts';
import { networksOfZones, zonesOfNodes } from '../store/nodes-admin.ts';
import type { Context } from '../platform/context.ts';
import type { Manager, SubnetView } from './types.ts';

/** Sorted by size, smallest first; the order in which people read them. */
export function siteTypes(config: Config): readonly LeaseType[] {
  return Object.entries(config.types)
    .map(([name, t]) => ({ name, memoryMb: t.memory_mb, cores: t.cores, diskMb: t.disk_mb, networks: t.networks }))
    .sort((a, b) => a.memoryMb - b.memoryMb || a.cores - b.cores || (a.name < b.name ? -1 : 1));
}

/** A network in each zone that has a node on it. */
export async function siteSubnets({ db, config }: { readonly db: Db; readonly config: Config }): Promise<SubnetView[]> {
  const borrowed = config.scheduler.mode === 'pilot' ? config.pilot.zone : null;
  return (await db.query(networksOfZones, [borrowed])).map((s): SubnetView => ({
    id: subnetId(s.network, s.zone), network: s.network, kind: s.kind, zone: s.zone, available: s.available,
    cidr: s.kind === 'user' ? USER_CIDR : s.cidr, free: s.kind === 'user' ? USER_FREE : s.free, isDefault: s.network === config.lease.default_network,
  }));
}

export function siteCases(deps: { readonly ctx: Context; readonly db: Db; readonly config: Config }): Manager['site'] {
  const types = siteTypes(deps.config);
  return {
    async zones() {
      // Borrowed nodes are there when they are asked for.
      if (deps.config.scheduler.mode === 'pilot') return [{ name: deps.config.pilot.zone, available: true }];
      return (await deps.db.query(zonesOfNodes)).map((z) => ({ name: z.zone, available: z.available }));
    },
    subnets: () => siteSubnets(deps),
    types: () => types,
    defaultType: () => deps.config.lease.default_type,
    region: () => deps.config.site.region,
    async limits(caller) {
      const budgets = await openBudgets(deps.db, deps.config, [caller.accountId], { now: deps.ctx.clock.now(), lock: false, kind: 'create' });
      return { maxInstances: Math.min(...budgets.of(caller.accountId).map((a) => a.policy.bounds.leases ?? Infinity)) };
    },
  };
}
