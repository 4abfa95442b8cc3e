/** Policies of a test site, as administrators set them. */
import { policyAdministration } from '../../src/manager/admin/policies.ts';
import type { AdminManager, PolicyChange } from '../../src/manager/admin-types.ts';
import type { SiteDecision } from '../../src/manager/site-decision.ts';
import type { Bounds, PolicyKind } from '../../src/authorization/settings.ts';
import type { TestSite } from './site.ts';

export interface SitePolicies {
  readonly admin: AdminManager['policies'];
  set(name: string, bounds: Bounds | PolicyChange['bounds'], kind?: PolicyKind): Promise<void>;
  assign(name: string, ...users: string[]): Promise<void>;
}

export function policiesOf({ ctx, db, config }: TestSite, decision?: SiteDecision): SitePolicies {
  const admin = policyAdministration({ ctx, db, config, decision });
  return {
    admin,
    async set(name, bounds, kind) {
      await admin.set(name, { bounds, kind, replace: true });
    },
    async assign(name, ...users) {
      for (const user of users) await admin.assign(name, user);
    },
  };
}
