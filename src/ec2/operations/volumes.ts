/** DescribeVolumes, DescribeVolumeStatus and DescribeVolumeAttribute: the one volume of each lease that has a disk. */
import { Fault } from '../../lease/faults.ts';
import { LEASE_ID, VOLUME_ID } from '../../lease/ids.ts';
import type { LeaseView } from '../../manager/types.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import type { Filters, FilterTable } from '../filters.ts';
import { list as inputList, required, shown, string } from '../inputs.ts';
import { leaseMatch } from '../lease-match.ts';
import { operation } from '../operation.ts';
import type { Call } from '../operation.ts';
import { boolean, integer, list, optional, struct, text, time } from '../outputs.ts';
import { pagingInputs, readToken, writeToken } from '../paging.ts';
import { tagItems, tagSet } from '../tags.ts';
import { isoSeconds } from '../time.ts';
import { attachmentStatus, leaseOfVolume, ROOT_DEVICE_NAME, volumeId, type AttachmentStatus } from '../volume.ts';

const BATCH = 1000;
/** Clients that do not page get all in one answer up to this many. */
const MAX_UNPAGED = 10_000;
const GIB = 2 ** 30;
/** EC2's word for a disk that promises no rate. */
const VOLUME_TYPE = 'standard';

const volume = string({ max: 64, pattern: VOLUME_ID, fault: 'VolumeIdMalformed', must: 'must be vol- and 17 (or 8) lower-case hexadecimal digits' });

interface Volume {
  readonly id: string;
  readonly lease: LeaseView;
  readonly attachment: AttachmentStatus;
  readonly sizeGib: number;
  readonly tags: Readonly<Record<string, string>>;
}

const statusOf = (v: Volume): string => (v.attachment === 'attaching' ? 'creating' : 'in-use');

async function volumesOf({ manager, caller }: Call, leases: readonly LeaseView[]): Promise<Volume[]> {
  const sizes = await manager.leases.diskBytes(caller, leases);
  const tags = await tagsOf({ manager, caller }, leases);
  return leases.flatMap((lease, i) => {
    const [id, attachment] = [volumeId(lease.id), attachmentStatus(lease)];
    return attachment === undefined ? [] : [{ id, lease, attachment, sizeGib: Math.ceil((sizes[i] ?? 0) / GIB), tags: tags.get(id) ?? {} }];
  });
}

async function tagsOf({ manager, caller }: Pick<Call, 'manager' | 'caller'>, leases: readonly LeaseView[]): Promise<ReadonlyMap<string, Record<string, string>>> {
  const found = new Map<string, Record<string, string>>();
  if (leases.length === 0) return found;
  for (const t of await manager.tags.list(caller, { resourceIds: leases.map((l) => volumeId(l.id)) })) found.set(t.resourceId, { ...found.get(t.resourceId), [t.key]: t.value });
  return found;
}

const notFound = (id: string): Fault => new Fault('VolumeNotFound', `The volume '${shown(id)}' does not exist.`);

/** @throws Fault when there is none of one of the ids */
async function namedVolumes(call: Call, ids: readonly string[]): Promise<Volume[]> {
  const named = new Set(ids);
  const found = await volumesOf(call, await call.manager.leases.describe(call.caller, { ids: [...named].map(leaseOfVolume), missing: 'skip' }));
  for (const v of found) named.delete(v.id);
  const [unknown] = named;
  if (unknown !== undefined) throw notFound(unknown);
  return found;
}

interface Asked {
  readonly VolumeId: readonly string[];
  readonly Filter: Filters;
  readonly MaxResults: number | undefined;
  readonly NextToken: string | undefined;
}

/** In the order of their leases; a page's token names the lease of its last. */
async function volumePage(call: Call, name: string, p: Asked, wanted: (v: Volume) => boolean): Promise<{ items: Volume[]; nextToken?: string }> {
  const after = readToken(name, p.NextToken);
  if (after !== undefined && !LEASE_ID.test(after)) throw new Fault('TokenPageInvalid', 'The token is invalid');
  const size = p.MaxResults ?? MAX_UNPAGED;
  const atOnce = p.Filter.length === 0 ? Math.min(BATCH, size + 1) : BATCH;
  const all = p.VolumeId.length > 0 ? volumesFrom(await namedVolumes(call, p.VolumeId), after) : volumes(call, p.Filter, atOnce, after);
  const found: Volume[] = [];
  for await (const v of all) {
    if (wanted(v) && found.push(v) > size) break;
  }
  const items = found.slice(0, size);
  const last = items.at(-1);
  return { items, ...(last !== undefined && found.length > size ? { nextToken: writeToken(name, last.lease.id) } : {}) };
}

/** Those behind a lease. @param limit leases that are read at once */
async function* volumes(call: Call, asked: Filters, limit: number, behind: string | undefined): AsyncGenerator<Volume> {
  const { match } = leaseMatch(asked.flatMap((f) => (SAME_OF_INSTANCES[f.Name] === undefined ? [] : [{ ...f, Name: SAME_OF_INSTANCES[f.Name] as string }])));
  for (let after = behind; ;) {
    const leases: LeaseView[] = await call.manager.leases.describe(call.caller, { live: true, limit, after, match });
    yield* await volumesOf(call, leases);
    if (leases.length < limit) return;
    after = leases.at(-1)?.id;
  }
}

/** Named ones come all at once; clients that were told a page size ask for pages of them too. */
const volumesFrom = (named: readonly Volume[], behind: string | undefined): readonly Volume[] => named.slice(named.findIndex((v) => v.lease.id === behind) + 1);

