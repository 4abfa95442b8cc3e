/** Kinds of resources that users name by id, told apart by the id's prefix. */
import { Fault, type FaultCode } from '../lease/faults.ts';
import { GROUP_ID, IMAGE_ID, KEY_PAIR_ID, LEASE_ID, SECURITY_GROUP_ID, SECURITY_RULE_ID, SPOT_REQUEST_ID, VOLUME_ID } from '../lease/ids.ts';
import type { TagView } from './types.ts';

interface Kind {
  readonly type: TagView['resourceType'];
  readonly prefix: string;
  readonly shape: RegExp;
  readonly missing: FaultCode;
  readonly called: string;
}

const KINDS: readonly Kind[] = [
  { type: 'instance', prefix: 'i-', shape: LEASE_ID, missing: 'LeaseNotFound', called: 'instance ID' },
  { type: 'volume', prefix: 'vol-', shape: VOLUME_ID, missing: 'VolumeNotFound', called: 'volume' },
  { type: 'image', prefix: 'ami-', shape: IMAGE_ID, missing: 'ImageNotFound', called: 'image id' },
  { type: 'key-pair', prefix: 'key-', shape: KEY_PAIR_ID, missing: 'KeyPairNotFound', called: 'key pair' },
  { type: 'reservation', prefix: 'r-', shape: GROUP_ID, missing: 'ResourceNotFound', called: 'reservation' },
  { type: 'security-group', prefix: 'sg-', shape: SECURITY_GROUP_ID, missing: 'SecurityGroupNotFound', called: 'security group' },
  { type: 'spot-instances-request', prefix: 'sir-', shape: SPOT_REQUEST_ID, missing: 'SpotRequestNotFound', called: 'spot instance request ID' },
  { type: 'security-group-rule', prefix: 'sgr-', shape: SECURITY_RULE_ID, missing: 'SecurityRuleNotFound', called: 'security group rule' },
];

const kindOf = (id: string): Kind | undefined => KINDS.find((k) => id.startsWith(k.prefix));

/** Type of a resource whose id the service made itself. */
export function resourceType(id: string): TagView['resourceType'] {
  const kind = kindOf(id);
  if (kind === undefined) throw new Error(`no kind of resource has ids like ${id}`);
  return kind.type;
}

/** @throws Fault when the text is the id of nothing */
export function checkResourceId(id: string): void {
  const kind = kindOf(id);
  if (kind?.shape.test(id) === true) return;
  if (kind?.type === 'instance') throw new Fault('LeaseIdMalformed', `Invalid id: "${id.slice(0, 100)}"`);
  if (kind?.type === 'image') throw new Fault('ImageIdMalformed', `Invalid id: "${id.slice(0, 100)}"`);
  if (kind?.type === 'security-group') throw new Fault('SecurityGroupIdMalformed', `Invalid id: "${id.slice(0, 100)}"`);
  throw new Fault('ResourceNotFound', `The ID '${id.slice(0, 100)}' is not valid`);
}

export function resourceNotFound(id: string): Fault {
  const kind = kindOf(id);
  return kind === undefined
    ? new Fault('ResourceNotFound', `The ID '${id.slice(0, 100)}' is not valid`)
    : new Fault(kind.missing, kind.type === 'key-pair' ? `The key pair '${id}' does not exist` : `The ${kind.called} '${id}' does not exist`);
}
