/** What a launch names besides counts and tags: of RunInstances, and of the specification of a spot request. */
import { Fault } from '../lease/faults.ts';
import { NAME } from '../lease/ids.ts';
import type { CreateRequest } from '../lease/types.ts';
import { blockDeviceMappings, firstDiskGib } from './block-devices.ts';
import { base64, boolean, integer, list, required, string, struct, unsupported } from './inputs.ts';
import type { InputsOf } from './inputs.ts';
import { imageReference } from './operations/images.ts';
import { keyName } from './operations/key-pairs.ts';
import { parseIso } from './time.ts';

/** EC2 user guide, "User data": 16 KB before encoding. */
export const MAX_USER_DATA = 16_384;
const NAME_RULE = { pattern: NAME, must: 'must be letters, digits, ".", "_" or "-"' };
export const NO_CHOICE = 'Addresses are leased from the site\'s pools and cannot be chosen.';

export const launchInputs = {
  ImageId: required(imageReference),
  InstanceType: string(NAME_RULE),
  KeyName: keyName,
  UserData: base64(MAX_USER_DATA, 'UserDataMalformed'),
  Placement: struct({ AvailabilityZone: string(NAME_RULE), Tenancy: string({ oneOf: ['default'] }), GroupName: string() }),
  SecurityGroup: list(string()),
  SecurityGroupId: list(string()),
  Monitoring: struct({ Enabled: boolean }),
  SubnetId: string(),
  BlockDeviceMapping: blockDeviceMappings,
  NetworkInterface: list(struct({
    DeviceIndex: integer(0, 31), SubnetId: string(), SecurityGroupId: list(string()),
    NetworkInterfaceId: unsupported('Interfaces come and go with their instances: one that is there cannot be attached.'),
    PrivateIpAddress: unsupported(NO_CHOICE), PrivateIpAddresses: unsupported(NO_CHOICE),
  }, ['AssociatePublicIpAddress', 'DeleteOnTermination', 'Description', 'InterfaceType', 'NetworkCardIndex', 'Ipv6AddressCount', 'PrimaryIpv6', 'SecondaryPrivateIpAddressCount']), 16),
};
type Launch = InputsOf<typeof launchInputs>;

export function launchOf(p: Launch): Pick<CreateRequest, 'image' | 'type' | 'zone' | 'keyName' | 'userData' | 'subnets' | 'securityGroups' | 'diskGib'> {
  return { image: p.ImageId, type: p.InstanceType, zone: p.Placement?.AvailabilityZone, ...networksOf(p), keyName: p.KeyName, userData: p.UserData, diskGib: firstDiskGib(p.BlockDeviceMapping) };
}

/** Subnets and groups stand beside the launch or, as the SDKs have it, within its interfaces. */
function networksOf(p: Launch): Pick<CreateRequest, 'subnets' | 'securityGroups'> {
  const nics = [...p.NetworkInterface].sort((a, b) => (a.DeviceIndex ?? 0) - (b.DeviceIndex ?? 0));
  const beside = [...p.SecurityGroup, ...p.SecurityGroupId];
  if (nics.length > 0 && (p.SubnetId !== undefined || beside.length > 0)) {
    throw new Fault('ParameterConflict', 'Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request');
  }
  if (nics.some((n, i) => (n.DeviceIndex ?? 0) !== i)) throw new Fault('ParameterInvalid', 'Each network interface requires a device index of its own, from 0 without gaps.');
  const subnets = p.SubnetId === undefined ? nics.flatMap((n) => n.SubnetId ?? []) : [p.SubnetId];
  if (nics.length > 0 && subnets.length > 0 && subnets.length < nics.length) throw new Fault('ParameterMissing', 'Every network interface must have a SubnetId, or none.');
  const groups = nics.length > 0 ? nics.flatMap((n) => n.SecurityGroupId) : beside;
  return { subnets: subnets.length === 0 ? undefined : subnets, securityGroups: groups.length === 0 ? undefined : groups };
}

const PRICE = /^\d{1,6}(?:\.\d{1,9})?$/;
/** Of who names no price: what a normal lease costs. */
const NORMAL_PRICE = 1;

/** Spot prices are decimals, above nothing. @throws Fault */
export function priceOf(text: string | undefined, name: string): number {
  if (text === undefined) return NORMAL_PRICE;
  const price = PRICE.test(text) ? Number(text) : 0;
  if (price <= 0) throw new Fault('ParameterInvalid', `Value (${text.slice(0, 40)}) for parameter ${name} is invalid: it must be a decimal number above 0, as 0.05.`, [], { ec2: 'InvalidParameterValue' });
  return price;
}

/** @throws Fault */
export function timeOf(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const at = parseIso(text);
  if (at === undefined) throw new Fault('ParameterInvalid', `Value (${text.slice(0, 40)}) for parameter ${name} is invalid: write a time as 2026-11-22T14:41:03Z.`);
  return at;
}