/** Filters that say of a volume what a filter of DescribeInstances says of its instance. */
const SAME_OF_INSTANCES: Readonly<Record<string, string>> = {
  'attachment.instance-id': 'instance-id', 'volume-id': 'block-device-mapping.volume-id', 'availability-zone': 'availability-zone',
};

const volumeFilters: FilterTable<Volume> = {
  ...absentFilters('operator.principal', 'snapshot-id'),
  'attachment.attach-time': (v) => isoSeconds(v.lease.createdAt),
  'attachment.delete-on-termination': () => true,
  'attachment.device': () => ROOT_DEVICE_NAME,
  'attachment.instance-id': (v) => v.lease.id,
  'attachment.status': (v) => v.attachment,
  'availability-zone': (v) => v.lease.zone,
  'availability-zone-id': (v) => v.lease.zone,
  'create-time': (v) => isoSeconds(v.lease.createdAt),
  'encrypted': () => false,
  'fast-restored': () => false,
  'multi-attach-enabled': () => false,
  'operator.managed': () => false,
  'size': (v) => v.sizeGib,
  'status': statusOf,
  'volume-id': (v) => v.id,
  'volume-type': () => VOLUME_TYPE,
};

const input = { VolumeId: inputList(volume), Filter: filters, ...pagingInputs };

export const describeVolumes = operation({
  name: 'DescribeVolumes',
  summary: 'Shows the disk of each lease that has one, as a volume that is attached to it.',
  input,
  ignored: ['IncludeManagedResources'],
  output: {
    volumeSet: list(struct({
      volumeId: text, size: integer, snapshotId: text, availabilityZone: text, status: text, createTime: time,
      attachmentSet: list(struct({ volumeId: text, instanceId: text, device: text, status: text, attachTime: time, deleteOnTermination: boolean })),
      tagSet, volumeType: text, encrypted: boolean, fastRestored: boolean, multiAttachEnabled: boolean,
    })),
    nextToken: optional(text),
  },
  errors: ['VolumeNotFound', 'VolumeIdMalformed', 'TokenPageInvalid'],
  mutates: false,
  async run(call, p) {
    const { items, nextToken } = await volumePage(call, 'DescribeVolumes', p, filterBy(p.Filter, volumeFilters, (v) => v.tags));
    return { volumeSet: items.map(volumeItem), nextToken };
  },
});

function volumeItem(v: Volume) {
  const { id, zone, createdAt } = v.lease;
  return {
    volumeId: v.id, size: v.sizeGib, snapshotId: '', availabilityZone: zone, status: statusOf(v), createTime: createdAt,
    attachmentSet: [{ volumeId: v.id, instanceId: id, device: ROOT_DEVICE_NAME, status: v.attachment, attachTime: createdAt, deleteOnTermination: true }],
    tagSet: tagItems(v.tags), volumeType: VOLUME_TYPE, encrypted: false, fastRestored: false, multiAttachEnabled: false,
  };
}

const health = (v: Volume): string => (v.attachment === 'attaching' ? 'insufficient-data' : 'ok');
const details = (v: Volume): Array<{ name: string; status: string }> => (v.attachment === 'attaching' ? [] : [{ name: 'io-enabled', status: 'passed' }, { name: 'io-performance', status: 'not-applicable' }]);

const statusFilters: FilterTable<Volume> = {
  ...absentFilters(
    'action.code', 'action.description', 'action.event-id', 'attachment-status.instance-id', 'attachment-status.io-performance', 'event.description', 'event.event-id',
    'event.event-type', 'event.not-after', 'event.not-before', 'operator.principal',
  ),
  'availability-zone': (v) => v.lease.zone,
  'availability-zone-id': (v) => v.lease.zone,
  'operator.managed': () => false,
  'volume-status.details-name': (v) => details(v).map((d) => d.name),
  'volume-status.details-status': (v) => details(v).map((d) => d.status),
  'volume-status.status': health,
};

export const describeVolumeStatus = operation({
  name: 'DescribeVolumeStatus',
  summary: 'Shows that the disks of leases can be used; those that have yet to be made are not checked.',
  input,
  ignored: ['IncludeManagedResources'],
  output: {
    volumeStatusSet: list(struct({
      volumeId: text, availabilityZone: text, volumeStatus: struct({ status: text, details: list(struct({ name: text, status: text })) }),
      eventsSet: list(struct({})), actionsSet: list(struct({})),
    })),
    nextToken: optional(text),
  },
  errors: ['VolumeNotFound', 'VolumeIdMalformed', 'TokenPageInvalid'],
  mutates: false,
  async run(call, p) {
    const { items, nextToken } = await volumePage(call, 'DescribeVolumeStatus', p, filterBy(p.Filter, statusFilters));
    return {
      volumeStatusSet: items.map((v) => ({
        volumeId: v.id, availabilityZone: v.lease.zone, volumeStatus: { status: health(v), details: details(v) }, eventsSet: [], actionsSet: [],
      })),
      nextToken,
    };
  },
});

export const describeVolumeAttribute = operation({
  name: 'DescribeVolumeAttribute',
  summary: 'Shows one attribute of a volume: none of them can be set.',
  input: { VolumeId: required(volume), Attribute: required(string({ max: 64, oneOf: ['autoEnableIO', 'productCodes'], anyCase: true })) },
  output: { volumeId: text, autoEnableIO: optional(struct({ value: boolean })), productCodes: optional(list(struct({}))) },
  errors: ['VolumeNotFound', 'VolumeIdMalformed'],
  mutates: false,
  async run(call, p) {
    const [found] = await namedVolumes(call, [p.VolumeId]) as [Volume];
    return { volumeId: found.id, ...(p.Attribute === 'autoEnableIO' ? { autoEnableIO: { value: false } } : { productCodes: [] }) };
  },
});
