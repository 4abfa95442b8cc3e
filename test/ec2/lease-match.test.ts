/** What the database narrows is never less than what the filters keep: searched leases are those of reading all. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filterBy, matches, type Filters } from '../../src/ec2/filters.ts';
import { instanceFilters } from '../../src/ec2/instance-filters.ts';
import { stateName } from '../../src/ec2/instance.ts';
import { leaseMatch, likePattern } from '../../src/ec2/lease-match.ts';
import { ENDS_TAG, leaseTags } from '../../src/ec2/tags.ts';
import type { LeaseView } from '../../src/manager/types.ts';
import { statement } from '../../src/store/db.ts';
import { leaseSearch } from '../../src/store/lease-search.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

const LETTERS = ['a', 'b', '%', '_', '\\', '*', '?', 'é'];
const KEYS = ['Name', 'env', 'a%'];
const text = fc.array(fc.constantFrom(...LETTERS), { maxLength: 5 }).map((c) => c.join(''));
const LEASES = 24;

let site: TestSite;
let all: LeaseView[];

beforeAll(async () => {
  site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 65_536, cores: 64 }] });
  for (const tags of fc.sample(fc.dictionary(fc.constantFrom(...KEYS), text), { numRuns: LEASES, seed: 1 })) {
    await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest', tags });
  }
  await site.settled();
  const some = await site.manager.leases.describe(site.alice, {});
  await site.manager.leases.end(site.alice, some.filter((_, i) => i % 4 === 0).map((l) => l.id), '');
  await site.settled();
  await site.manager.leases.create(site.bob, { minCount: 1, maxCount: 1, image: 'guest', tags: { Name: 'a' } });
  await site.settled();
  all = await site.manager.leases.describe(site.alice, {});
});
afterAll(() => site.close());

const ids = (leases: readonly LeaseView[]): string[] => leases.map((l) => l.id);
const kept = (leases: readonly LeaseView[], filters: Filters): string[] => ids(leases.filter(filterBy(filters, instanceFilters({ now: 0, region: 'nimbus' }), leaseTags)));
const found = async (filters: Filters): Promise<LeaseView[]> => site.manager.leases.describe(site.alice, { match: leaseMatch(filters).match });

const values = (of: fc.Arbitrary<string>): fc.Arbitrary<string[]> => fc.array(of, { minLength: 1, maxLength: 3 });
const filter = fc.oneof(
  fc.record({ Name: fc.constantFrom(...KEYS.map((k) => `tag:${k}`), `tag:${ENDS_TAG}`, 'tag:none', 'tag-key', 'tag-value'), Value: values(text) }),
  fc.record({ Name: fc.constant('instance-state-name'), Value: values(fc.constantFrom('running', 'terminated', 'r*', '*', '?ending', '')) }),
  fc.record({ Name: fc.constant('instance-state-code'), Value: values(fc.constantFrom('16', '48', '*6', '4?')) }),
  fc.record({ Name: fc.constant('instance-type'), Value: values(fc.constantFrom('m1.small', 'm1.*', 'm1_small', '%', '*')) }),
  fc.record({ Name: fc.constant('instance-id'), Value: values(fc.constantFrom('i-*', '*a*', '*f?', 'i-none')) }),
  fc.record({ Name: fc.constant('block-device-mapping.volume-id'), Value: values(fc.constantFrom('vol-*', 'vol-*a*', '*f?', 'v*', 'vol-none', '\\vol-*')) }),
  fc.record({ Name: fc.constant('availability-zone'), Value: values(fc.constantFrom('default', 'de*t', 'x')) }),
  fc.record({ Name: fc.constant('key-name'), Value: values(fc.constantFrom('*', 'k')) }),
  fc.record({ Name: fc.constant('launch-index'), Value: values(fc.constantFrom('0', '1')) }),
);

describe('a search', () => {
  it('finds what the filters keep of all leases, in their order', async () => {
    expect(all).toHaveLength(LEASES);
    await fc.assert(fc.asyncProperty(fc.array(filter, { maxLength: 3 }), async (filters) => {
      expect(kept(await found(filters), filters)).toEqual(kept(all, filters));
    }), { numRuns: 400 });
  });

  it('finds the same whether it begins with the tags or with the leases', async () => {
    await fc.assert(fc.asyncProperty(fc.array(filter, { minLength: 1, maxLength: 3 }), async (filters) => {
      const { match } = leaseMatch(filters);
      if (match === undefined) return;
      const { statement: walk, values: given } = leaseSearch({ account: site.alice.accountId, endedAfter: new Date(0), live: false, afterSeq: 0, limit: 1000 }, match);
      const walked = (await site.db.query(walk, given))[0]?.leases ?? [];
      expect(walked.map((l) => l.id)).toEqual(ids(await found(filters)));
    }), { numRuns: 200 });
  });

  it('narrows: a tag that one lease has brings that one', async () => {
    const [one] = all as [LeaseView];
    await site.manager.tags.set(site.alice, [one.id], { rare: 'needle in 100%' });
    for (const value of ['needle in 100%', '*100%', '?eedle*', 'needle in 100\\%']) {
      expect(ids(await found([{ Name: 'tag:rare', Value: [value] }]))).toEqual([one.id]);
    }
    expect(await found([{ Name: 'tag:rare', Value: ['needle'] }])).toEqual([]);
  });

  it('never leaves the account', async () => {
    expect(ids(await found([{ Name: 'tag:Name', Value: ['*'] }])).every((id) => ids(all).includes(id))).toBe(true);
  });
});

describe('an instance whose disk is saved', () => {
  it('goes away where its node is taken away, and only stops otherwise; a search by either finds it', () => {
    const saved = (graceEndsAt: number | null): LeaseView => ({ ...all[0] as LeaseView, state: 'ReadyingForTransport', graceEndsAt });
    expect([stateName(saved(1)), stateName(saved(null))]).toEqual(['shutting-down', 'stopping']);
    for (const name of ['shutting-down', 'stopping']) {
      expect(leaseMatch([{ Name: 'instance-state-name', Value: [name] }]).match?.states).toContain('ReadyingForTransport');
    }
  });
});

describe('a pattern in LIKE', () => {
  it('matches what it matches itself', async () => {
    const like = statement<{ yes: boolean }>('test-like', 'SELECT $1::text LIKE $2::text AS yes');
    await fc.assert(fc.asyncProperty(text, text, async (pattern, of) => {
      expect((await site.db.query(like, [of, likePattern(pattern)]))[0]?.yes).toBe(matches(pattern, of));
    }), { numRuns: 1000 });
  });
});
