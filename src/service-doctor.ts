/** The running service, as administrators look at it. */
import type { ControlClient } from './control/types.ts';
import { examine } from './doctor/index.ts';
import { askNodes, ownNodes } from './doctor/nodes.ts';
import { batchSite } from './doctor/site.ts';
import type { DoctorSite, Finding } from './doctor/types.ts';
import type { BatchSystemView } from './manager/admin-types.ts';
import { commandEnvironment, localRunner } from './pilot/lrm/runner.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import { errorText } from './platform/errors.ts';
import { VERSION } from './platform/version.ts';
import type { PilotMode } from './service-pilot.ts';
import { isUnavailable, type Db } from './store/db.ts';

export interface Watched {
  readonly ctx: Context;
  readonly config: Config;
  readonly db: Db;
  readonly control: ControlClient;
  readonly places: DoctorSite['places'];
  readonly pilotMode: PilotMode | undefined;
}

/** Users are told to try again; who is to mend it, what the driver or PostgreSQL said. */
function whyAway(e: unknown): string {
  return isUnavailable(e) && e.cause instanceof Error ? `the database does not answer: ${e.cause.message}` : errorText(e);
}

export async function lookAtAll({ ctx, config, db, control, places, pilotMode }: Watched): Promise<Finding[]> {
  const reached = pilotMode?.reached() ?? null;
  // One sentence on a database that is away, not one of each check that needs it.
  const rows = await ownNodes(db).catch((e: unknown) => ({ missing: whyAway(e) }));
  const away = 'missing' in rows;
  return examine({
    ctx, config, db: away ? rows : db, places, nodes: away ? [] : await askNodes(ctx, rows, control), version: VERSION, serving: true, local: localRunner(ctx.clock, commandEnvironment(process.env)),
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
