import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { siteCases } from '../../../src/manager/site.ts';
import type { NewNode } from '../../../src/manager/admin-types.ts';
import { configSchema } from '../../../src/platform/config.ts';
import { statement } from '../../../src/store/db.ts';
import { addAccount, addImage, addLease } from '../../support/rows.ts';
import { testContext } from '../../support/context.ts';
import { openSite, type Site } from './site.ts';

let site: Site;
let accountId: number;
let imageId: string;
beforeAll(async () => {
  site = await openSite();
  accountId = await addAccount(site.t.db, 'alice');
  imageId = await addImage(site.t.db, null, 'guest');
});
afterAll(() => site.close());

const ssh = { transport: 'ssh', host: 'node1.example.org', port: 22, user: 'nimbus', hostKey: 'ssh-ed25519 AAAA' } as const;
const node = (name: string, facts: Partial<NewNode> = {}): NewNode => ({ name, zone: 'default', memoryMb: 1024, cores: 4, networks: ['*'], access: ssh, ...facts });

describe('add', () => {
  test('lists the node, and the service looks at its nodes', async () => {
    const before = site.nodeChanges();
    const view = await site.admin.nodes.add(node('one'));
    expect(view).toMatchObject({
      name: 'one', transport: 'ssh', address: 'nimbus@node1.example.org:22', hostKey: 'ssh-ed25519 AAAA', memoryMb: 1024, memoryUsed: 0,
      leases: 0, networks: ['*'], active: true, reachable: false, lastSeen: null,
    });
    expect(await site.admin.nodes.list()).toContainEqual(view);
    expect(site.nodeChanges()).toBe(before + 1);
  });

  test('a local node shows its state directory', async () => {
    expect(await site.admin.nodes.add(node('local', { access: { transport: 'local', stateDir: '/var/lib/n', driver: 'auto' } })))
      .toMatchObject({ transport: 'local', address: '/var/lib/n', hostKey: null });
  });

  test('a taken name and unknown networks are refused', async () => {
    await site.admin.nodes.add(node('taken'));
    await expect(site.admin.nodes.add(node('taken'))).rejects.toMatchObject({ code: 'NodeExists' });
    await site.admin.networks.add({ name: 'known', kind: 'user', netmask: '24' });
    await expect(site.admin.nodes.add(node('new', { networks: ['known', 'unknown'] }))).rejects.toMatchObject({ code: 'NetworkNotFound', reasons: ['no network is named unknown'] });
    expect(await site.admin.nodes.add(node('new', { networks: ['known'] }))).toMatchObject({ networks: ['known'] });
  });
});

test('drain and activate', async () => {
  await site.admin.nodes.add(node('drained'));
  expect(await site.admin.nodes.setActive('drained', false)).toMatchObject({ active: false });
  expect(await site.admin.nodes.setActive('drained', true)).toMatchObject({ active: true });
  for (const name of ['nobody', 'x\0']) await expect(site.admin.nodes.setActive(name, true)).rejects.toMatchObject({ code: 'NodeNotFound' });
});

describe('remove', () => {
  test('is refused while the node holds leases or has work open, and names the leases', async () => {
    const { id } = await site.admin.nodes.add(node('holding'));
    const lease = await addLease(site.t.db, { accountId, imageId, nodeId: id });
    const ended = await addLease(site.t.db, { accountId, imageId, nodeId: id, ended: true });
    const openIntent = statement<never>('test-intent', `
      INSERT INTO intent (id, lease_id, node_id, kind, generation, created_at, next_at) VALUES ('op-1', $1, $2, 'remove', 1, now(), now())`);
    await site.t.db.query(openIntent, [ended, id]);
    await expect(site.admin.nodes.remove('holding')).rejects.toMatchObject({ code: 'NodeInUse', reasons: [lease, ended].sort().map((l) => `lease ${l} is on it`) });
    expect((await site.admin.nodes.list()).find((n) => n.name === 'holding')).toMatchObject({ leases: 1 });
  });

  test('takes a node with a history; its ended leases stay', async () => {
    const { id } = await site.admin.nodes.add(node('old'));
    const lease = await addLease(site.t.db, { accountId, imageId, nodeId: id, ended: true });
    const doneIntent = statement<never>('test-done-intent', `
      INSERT INTO intent (id, lease_id, node_id, kind, generation, state, created_at, next_at) VALUES ('op-2', $1, $2, 'remove', 1, 'done', now(), now())`);
    await site.t.db.query(doneIntent, [lease, id]);
    await site.admin.nodes.remove('old');
    expect((await site.admin.nodes.list()).some((n) => n.name === 'old')).toBe(false);
    expect(await site.t.db.query(statement<{ node_id: number | null }>('test-lease-node', 'SELECT node_id FROM lease WHERE id = $1'), [lease])).toEqual([{ node_id: null }]);
    await expect(site.admin.nodes.remove('old')).rejects.toMatchObject({ code: 'NodeNotFound' });
  });
});

test('zones come from the nodes; one is available when a node of it can take leases', async () => {
  await site.admin.nodes.add(node('east-1', { zone: 'east' }));
  const { id } = await site.admin.nodes.add(node('west-1', { zone: 'west' }));
  await site.t.db.query(statement<never>('test-reachable', 'UPDATE vmm_node SET reachable = true WHERE id = $1'), [id]);
  const zones = () => siteCases({ ctx: testContext(), db: site.t.db, config: configSchema.parse({}) }).zones();
  expect(await zones()).toEqual(expect.arrayContaining([{ name: 'east', available: false }, { name: 'west', available: true }]));
  await site.admin.nodes.setActive('west-1', false);
  expect(await zones()).toContainEqual({ name: 'west', available: false });
});

test('types are sorted by size', () => {
  const site_ = siteCases({ ctx: testContext(), db: site.t.db, config: configSchema.parse({ types: { big: { memory_mb: 2048, cores: 2 }, small: { memory_mb: 64, cores: 1 } } }) });
  expect(site_.types().map((t) => t.name)).toEqual(['small', 'big']);
});
