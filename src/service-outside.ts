/** A site's own code, composed: its decision on requests, its accounting sinks. */
import { createSiteDecision, type SiteDecision } from './manager/site-decision.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import { startStep } from './platform/errors.ts';
import { createOutside, isNamed, type Outside, type OutsideConfig } from './platform/outside/index.ts';
import type { Db } from './store/db.ts';
import { createUsageSinks } from './workers/usage-sinks.ts';

type OnStop = (what: string, step: () => Promise<void> | void) => void;

/** A module that cannot be loaded is a mistake in the configuration. @throws StartError */
async function open(ctx: Context, section: string, c: OutsideConfig, exported: string): Promise<Outside> {
  const outside = createOutside(ctx, c, exported);
  await startStep(`${section}.module = "${c.module}" cannot be used`, () => outside.load?.()).catch(async (e: unknown) => {
    await outside.close();
    throw e;
  });
  return outside;
}

export async function siteDecision(ctx: Context, config: Config, db: Db, onStop: OnStop): Promise<SiteDecision | undefined> {
  const c = config.authorization;
  if (!isNamed(c)) return undefined;
  const outside = await open(ctx, 'authorization', c, 'decide');
  onStop('site decision', () => outside.close());
  return createSiteDecision({ ctx, db, outside, onFailure: c.on_failure });
}

export async function startUsageSinks(ctx: Context, config: Config, db: Db, onStop: OnStop): Promise<void> {
  const sinks = await Promise.all(Object.entries(config.usage_sinks).map(async ([name, c]) => (
    { name, outside: await open(ctx, `usage_sinks.${name}`, c, 'receive'), deadlineMs: c.deadline_ms, keep: c.keep })));
  const worker = createUsageSinks(ctx, db, sinks);
  onStop('usage sinks', () => worker.stop());
  await worker.start();
}
