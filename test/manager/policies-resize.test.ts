/** A change of an instance's type is held to policies as a create is: for what it has more than before. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectInvariants } from '../support/invariants.ts';
import { policiesOf, type SitePolicies } from '../support/policies.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
let policies: SitePolicies;
let held: TestDatabase;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });
beforeEach(async () => {
  site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 65_536, cores: 200, zone: 'default' }] });
  policies = policiesOf(site);
});
afterEach(async () => {
  await expectInvariants(site);
  await site.close();
});

const resize = (id: string, type: string): Promise<unknown> => site.manager.leases.setAttributes(site.alice, id, { type });
const typeOf = async (id: string): Promise<string> => (await site.manager.leases.attributes(site.alice, id)).type;

async function stopped(n: number): Promise<string[]> {
  const { leases } = await site.manager.leases.create(site.alice, { minCount: n, maxCount: n, image: 'guest', type: 'm1.small' });
  const ids = leases.map((l) => l.id);
  await site.settled();
  await site.manager.leases.stop(site.alice, ids);
  await site.settled();
  return ids;
}

// m1.small has 1 core and 128 MiB, m1.large 2 and 512, m1.xlarge 4 and 1024.
describe.each([['template', 'students'], ['group', 'physics'], ['site', 'site']] as const)('a %s', (kind, name) => {
  beforeEach(async () => {
    await policies.set(name, { cores: 3, memory_mb: 700 }, kind);
    if (kind !== 'site') await policies.assign(name, 'alice');
  });

  it('bounds what a change of type adds', async () => {
    const [id = ''] = await stopped(1);
    await expect(resize(id, 'm1.xlarge')).rejects.toMatchObject({ code: 'TooMany', reasons: [`policy ${name}: cores: limit 3, used 1, asked 3`, `policy ${name}: memory_mb: limit 700 MiB, used 128 MiB, asked 896 MiB`] });
    expect(await typeOf(id)).toBe('m1.small');
    await resize(id, 'm1.large');
    expect(await typeOf(id)).toBe('m1.large');
  });

  it('lets only as many through as there is room for, however many come at once', async () => {
    const ids = await stopped(2);
    const results = await Promise.allSettled(ids.map((id) => resize(id, 'm1.large')));
    expect(results.filter((r) => r.status === 'fulfilled')).toHaveLength(1);
    expect(results.find((r) => r.status === 'rejected')?.reason).toMatchObject({ code: 'TooMany' });
  });

  it('does not keep anybody from a smaller type', async () => {
    const [id = ''] = await stopped(1);
    await resize(id, 'm1.large');
    await policies.set(name, { cores: 1, memory_mb: 100 }, kind);
    await resize(id, 'm1.small');
    expect(await typeOf(id)).toBe('m1.small');
  });
});

it('a type that a policy does not allow is refused, whatever its size', async () => {
  await policies.set('students', { types: ['m1.large'] });
  const [id = ''] = await stopped(1);
  await resize(id, 'm1.large');
  await policies.assign('students', 'alice');
  await expect(resize(id, 'm1.small')).rejects.toMatchObject({ reasons: [expect.stringContaining('policy students: types')] });
});
