/** A create request with everything looked up and held against the site's policy; what is left is placing it. */
import { createHash } from 'node:crypto';
import { formatDuration } from '../lease/duration.ts';
import { Fault, isFault } from '../lease/faults.ts';
import type { CreateRequest, LeaseType, Resources } from '../lease/types.ts';
import { findImage } from '../images/lookup.ts';
import { findKeyPair } from '../store/keys.ts';
import { DEFAULT_GROUP_NAME, defaultGroupId } from '../network/mirror.ts';
import { isUnavailable, type Queryable } from '../store/db.ts';
import type { ImageRow } from '../store/images.ts';
import { networksByName, type NetworkRow } from '../store/networks.ts';
import type { ManagerDeps } from './deps.ts';
import { boundDigests, ofGroup } from './ensembles.ts';
import { groupNotFound, groupsNamed } from './security-groups.ts';
import { siteSubnets, siteTypes } from './site.ts';
import { launchJson } from './spot-launch.ts';
import type { Order, ResolvedRequest } from './resolved.ts';
import { checkTags } from './tags.ts';
import type { Caller } from './types.ts';

/** EC2 API reference, RunInstances: user data is limited to 16 KB before base64. */
export const MOST_USER_DATA = 16 * 1024;

type LookUps = Pick<ManagerDeps, 'ctx' | 'db' | 'config' | 'repository'>;

/** @throws Fault, which names the group of an ensemble that it is about */
export async function resolveOrder(deps: LookUps, caller: Caller, requests: readonly CreateRequest[]): Promise<Order> {
  const [first, ...others] = await Promise.all(requests.map((r, i) => resolveRequest(deps, caller, r).catch((e: unknown) => {
    throw isFault(e) && !isUnavailable(e) ? ofGroup(e, i, requests.length) : e;
  })));
  if (first === undefined) throw new Fault('ParameterMissing', 'Nothing is asked for');
  const all = [first, ...others];
  const digests = boundDigests(all.map((r) => r.hash), all.map((r) => r.clientToken));
  const bound = (r: ResolvedRequest, i: number): ResolvedRequest => ({ ...r, hash: digests[i] ?? r.hash });
  return [bound(first, 0), ...others.map((r, i) => bound(r, i + 1))];
}

/** @throws Fault */
export async function resolveRequest(deps: LookUps, caller: Caller, r: CreateRequest): Promise<ResolvedRequest> {
  checkCounts(deps, r);
  checkDuration(deps, r);
  return lookUp(deps, caller, r);
}

/** Whatever the configuration's limits on it are. @throws Fault */
export async function lookUp(deps: LookUps, caller: Caller, r: CreateRequest): Promise<ResolvedRequest> {
  const acceptedAt = deps.ctx.clock.now();
  const type = typeOf(deps, r);
  const resources: Resources = { memoryMb: type.memoryMb, cores: type.cores, diskMb: type.diskMb, ...r.resources };
  const durationS = durationOf(deps, r);
  const image = await findImage(deps.db, caller.accountId, r.image);
  const key = r.keyName === undefined ? null : await findKeyPair(deps.db, caller.accountId, r.keyName);
  if (r.keyName !== undefined && key === null) throw new Fault('KeyPairNotFound', `The key pair '${r.keyName}' does not exist`);
  if ((r.userData?.length ?? 0) > MOST_USER_DATA) throw new Fault('UserDataMalformed', `User data is limited to ${MOST_USER_DATA} bytes`);
  const networks = await networksOf(deps, r.networks ?? type.networks);
  const zone = await zoneOf(deps, r, networks);
  const securityGroups = await securityGroupsFor(deps, caller, r.securityGroups ?? []);
  checkTags(r.tags ?? {}, r.durationS !== undefined);
  checkTags(r.volumeTags ?? {});
  checkTags(r.spot?.tags ?? {});
  if (r.diskGib !== undefined) await checkDisk(deps, r.diskGib, image, resources, type.name);
  return {
    accountId: caller.accountId, who: caller.name, ownerId: caller.ownerId, requestId: caller.requestId, acceptedAt, minCount: r.minCount, maxCount: r.maxCount,
    image, type: type.name, resources, networks, zone, securityGroups, keyName: r.keyName ?? null, publicKey: key?.public_key ?? r.publicKey ?? null,
    userData: r.userData ?? null, durationS, durationAsked: r.durationS !== undefined, clientToken: r.clientToken ?? null, tags: r.tags ?? {}, volumeTags: r.volumeTags ?? {},
    endProtected: r.endProtected ?? false, stopProtected: r.stopProtected ?? false, rests: r.rests ?? false, grid: r.grid,
    spot: r.spot === undefined ? null : { ...r.spot, launch: launchJson(r) }, hash: requestHash(r),
  };
}

