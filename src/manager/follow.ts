/** What follows the commit of a change of leases. */
import type { ManagerDeps } from './deps.ts';
import type { Effects } from './transitions.ts';

export function follow(deps: ManagerDeps, effects: Effects): void {
  for (const r of effects.released) deps.pool.giveBack([r.nodeId], r);
  if (effects.intents.length > 0) deps.handOver(effects.intents);
  if (effects.borrowed) deps.borrowing?.wake();
}
