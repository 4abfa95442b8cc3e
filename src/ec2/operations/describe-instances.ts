/** DescribeInstances and DescribeInstanceStatus. */
import type { LeaseView } from '../../manager/types.ts';
import { LEASE_ID } from '../../lease/ids.ts';
import { Fault } from '../../lease/faults.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import type { FilterTable, Filters } from '../filters.ts';
import { boolean as booleanInput } from '../inputs.ts';
import { instanceFilters } from '../instance-filters.ts';
import { instanceIds, instanceState, reservations, reservationShape, shownTo, stateName, stateShape } from '../instance.ts';
import { leaseMatch } from '../lease-match.ts';
import { operation } from '../operation.ts';
import type { Call } from '../operation.ts';
import { list, optional, struct, text, time } from '../outputs.ts';
import { pagingInputs, readToken, writeToken } from '../paging.ts';
import { leaseTags } from '../tags.ts';
import { isoSeconds } from '../time.ts';

/** Clients that never page (boto 2, libcloud) get all in one answer up to this many; others continue with the token. */
const MAX_UNPAGED = 10_000;
const BATCH = 1000;

interface Selection {
  readonly InstanceId: readonly string[];
  readonly Filter: Filters;
  /** What `keep` holds beside the filters, in their words. */
  readonly Narrow?: Filters;
  readonly MaxResults: number | undefined;
  readonly NextToken: string | undefined;
}

interface Page {
  readonly leases: LeaseView[];
  readonly nextToken?: string;
}

/** The leases of one page. With filters, batches are read until the page is full or there are no more. */
async function select(call: Call, operationName: string, p: Selection, keep: (lease: LeaseView) => boolean): Promise<Page> {
  const size = p.MaxResults ?? MAX_UNPAGED;
  let after = readToken(operationName, p.NextToken);
  if (after !== undefined && !LEASE_ID.test(after)) throw new Fault('TokenPageInvalid', 'The token is invalid');
  if (p.InstanceId.length > 0) return named(call, operationName, p.InstanceId, size, after, keep);
  const leases: LeaseView[] = [];
  const { match, whole } = leaseMatch(p.Narrow ?? p.Filter);
  for (;;) {
    // The one more tells whether there is another page.
    const limit = whole ? Math.min(BATCH, size - leases.length) + 1 : BATCH;
    const batch = await call.manager.leases.describe(call.caller, { limit, after, match });
    for (const lease of batch) {
      if (!keep(lease)) continue;
      // One more than the page holds is there, so the page has a successor.
      if (leases.length === size) return { leases, nextToken: writeToken(operationName, (leases.at(-1) as LeaseView).id) };
      leases.push(lease);
    }
    if (batch.length < limit) return { leases };
    after = (batch.at(-1) as LeaseView).id;
  }
}

/** Named leases come all at once; EC2 does not page them, but clients that were told a page size ask for pages of them too. */
async function named(call: Call, operationName: string, ids: readonly string[], size: number, after: string | undefined, keep: (lease: LeaseView) => boolean): Promise<Page> {
  const all = await call.manager.leases.describe(call.caller, { ids: [...new Set(ids)], missing: 'fault' });
  const from = after === undefined ? 0 : all.findIndex((l) => l.id === after) + 1;
  const rest = all.slice(from).filter(keep);
  const leases = rest.slice(0, size);
  return leases.length === rest.length ? { leases } : { leases, nextToken: writeToken(operationName, (leases.at(-1) as LeaseView).id) };
}

export const describeInstances = operation({
  name: 'DescribeInstances',
  summary: 'Shows leases; ended ones stay visible for a time.',
  input: { InstanceId: instanceIds, Filter: filters, ...pagingInputs },
  ignored: ['IncludeManagedResources'],
  output: { reservationSet: list(reservationShape), nextToken: optional(text) },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'TokenPageInvalid'],
  mutates: false,
  async run(call, p) {
    const as = shownTo(call);
    const { leases, nextToken } = await select(call, 'DescribeInstances', p, filterBy(p.Filter, () => instanceFilters(as), leaseTags));
    return { reservationSet: await reservations(leases, as), nextToken };
  },
});

const check = struct({ status: text, details: list(struct({ name: text, status: text })) });

const END_EVENT = 'instance-retirement';
const END_DESCRIPTION = 'The lease ends';
const eventId = (l: LeaseView): string => `instance-event-${l.id.slice(2)}`;

const statusFilters: FilterTable<LeaseView> = {
  ...absentFilters('application-status.status', 'attached-ebs-status.status', 'operator.managed', 'operator.principal'),
  'availability-zone': (l) => l.zone,
  'availability-zone-id': (l) => l.zone,
  'event.code': (l) => (l.endsAt === null ? undefined : END_EVENT),
  'event.description': (l) => (l.endsAt === null ? undefined : END_DESCRIPTION),
  'event.instance-event-id': (l) => (l.endsAt === null ? undefined : eventId(l)),
  'event.not-after': () => undefined,
  'event.not-before': (l) => (l.endsAt === null ? undefined : isoSeconds(l.endsAt)),
  'event.not-before-deadline': () => undefined,
  'instance-state-code': (l) => instanceState(l).code,
  'instance-state-name': stateName,
  'instance-status.reachability': (l) => health(l).reachability,
  'instance-status.status': (l) => health(l).status,
  'system-status.reachability': (l) => health(l).reachability,
  'system-status.status': (l) => health(l).status,
};

const RUNNING = { Name: 'instance-state-name', Value: ['running'] };

export const describeInstanceStatus = operation({
  name: 'DescribeInstanceStatus',
  summary: 'Shows running leases (all with IncludeAllInstances) with their end as a scheduled event.',
  input: { InstanceId: instanceIds, Filter: filters, IncludeAllInstances: booleanInput, ...pagingInputs },
  ignored: ['IncludeManagedResources'],
  output: {
    instanceStatusSet: list(struct({
      instanceId: text,
      availabilityZone: text,
      eventsSet: list(struct({ instanceEventId: text, code: text, description: text, notBefore: time })),
      instanceState: stateShape,
      systemStatus: check,
      instanceStatus: check,
    })),
    nextToken: optional(text),
  },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'TokenPageInvalid'],
  mutates: false,
  async run(call, p) {
    const wanted = filterBy(p.Filter, () => statusFilters, leaseTags);
    const all = p.IncludeAllInstances === true;
    const keep = (l: LeaseView): boolean => (all || stateName(l) === 'running') && wanted(l);
    const { leases, nextToken } = await select(call, 'DescribeInstanceStatus', all ? p : { ...p, Narrow: [...p.Filter, RUNNING] }, keep);
    return { instanceStatusSet: leases.map(statusItem), nextToken };
  },
});

function statusItem(l: LeaseView) {
  const { status, reachability } = health(l);
  const checked = { status, details: reachability === undefined ? [] : [{ name: 'reachability', status: reachability }] };
  const over = stateName(l) === 'terminated' || stateName(l) === 'shutting-down';
  return {
    instanceId: l.id,
    availabilityZone: l.zone,
    eventsSet: l.endsAt === null || over ? [] : [{ instanceEventId: eventId(l), code: END_EVENT, description: END_DESCRIPTION, notBefore: l.endsAt }],
    instanceState: instanceState(l),
    systemStatus: checked,
    instanceStatus: checked,
  };
}

function health(l: LeaseView): { status: string; reachability: string | undefined } {
  return stateName(l) === 'running' ? { status: 'ok', reachability: 'passed' } : { status: 'not-applicable', reachability: undefined };
}
