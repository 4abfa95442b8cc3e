/** DescribeInstanceAttribute, ModifyInstanceAttribute, ResetInstanceAttribute, ModifyInstanceMetadataOptions. */
import { Fault } from '../../lease/faults.ts';
import { NAME } from '../../lease/ids.ts';
import type { AttributeChange, Caller, LeaseAttributes, LeaseView, Manager } from '../../manager/types.ts';
import { GOES_WITH_IT } from '../block-devices.ts';
import { base64, boolean as booleanInput, integer as integerInput, list as inputList, required, shown, string, struct as structInput, unsupported } from '../inputs.ts';
import type { Input, InputsOf } from '../inputs.ts';
import { groupSet, instanceId, METADATA, metadataShape, securityGroupItems } from '../instance.ts';
import { operation } from '../operation.ts';
import { boolean, list, optional, struct, text } from '../outputs.ts';
import { MAX_USER_DATA } from '../launch.ts';
import { blockDeviceMapping, blockDevices, ROOT_DEVICE_NAME, volumeId } from '../volume.ts';

const SHUTDOWN = ['stop', 'terminate'];
const ATTRIBUTES = [
  'instanceType', 'kernel', 'ramdisk', 'userData', 'disableApiTermination', 'instanceInitiatedShutdownBehavior', 'rootDeviceName',
  'blockDeviceMapping', 'productCodes', 'sourceDestCheck', 'groupSet', 'ebsOptimized', 'sriovNetSupport', 'enaSupport', 'enclaveOptions',
  'disableApiStop',
] as const;
type Attribute = (typeof ATTRIBUTES)[number];

const textValue = optional(struct({ value: optional(text) }));
const booleanValue = optional(struct({ value: boolean }));

const described = {
  instanceId: text,
  blockDeviceMapping: optional(blockDeviceMapping),
  disableApiTermination: booleanValue,
  enaSupport: booleanValue,
  enclaveOptions: optional(struct({ enabled: boolean })),
  ebsOptimized: booleanValue,
  instanceInitiatedShutdownBehavior: textValue,
  instanceType: textValue,
  kernel: textValue,
  productCodes: optional(list(struct({}))),
  ramdisk: textValue,
  rootDeviceName: textValue,
  sourceDestCheck: booleanValue,
  sriovNetSupport: textValue,
  userData: textValue,
  disableApiStop: booleanValue,
  groupSet: optional(groupSet),
};

const attribute = string({ max: 64, oneOf: ATTRIBUTES, anyCase: true });

export const describeInstanceAttribute = operation({
  name: 'DescribeInstanceAttribute',
  summary: 'Shows one attribute of a lease.',
  input: { InstanceId: required(instanceId), Attribute: required(attribute) },
  output: described,
  errors: ['LeaseIdMalformed', 'LeaseNotFound'],
  mutates: false,
  async run({ manager, caller }, p) {
    const ofView = OF_VIEW[p.Attribute];
    if (ofView !== undefined) return { instanceId: p.InstanceId, ...ofView(await leaseOf(manager, caller, p.InstanceId)) };
    const a = await manager.leases.attributes(caller, p.InstanceId);
    return { instanceId: a.id, ...VALUES[p.Attribute as keyof typeof VALUES](a) };
  },
});

async function leaseOf(manager: Manager, caller: Caller, id: string): Promise<LeaseView> {
  const [lease] = await manager.leases.describe(caller, { ids: [id], missing: 'fault' });
  return lease as LeaseView;
}

/** What DescribeInstances shows too. */
const OF_VIEW: Readonly<Record<string, ((l: LeaseView) => object) | undefined>> = {
  blockDeviceMapping: (l) => ({ blockDeviceMapping: blockDevices(l) }),
  groupSet: (l) => ({ groupSet: securityGroupItems(l) }),
};

/** Empty where no lease has one: the element is there, as clients want it. */
const VALUES: Readonly<Record<Exclude<Attribute, 'blockDeviceMapping' | 'groupSet'>, (a: LeaseAttributes) => object>> = {
  instanceType: (a) => ({ instanceType: { value: a.type } }),
  kernel: () => ({ kernel: {} }),
  ramdisk: () => ({ ramdisk: {} }),
  userData: (a) => ({ userData: a.userData === null ? {} : { value: a.userData.toString('base64') } }),
  disableApiTermination: (a) => ({ disableApiTermination: { value: a.endProtected } }),
  instanceInitiatedShutdownBehavior: (a) => ({ instanceInitiatedShutdownBehavior: { value: a.rests ? 'stop' : 'terminate' } }),
  rootDeviceName: () => ({ rootDeviceName: { value: ROOT_DEVICE_NAME } }),
  productCodes: () => ({ productCodes: [] }),
  sourceDestCheck: () => ({ sourceDestCheck: { value: false } }),
  ebsOptimized: () => ({ ebsOptimized: { value: false } }),
  sriovNetSupport: () => ({ sriovNetSupport: {} }),
  enaSupport: () => ({ enaSupport: { value: false } }),
  enclaveOptions: () => ({ enclaveOptions: { enabled: false } }),
  disableApiStop: (a) => ({ disableApiStop: { value: a.stopProtected } }),
};

