/** DescribeImages, CreateImage, RegisterImage, DeregisterImage. */
import { Fault } from '../../lease/faults.ts';
import { IMAGE_ID, NAME } from '../../lease/ids.ts';
import type { Caller, SeenImage } from '../../manager/types.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import type { FilterTable } from '../filters.ts';
import { boolean as booleanInput, list as inputList, required, shown, string, unsupported } from '../inputs.ts';
import { instanceId } from '../instance.ts';
import { operation } from '../operation.ts';
import { boolean, list, optional, struct, text, time } from '../outputs.ts';
import { page, pagingInputs } from '../paging.ts';
import { tagItems, tagSet, tagSpecifications, tagsFor } from '../tags.ts';
import { isoSeconds } from '../time.ts';
import { ROOT_DEVICE_NAME, ROOT_DEVICE_TYPE } from '../volume.ts';

/** Owner of images that all users share; no account has this number. */
const COMMON = '000000000000';
const COMMON_ALIAS = 'common';

/** By id or, as in the configuration and commands of the site, by name. */
export const imageReference = string({
  max: 64, pattern: new RegExp(`${IMAGE_ID.source}|^(?!ami-|.*\\.\\.)${NAME.source.slice(1)}`), fault: 'ImageIdMalformed', must: 'must be an image id, ami- and hexadecimal digits, or an image\'s name',
});

export const imageId = string({ max: 64, pattern: IMAGE_ID, fault: 'ImageIdMalformed', must: 'must be an image id, ami- and hexadecimal digits' });

const ownerId = (i: SeenImage): string => i.ownerId ?? COMMON;
const isPublic = (i: SeenImage): boolean => i.owner === null || i.public;
const location = (i: SeenImage): string => `${i.owner ?? COMMON_ALIAS}/${i.name}`;

/** Filters of EC2 for things that no image has: known, and matching nothing. */
const ABSENT = absentFilters(
  'block-device-mapping.delete-on-termination', 'block-device-mapping.device-name', 'block-device-mapping.encrypted', 'block-device-mapping.snapshot-id',
  'block-device-mapping.volume-size', 'block-device-mapping.volume-type', 'boot-mode', 'free-tier-eligible', 'image-allowed',
  'image-watermark.source-image-creation-time', 'image-watermark.source-image-id', 'image-watermark.source-image-region',
  'image-watermark.watermark-creation-time', 'image-watermark.watermark-key', 'imds-support', 'instance-type-specification.supported-instance-type',
  'instance-type-specification.unsupported-instance-type', 'kernel-id', 'platform', 'product-code', 'product-code.type', 'public-ssm-parameter-name',
  'ramdisk-id', 'scan-result.critical-fix-available-since', 'scan-result.finding-scan-date', 'scan-result.high-fix-available-since',
  'scan-result.highest-finding-severity-label', 'scan-result.informational-fix-available-since', 'scan-result.low-fix-available-since',
  'scan-result.medium-fix-available-since', 'source-image-id', 'source-image-region', 'source-instance-id', 'sriov-net-support', 'tpm-support', 'usage-operation',
);

const imageFilters: FilterTable<SeenImage> = {
  ...ABSENT,
  'architecture': () => 'x86_64',
  'creation-date': (i) => isoSeconds(i.createdAt),
  'description': (i) => i.description,
  'ena-support': () => false,
  'hypervisor': () => 'kvm',
  'image-id': (i) => i.id,
  'image-type': () => 'machine',
  'is-public': isPublic,
  'manifest-location': location,
  'name': (i) => i.name,
  'owner-alias': (i) => (i.owner === null ? COMMON_ALIAS : undefined),
  'owner-id': ownerId,
  'root-device-name': () => ROOT_DEVICE_NAME,
  'root-device-type': () => ROOT_DEVICE_TYPE,
  'state': (i) => i.state,
  'state-reason-code': (i) => (i.reason === null ? undefined : NOT_MADE),
  'state-reason-message': (i) => i.reason ?? undefined,
  'virtualization-type': () => 'hvm',
};

export const describeImages = operation({
  name: 'DescribeImages',
  summary: 'Shows the images that the caller may lease: own and common ones, those that others have opened to him, and own ones that are being made.',
  input: {
    ImageId: inputList(imageReference),
    Owner: inputList(string()),
    ExecutableBy: inputList(string()),
    Filter: filters,
    ...pagingInputs,
  },
  // No image is ever deprecated or disabled.
  ignored: ['IncludeDeprecated', 'IncludeDisabled'],
  output: {
    imagesSet: list(struct({
      imageId: text, imageLocation: text, imageState: text, imageOwnerId: text, creationDate: time, isPublic: boolean,
      productCodes: list(struct({})), architecture: text, imageType: text, stateReason: optional(struct({ code: text, message: text })),
      imageOwnerAlias: optional(text), name: text, description: text, rootDeviceType: text, rootDeviceName: text,
      blockDeviceMapping: list(struct({})), virtualizationType: text, tagSet, hypervisor: text,
    })),
    nextToken: optional(text),
  },
  errors: ['ImageIdMalformed', 'ImageNotFound', 'TokenPageInvalid'],
  mutates: false,
  async run({ manager, caller }, p) {
    // As EC2: one that has just been deregistered is in no answer, and no fault (Ansible waits for it so).
    const images = await manager.images.list(caller, p.ImageId.length === 0 ? {} : { ids: p.ImageId, gone: 'none' });
    const keep = filterBy(p.Filter, imageFilters, (i) => i.tags);
    const found = images.filter((i) => owned(i, p.Owner, caller) && executable(i, p.ExecutableBy, caller) && keep(i));
    const { items, nextToken } = page('DescribeImages', found, (i) => i.id, p);
    return { imagesSet: items.map(imageItem), nextToken };
  },
});

