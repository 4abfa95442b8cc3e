/** The leases of the site, however many. */
import type { LeaseView } from '../manager/types.ts';
import type { Env } from './env.ts';

const PAGE = 1000;

export async function allLeases(env: Env, o: { user?: string; all?: boolean }): Promise<LeaseView[]> {
  const found: LeaseView[] = [];
  for (;;) {
    const page = await env.client.get<LeaseView[]>('/v1/leases', { user: o.user, live: String(o.all !== true), limit: String(PAGE), after: found.at(-1)?.id });
    found.push(...page);
    if (page.length < PAGE) return found;
  }
}