/** `Name.Value=…`, and the bare `Name=…` of some libraries. */
export function valueOf<T>(item: Input<T>): Input<T> {
  const inner = structInput({ Value: item });
  return {
    type: 'struct',
    required: false,
    fields: { Value: item },
    read: (node, path) => (node?.value !== undefined && node.value !== '' ? item.read(node, path) : inner.read(node, path)?.Value) as T,
  };
}

const userData = base64(MAX_USER_DATA, 'UserDataMalformed');
/** An empty value is a value: it takes the user data away. */
const userDataValue: Input<Buffer | undefined> = {
  ...valueOf(userData),
  read: (node, path) => {
    const given = node?.children?.get('Value') ?? node;
    return given?.value === '' ? Buffer.alloc(0) : valueOf(userData).read(node, path);
  },
};

const modified = {
  InstanceId: required(instanceId),
  Attribute: attribute,
  Value: string({ max: 32_768, empty: true }),
  DisableApiTermination: valueOf(booleanInput),
  DisableApiStop: valueOf(booleanInput),
  InstanceInitiatedShutdownBehavior: valueOf(string({ oneOf: SHUTDOWN })),
  InstanceType: valueOf(string({ pattern: NAME, must: 'must be letters, digits, ".", "_" or "-"' })),
  UserData: userDataValue,
  SourceDestCheck: valueOf(booleanInput),
  EbsOptimized: valueOf(booleanInput),
  EnaSupport: valueOf(booleanInput),
  SriovNetSupport: valueOf(string()),
  Kernel: valueOf(string()),
  Ramdisk: valueOf(string()),
  GroupId: inputList(string()),
  BlockDeviceMapping: inputList(structInput({
    DeviceName: required(string()),
    Ebs: structInput({ VolumeId: string(), DeleteOnTermination: booleanInput }),
    NoDevice: unsupported('An instance keeps the disk that it has.'),
    VirtualName: unsupported('An instance has no disk beside the one that it has.'),
  })),
};

export const modifyInstanceAttribute = operation({
  name: 'ModifyInstanceAttribute',
  summary: 'Changes one attribute of a lease: its protection, its security groups, what its own shutdown means; while it is stopped its user data and its type.',
  input: modified,
  output: { return: boolean },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'StateRefused', 'UserDataMalformed', 'TypeUnknown', 'NoCapacity', 'TooMany', 'NotAuthorized', 'SecurityGroupNotFound', 'ParameterConflict', 'Unsupported'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    await manager.leases.setAttributes(caller, p.InstanceId, changeOf(p.InstanceId, named(p)), { dryRun });
    return { return: true };
  },
});

type Modified = InputsOf<Omit<typeof modified, 'InstanceId' | 'Attribute' | 'Value'>>;

/** `Attribute` and `Value`, as aws --attribute sends them, say the same as a parameter of that name. */
function named({ Attribute: name, Value: value, ...given }: InputsOf<typeof modified>): Modified {
  if (name === undefined) {
    if (value !== undefined) throw new Fault('ParameterMissing', 'The request must contain the parameter Attribute');
    return given;
  }
  const parameter = name === 'groupSet' ? 'GroupId' : `${name[0]?.toUpperCase() ?? ''}${name.slice(1)}`;
  if (!Object.hasOwn(given, parameter)) throw new Fault('Unsupported', `The attribute ${name} of an instance cannot be changed.`);
  // These are listed by themselves, also beside the attribute's name.
  if (name === 'groupSet' || name === 'blockDeviceMapping') return given;
  if (value === undefined) throw new Fault('ParameterMissing', 'The request must contain the parameter Value');
  const input = modified[parameter as keyof Modified] as Input<unknown>;
  return { ...given, [parameter]: input.read({ value: undefined, children: new Map([['Value', { value, children: undefined }]]) }, 'Value') };
}

