/** The running service, as administrators look at it. */
import { examine } from './doctor/index.ts';
import { batchSite } from './doctor/site.ts';
import type { Finding } from './doctor/types.ts';
import type { BatchSystemView } from './manager/admin-types.ts';
import { commandEnvironment, localRunner } from './pilot/lrm/runner.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import { VERSION } from './platform/version.ts';
import type { PilotMode } from './service-pilot.ts';
import type { Db } from './store/db.ts';

export async function lookAtAll(ctx: Context, config: Config, db: Db, pilotMode: PilotMode | undefined): Promise<Finding[]> {
  const reached = pilotMode?.reached() ?? null;
  return examine({
    ctx, config, db, version: VERSION, serving: true, local: localRunner(ctx.clock, commandEnvironment(process.env)),
    batch: reached === null ? null : await batchSite(ctx.clock, config, reached.lrm, [reached.contact]),
  });
}

export function batchSystemView(pilotMode: PilotMode): BatchSystemView {
  const [facts, status] = [pilotMode.borrowing.facts(), pilotMode.status()];
  return {
    name: facts === null ? null : `${facts.flavour} ${facts.version}`, nodes: facts?.nodes ?? null, graceS: facts?.graceS ?? null,
    lastListed: status?.lastListed ?? null, listMs: status?.listMs ?? null, lastFailure: status?.lastFailure ?? null,
  };
}