/** @throws Fault when the disk would be smaller than what is asked for */
async function checkDisk({ repository }: LookUps, askedGib: number, image: ImageRow, { diskMb }: Resources, type: string): Promise<void> {
  const ofImage = await repository?.diskBytes(image) ?? image.size_bytes;
  const gib = Math.ceil(Math.max(ofImage, diskMb * 2 ** 20) / 2 ** 30);
  if (askedGib <= gib) return;
  throw new Fault('ParameterInvalid', `The disk of an instance of this image and type has ${gib} GiB; ${askedGib} are asked for.`, [`its size is that of the type, ${type}, or of the image: choose a type with a larger disk`], { ec2: 'InvalidBlockDeviceMapping' });
}

function checkCounts({ config }: LookUps, r: CreateRequest): void {
  const most = config.lease.max_group;
  if (r.minCount > most) throw new Fault('TooMany', `a group has at most ${most} leases; you asked for ${r.minCount}`, [`lease.max_group = ${most}`]);
  if (r.maxCount > most) throw new Fault('TooMany', `a group has at most ${most} leases; you asked for up to ${r.maxCount}`, [`lease.max_group = ${most}`]);
}

function typeOf({ config }: LookUps, r: CreateRequest): LeaseType {
  const name = r.type ?? config.lease.default_type;
  const type = siteTypes(config).find((t) => t.name === name);
  if (type === undefined) throw new Fault('TypeUnknown', `Invalid value '${name}' for InstanceType.`, [`the site offers ${siteTypes(config).map((t) => t.name).join(', ')}`]);
  return type;
}

const durationOf = ({ config: { lease } }: LookUps, r: CreateRequest): number => r.durationS ?? Math.min(lease.default_duration, lease.max_duration);

function checkDuration(deps: LookUps, r: CreateRequest): void {
  const most = deps.config.lease.max_duration;
  const asked = durationOf(deps, r);
  if (asked > most) throw new Fault('DurationRefused', `a lease lasts at most ${formatDuration(most)}; you asked for ${formatDuration(asked)}`, [`lease.max_duration = ${formatDuration(most)}`]);
}

async function networksOf({ db, config }: LookUps, names: readonly string[]): Promise<NetworkRow[]> {
  const wanted = names.length > 0 ? names : [config.lease.default_network];
  const known = new Map((await db.query(networksByName, [wanted])).map((n) => [n.name, n]));
  return wanted.map((name) => {
    const network = known.get(name);
    if (network === undefined) throw new Fault('NetworkNotFound', `no network is named ${name}`);
    return network;
  });
}

/** Subnets only say once more what the type joins, and in which zone. */
async function zoneOf(deps: LookUps, r: CreateRequest, networks: readonly NetworkRow[]): Promise<string | null> {
  if (r.subnets === undefined) return r.zone ?? null;
  const all = await siteSubnets(deps);
  const named = r.subnets.map((id) => {
    const subnet = all.find((s) => s.id === id);
    if (subnet === undefined) throw new Fault('SubnetNotFound', `The subnet ID '${id.slice(0, 100)}' does not exist`);
    return subnet;
  });
  const joined = networks.map((n) => n.name);
  const odd = named.find((s, i) => s.network !== joined[i]);
  if (odd !== undefined) throw new Fault('ParameterConflict', `The instance type joins ${joined.join(', ')}; subnet ${odd.id} is ${odd.network}`, ['choose a type that joins it, or leave the subnet out']);
  const zone = named[0]?.zone ?? null;
  const elsewhere = named.find((s) => s.zone !== (r.zone ?? zone));
  if (elsewhere !== undefined) throw new Fault('ParameterInvalid', `Value (${r.zone ?? zone ?? ''}) for parameter availabilityZone is invalid. Subnet '${elsewhere.id}' is in the availability zone ${elsewhere.zone}`);
  return zone;
}

/** EC2 user guide, "Amazon VPC quotas": groups of an interface. */
const MOST_SECURITY_GROUPS = 5;

/** null: the default one alone. Where the site keeps none, it is the only one there is. */
export async function securityGroupsFor({ db, config }: { readonly db: Queryable; readonly config: LookUps['config'] }, owner: Pick<Caller, 'accountId' | 'ownerId'>, asked: readonly string[]): Promise<ResolvedRequest['securityGroups']> {
  const named = [...new Set(asked)].filter((g) => g !== DEFAULT_GROUP_NAME && g !== defaultGroupId(owner.ownerId));
  if (named.length === 0) return null;
  if (named.length > MOST_SECURITY_GROUPS) throw new Fault('TooMany', `An instance is in at most ${MOST_SECURITY_GROUPS} security groups`, [`${named.length} asked`], { ec2: 'SecurityGroupsPerInterfaceLimitExceeded' });
  if (config.ec2.security_groups === 'refuse') throw groupNotFound(named[0] ?? '');
  return groupsNamed(db, owner, [...new Set(asked)]);
}

/** Digest of what the user asked, the client token apart. */
export function requestHash(r: CreateRequest): string {
  const { clientToken: _, userData, tags, ...rest } = r;
  const sorted = (o: object): Array<[string, unknown]> => Object.entries(o).filter(([, v]) => v !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([sorted(rest), sorted(tags ?? {}), userData?.toString('base64') ?? null]))
    .digest('hex');
}
