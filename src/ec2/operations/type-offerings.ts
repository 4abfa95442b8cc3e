/** DescribeInstanceTypeOfferings, DescribeInstanceCreditSpecifications. */
import { filterBy, filters } from '../filters.ts';
import { string } from '../inputs.ts';
import { instanceIds } from '../instance.ts';
import { operation } from '../operation.ts';
import { list, optional, struct, text } from '../outputs.ts';
import { page, pagingInputs } from '../paging.ts';

interface Offering {
  readonly instanceType: string;
  readonly locationType: string;
  readonly location: string;
}

export const describeInstanceTypeOfferings = operation({
  name: 'DescribeInstanceTypeOfferings',
  summary: 'Shows where the site\'s instance types are offered: all of them in the region and in each of its zones.',
  input: { LocationType: string({ oneOf: ['region', 'availability-zone', 'availability-zone-id', 'outpost'] }), Filter: filters, ...pagingInputs },
  output: { instanceTypeOfferingSet: list(struct({ instanceType: text, locationType: text, location: text })), nextToken: optional(text) },
  errors: ['TokenPageInvalid'],
  mutates: false,
  async run({ manager }, p) {
    const locationType = p.LocationType ?? 'region';
    const locations = locationType === 'outpost' ? [] : locationType === 'region' ? [manager.site.region()] : (await manager.site.zones()).map((z) => z.name);
    const keep = filterBy<Offering>(p.Filter, { 'instance-type': (o) => o.instanceType, 'location': (o) => o.location });
    const offered = locations.flatMap((location) => manager.site.types().map((t): Offering => ({ instanceType: t.name, locationType, location }))).filter(keep);
    const { items, nextToken } = page('DescribeInstanceTypeOfferings', offered, (o) => `${o.location} ${o.instanceType}`, p);
    return { instanceTypeOfferingSet: items, nextToken };
  },
});

export const describeInstanceCreditSpecifications = operation({
  name: 'DescribeInstanceCreditSpecifications',
  summary: 'Answers that there are none: no type bursts, each has its cores for itself.',
  input: { InstanceId: instanceIds, Filter: filters, ...pagingInputs },
  output: { instanceCreditSpecificationSet: list(struct({})) },
  errors: ['LeaseIdMalformed', 'LeaseNotFound'],
  mutates: false,
  async run({ manager, caller }, p) {
    filterBy(p.Filter, { 'instance-id': () => undefined });
    if (p.InstanceId.length > 0) await manager.leases.describe(caller, { ids: [...new Set(p.InstanceId)], missing: 'fault' });
    return { instanceCreditSpecificationSet: [] };
  },
});
