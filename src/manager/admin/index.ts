/** What administrators do, composed. */
import type { AdminManager } from '../admin-types.ts';
import { breakdownAdministration } from './breakdown.ts';
import type { AdminDeps } from './deps.ts';
import { eventAdministration } from './events.ts';
import { imageAdministration } from './images.ts';
import { networkAdministration } from './networks.ts';
import { nodeAdministration } from './nodes.ts';
import { policyAdministration } from './policies.ts';
import { slotAdministration } from './slots.ts';
import { usageAdministration } from './usage.ts';
import { userCertificates } from './certificates.ts';
import { userAdministration } from './users.ts';
import { workAdministration } from './work.ts';

export function createAdminManager(deps: AdminDeps): AdminManager {
  return {
    users: { ...userAdministration(deps), ...userCertificates(deps) },
    nodes: nodeAdministration(deps),
    images: imageAdministration(deps),
    networks: networkAdministration(deps),
    slots: slotAdministration(deps),
    breakdown: breakdownAdministration(deps),
    work: workAdministration(deps),
    policies: policyAdministration(deps),
    usage: usageAdministration(deps),
    processes: { list: () => deps.processes?.list() ?? Promise.resolve([]) },
    events: eventAdministration(deps),
  };
}