function owned(image: SeenImage, owners: readonly string[], caller: Caller): boolean {
  return owners.length === 0 || owners.some((o) =>
    o === ownerId(image) || (o === 'self' && image.ownerId === caller.ownerId) || (o === COMMON_ALIAS && image.owner === null));
}

/** Opened to all, or to an account by name; what its owner may do with it needs nobody's leave. */
function executable(image: SeenImage, by: readonly string[], caller: Caller): boolean {
  return by.length === 0 || by.some((b) => (b === 'all' ? isPublic(image) : image.grantedTo.includes(b === 'self' ? caller.ownerId : b)));
}

/** EC2 has no better word for a snapshot that could not be made. */
const NOT_MADE = 'Client.InvalidSnapshot';

function imageItem(i: SeenImage) {
  return {
    imageId: i.id,
    imageLocation: location(i),
    imageState: i.state,
    imageOwnerId: ownerId(i),
    creationDate: i.createdAt,
    isPublic: isPublic(i),
    productCodes: [],
    architecture: 'x86_64',
    imageType: 'machine',
    stateReason: i.reason === null ? undefined : { code: NOT_MADE, message: i.reason },
    imageOwnerAlias: i.owner === null ? COMMON_ALIAS : undefined,
    name: i.name,
    description: i.description,
    rootDeviceType: ROOT_DEVICE_TYPE,
    rootDeviceName: ROOT_DEVICE_NAME,
    blockDeviceMapping: [],
    virtualizationType: 'hvm',
    tagSet: tagItems(i.tags),
    hypervisor: 'kvm',
  };
}

/** Whether it can be one is the manager's to say, as for names from other doors. */
const newName = string({ max: 128 });
const descriptionText = string({ max: 255 });
const BLOCK_DEVICES = 'An image is one disk, as large as its instance\'s: it cannot have others beside it.';

export const createImage = operation({
  name: 'CreateImage',
  summary: 'Makes an image of a running or stopped lease\'s disk; what runs is shut down for it and runs on afterwards, or with NoReboot is copied as its disk is at one moment.',
  input: {
    InstanceId: required(instanceId),
    Name: required(newName),
    Description: descriptionText,
    NoReboot: booleanInput,
    BlockDeviceMapping: unsupported(BLOCK_DEVICES),
    TagSpecification: tagSpecifications,
  },
  ignored: ['SnapshotLocation'],
  output: { imageId: text },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'StateRefused', 'ImageExists', 'TooMany', 'Unsupported'],
  mutates: true,
  repeatable: () => false,
  async run({ manager, caller, dryRun }, p) {
    const image = { name: p.Name, description: p.Description ?? '', tags: tagsFor('image', p.TagSpecification), live: p.NoReboot === true };
    return { imageId: await manager.images.make(caller, p.InstanceId, image, { dryRun }) };
  },
});

export const deregisterImage = operation({
  name: 'DeregisterImage',
  summary: 'Removes an image of the caller\'s; refused while leases of it live.',
  input: { ImageId: required(imageId) },
  ignored: ['DeleteAssociatedSnapshots'],
  output: { return: boolean },
  errors: ['ImageIdMalformed', 'ImageNotFound', 'NotAuthorized', 'ImageInUse', 'ImageUnavailable'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    await manager.images.remove(caller, p.ImageId, { dryRun });
    return { return: true };
  },
});

export const registerImage = operation({
  name: 'RegisterImage',
  summary: 'Answers the id of the image that a location names; an image that is not in the service\'s store cannot be brought in with it.',
  input: {
    ImageLocation: string({ max: 512 }),
    Name: newName,
    Description: descriptionText,
    Architecture: string({ oneOf: ['x86_64'] }),
    VirtualizationType: string({ oneOf: ['hvm'] }),
    RootDeviceName: string(),
    BlockDeviceMapping: unsupported(BLOCK_DEVICES),
    KernelId: unsupported('Instances boot from their disks: an image has no kernel beside it.'),
    RamdiskId: unsupported('Instances boot from their disks: an image has no ramdisk beside it.'),
    TagSpecification: tagSpecifications,
  },
  ignored: ['EnaSupport', 'SriovNetSupport', 'BootMode', 'TpmSupport', 'UefiData', 'ImdsSupport', 'BillingProduct'],
  output: { imageId: text },
  errors: ['ImageNotFound', 'Unsupported'],
  mutates: true,
  async run({ manager, caller }, p) {
    if (p.ImageLocation === undefined) throw new Fault('Unsupported', 'There are no snapshots to make an image of: CreateImage makes one of an instance, an administrator adds one with: nimbus image add');
    const image = (await manager.images.list(caller)).find((i) => i.state === 'available' && location(i) === p.ImageLocation);
    if (image === undefined) throw new Fault('ImageNotFound', `No image lies at ${shown(p.ImageLocation)}`, ['DescribeImages shows where images lie; an administrator adds one with: nimbus image add'], { ec2: 'InvalidManifest' });
    if (p.Name !== undefined && p.Name !== image.name) throw new Fault('Unsupported', `The image ${image.id} at ${shown(p.ImageLocation)} is registered as ${image.name}, and has one name only`);
    return { imageId: image.id };
  },
});