function changeOf(InstanceId: string, p: Modified): AttributeChange {
  const change: Record<string, unknown> = {
    endProtected: p.DisableApiTermination,
    stopProtected: p.DisableApiStop,
    rests: p.InstanceInitiatedShutdownBehavior === undefined ? undefined : p.InstanceInitiatedShutdownBehavior === 'stop',
    type: p.InstanceType,
    userData: p.UserData === undefined ? undefined : p.UserData.length === 0 ? null : p.UserData,
    securityGroups: p.GroupId.length === 0 ? undefined : p.GroupId,
  };
  const given = Object.entries(change).filter(([, value]) => value !== undefined);
  const same = unchangeable(p) + sameDisk(InstanceId, p.BlockDeviceMapping);
  if (given.length + same !== 1) {
    throw given.length + same === 0
      ? new Fault('ParameterMissing', 'The request must contain the attribute that shall change')
      : new Fault('ParameterConflict', 'One request changes one attribute.');
  }
  return Object.fromEntries(given);
}

/** How many attributes are given that may only be set to what they are. @throws Fault Unsupported */
function unchangeable(p: Modified): number {
  const refuse = (what: string): never => {
    throw new Fault('Unsupported', what);
  };
  if (p.SourceDestCheck === true) refuse('The networks of this site do not check addresses of instances: sourceDestCheck is false.');
  if (p.EbsOptimized === true || p.EnaSupport === true) refuse('This service has no such hardware: ebsOptimized and enaSupport are false.');
  if (p.SriovNetSupport !== undefined || p.Kernel !== undefined || p.Ramdisk !== undefined) refuse('Instances boot from their disks: they have neither kernel nor ramdisk of their own, nor SR-IOV.');
  return [p.SourceDestCheck, p.EbsOptimized, p.EnaSupport].filter((v) => v !== undefined).length;
}

/** Whether a disk is named, which may only be told to go with its instance. @throws Fault */
function sameDisk(instance: string, devices: Modified['BlockDeviceMapping']): 0 | 1 {
  for (const { DeviceName: name, Ebs: ebs } of devices) {
    if (name !== ROOT_DEVICE_NAME) throw new Fault('ParameterInvalid', `No device is currently mapped at ${shown(name)}: an instance has one disk, at ${ROOT_DEVICE_NAME}.`, [], { ec2: 'InvalidInstanceAttributeValue' });
    if (ebs?.VolumeId !== undefined && ebs.VolumeId !== volumeId(instance)) throw new Fault('Unsupported', `The disk of ${instance} is ${volumeId(instance)}: no other volume can be put in its place.`);
    if (ebs?.DeleteOnTermination === undefined) throw new Fault('ParameterMissing', 'The request must contain the parameter Ebs.DeleteOnTermination');
    if (!ebs.DeleteOnTermination) throw new Fault('Unsupported', GOES_WITH_IT);
  }
  return devices.length === 0 ? 0 : 1;
}

export const resetInstanceAttribute = operation({
  name: 'ResetInstanceAttribute',
  summary: 'Sets sourceDestCheck to its default, which it always has; kernel and ramdisk have none.',
  input: { InstanceId: required(instanceId), Attribute: required(attribute) },
  output: { return: boolean },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'Unsupported'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    if (p.Attribute !== 'sourceDestCheck') throw new Fault('Unsupported', `The attribute ${p.Attribute} cannot be reset; sourceDestCheck can.`);
    await manager.leases.setAttributes(caller, p.InstanceId, {}, { dryRun });
    return { return: true };
  },
});

export const modifyInstanceMetadataOptions = operation({
  name: 'ModifyInstanceMetadataOptions',
  summary: 'Shows that there is no metadata service, which can be neither enabled nor tuned.',
  input: {
    InstanceId: required(instanceId),
    HttpEndpoint: string({ oneOf: ['enabled', 'disabled'] }),
    HttpTokens: string({ oneOf: ['optional', 'required'] }),
    HttpPutResponseHopLimit: integerInput(1, 64),
    HttpProtocolIpv6: string({ oneOf: ['enabled', 'disabled'] }),
    InstanceMetadataTags: string({ oneOf: ['enabled', 'disabled'] }),
  },
  output: { instanceId: text, instanceMetadataOptions: metadataShape },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'Unsupported'],
  mutates: true,
  async run({ manager, caller }, p) {
    await manager.leases.describe(caller, { ids: [p.InstanceId], missing: 'fault' });
    if (p.HttpEndpoint === 'enabled' || p.HttpProtocolIpv6 === 'enabled' || p.InstanceMetadataTags === 'enabled') {
      throw new Fault('Unsupported', 'There is no metadata service: guests find key and user data on the volume cidata.');
    }
    return { instanceId: p.InstanceId, instanceMetadataOptions: METADATA };
  },
});
