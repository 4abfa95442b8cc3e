/** What a site has besides leases: services, policies, a sink, grid clients, spot requests, images of users, security groups. */
import { createProcesses } from '../../src/manager/processes.ts';
import { statement } from '../../src/store/db.ts';
import { declareSinks } from '../../src/store/usage-sinks.ts';
import { policiesOf } from '../support/policies.ts';
import type { TestSite } from '../support/site.ts';

const names = statement<never>('up-names', `
  WITH dn AS (INSERT INTO account_dn (dn, account_id, created_at) SELECT '/O=Site/CN=' || name, id, now() FROM account)
  INSERT INTO account_certificate (fingerprint, account_id, subject, not_after, created_at)
  SELECT lpad(to_hex(id), 64, '0'), id, '/O=Site/CN=' || name, now() + interval '1 year', now() FROM account`);

/** Before the leases are made, which it counts and tells of. */
export async function rules(site: TestSite): Promise<void> {
  const { db, ctx } = site;
  await db.query(names);
  await db.query(declareSinks, [['billing'], new Date(ctx.clock.now())]);
  const policies = policiesOf(site);
  await policies.set('class', { leases: 200, reserved_minutes: 10_000_000, period: '7d', may_extend: true });
  await policies.set('lab', { cores: 1000 }, 'group');
  await policies.set('site', { used_minutes: 1_000_000, types: ['*'] }, 'site');
  await policies.assign('class', 'alice');
  await policies.assign('lab', 'alice', 'bob');
  const processes = createProcesses({ ctx, db, host: 'host', pid: 1, dataDir: '/data', session: 'up', onChange: () => undefined });
  await processes.join();
  await processes.open({ ec2: 'http://host:8773', pilots: null });
  await processes.take('batch-system');
}

const request = (token: string, ensemble: 'new' | { join: string } | null) => ({
  minCount: 1, maxCount: 1, image: 'guest', clientToken: token,
  grid: { name: 'http://example/workspace', nics: ['eth0'], architecture: 'x86', cores: false, target: null, saveAs: null, ensemble },
});

/** What clients of every kind do on a day; `day` tells one from another. */
export async function dayOfOthers(site: TestSite, day: string): Promise<void> {
  const { manager, alice, bob } = site;
  const group = await manager.securityGroups.create(alice, { name: `web-${day}`, description: 'web' }, { tags: { day } });
  await manager.securityGroups.authorize(alice, { group: group.id, egress: false, rules: [{ protocol: 'tcp', fromPort: 80, toPort: 80, peer: { cidr: '0.0.0.0/0' } }] });

  const [gathered] = await manager.workspaces.create(bob, request(`gathered-${day}`, 'new'));
  const ensemble = gathered?.grid?.ensemble ?? '';
  await manager.workspaces.create(bob, request(`joined-${day}`, { join: ensemble }));
  await manager.workspaces.launch(bob, ensemble);
  await manager.workspaces.create(bob, request(`waits-${day}`, 'new'));
  const [one] = await manager.workspaces.create(alice, request(`alone-${day}`, null));
  await site.settled();
  const number = one?.number ?? 0;
  await manager.subscriptions.create(alice, number, { topic: 'currentState', consumer: { address: 'http://192.0.2.1/', properties: [] }, wrapped: true, endsAt: null });
  for (const to of ['serialize', 'start', 'shutdown'] as const) {
    await manager.workspaces.change(alice, { number }, { to });
    await site.settled();
  }

  const { leases: [source] } = await manager.leases.create(alice, { minCount: 1, maxCount: 1, image: 'guest', clientToken: `source-${day}` });
  await site.settled();
  const image = await manager.images.make(alice, source?.id ?? '', { name: `made-${day}`, description: 'of a VM', tags: { day }, live: true });
  await site.settled();
  await manager.images.change(alice, image, { grants: { add: [bob.ownerId], remove: [] } });
  await manager.leases.stop(alice, [source?.id ?? ''], { hard: true });

  await manager.spot.request(bob, { count: 2, price: 1, persistent: true, launch: { minCount: 1, maxCount: 1, image: 'guest' }, clientToken: `spot-${day}` }, { tags: { day } });
  await manager.work.spot();
  await site.settled();
  const [bid] = await manager.spot.list(bob);
  await manager.spot.cancel(bob, bid === undefined ? [] : [bid.id]);
}
