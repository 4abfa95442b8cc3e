/** DescribeImages. */
import { IMAGE_ID, NAME } from '../../lease/ids.ts';
import type { Caller, ImageView } from '../../manager/types.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import type { FilterTable } from '../filters.ts';
import { list as inputList, string } from '../inputs.ts';
import { operation } from '../operation.ts';
import { boolean, list, optional, struct, text, time } from '../outputs.ts';
import { page, pagingInputs } from '../paging.ts';
import { tagSet } from '../tags.ts';
import { isoSeconds } from '../time.ts';

/** Owner of images that all users share; no account has this number. */
const COMMON = '000000000000';
const COMMON_ALIAS = 'common';

/** By id or, as in the configuration and commands of the site, by name. */
export const imageReference = string({
  max: 64, pattern: new RegExp(`${IMAGE_ID.source}|^(?!ami-|.*\\.\\.)${NAME.source.slice(1)}`), fault: 'ImageIdMalformed', must: 'must be an image id, ami- and hexadecimal digits, or an image\'s name',
});

const ownerId = (i: ImageView): string => i.ownerId ?? COMMON;
const location = (i: ImageView): string => `${i.owner ?? COMMON_ALIAS}/${i.name}`;

/** Filters of EC2 for things that no image has: known, and matching nothing. */
const ABSENT = absentFilters(
  'block-device-mapping.delete-on-termination', 'block-device-mapping.device-name', 'block-device-mapping.encrypted', 'block-device-mapping.snapshot-id',
  'block-device-mapping.volume-size', 'block-device-mapping.volume-type', 'boot-mode', 'free-tier-eligible', 'image-allowed',
  'image-watermark.source-image-creation-time', 'image-watermark.source-image-id', 'image-watermark.source-image-region',
  'image-watermark.watermark-creation-time', 'image-watermark.watermark-key', 'imds-support', 'instance-type-specification.supported-instance-type',
  'instance-type-specification.unsupported-instance-type', 'kernel-id', 'platform', 'product-code', 'product-code.type', 'public-ssm-parameter-name',
  'ramdisk-id', 'scan-result.critical-fix-available-since', 'scan-result.finding-scan-date', 'scan-result.high-fix-available-since',
  'scan-result.highest-finding-severity-label', 'scan-result.informational-fix-available-since', 'scan-result.low-fix-available-since',
  'scan-result.medium-fix-available-since', 'source-image-id', 'source-image-region', 'source-instance-id', 'sriov-net-support', 'state-reason-code',
  'state-reason-message', 'tpm-support', 'usage-operation',
);

const imageFilters: FilterTable<ImageView> = {
  ...ABSENT,
  'architecture': () => 'x86_64',
  'creation-date': (i) => isoSeconds(i.createdAt),
  'description': (i) => i.description,
  'ena-support': () => false,
  'hypervisor': () => 'kvm',
  'image-id': (i) => i.id,
  'image-type': () => 'machine',
  'is-public': (i) => i.owner === null,
  'manifest-location': location,
  'name': (i) => i.name,
  'owner-alias': (i) => (i.owner === null ? COMMON_ALIAS : undefined),
  'owner-id': ownerId,
  'root-device-name': () => '/dev/vda',
  'root-device-type': () => 'instance-store',
  'state': () => 'available',
  'virtualization-type': () => 'hvm',
};

export const describeImages = operation({
  name: 'DescribeImages',
  summary: 'Shows the images that the caller may lease: own and common ones.',
  input: {
    ImageId: inputList(imageReference),
    Owner: inputList(string()),
    ExecutableBy: inputList(string()),
    Filter: filters,
    ...pagingInputs,
  },
  ignored: ['IncludeDeprecated', 'IncludeDisabled'],
  output: {
    imagesSet: list(struct({
      imageId: text, imageLocation: text, imageState: text, imageOwnerId: text, creationDate: time, isPublic: boolean,
      productCodes: list(struct({})), architecture: text, imageType: text, imageOwnerAlias: optional(text), name: text,
      description: text, rootDeviceType: text, rootDeviceName: text, blockDeviceMapping: list(struct({})),
      virtualizationType: text, tagSet, hypervisor: text,
    })),
    nextToken: optional(text),
  },
  mutates: false,
  async run({ manager, caller }, p) {
    const images = await manager.images.list(caller, p.ImageId.length === 0 ? {} : { ids: p.ImageId });
    const keep = filterBy(p.Filter, imageFilters, () => ({}));
    const found = images.filter((i) => owned(i, p.Owner, caller) && executable(i, p.ExecutableBy, caller) && keep(i));
    const { items, nextToken } = page('DescribeImages', found, (i) => i.id, p);
    return { imagesSet: items.map(imageItem), nextToken };
  },
});

function owned(image: ImageView, owners: readonly string[], caller: Caller): boolean {
  return owners.length === 0 || owners.some((o) =>
    o === ownerId(image) || (o === 'self' && image.ownerId === caller.ownerId) || (o === COMMON_ALIAS && image.owner === null));
}

function executable(image: ImageView, by: readonly string[], caller: Caller): boolean {
  return by.length === 0 || by.some((b) => (b === 'all' ? image.owner === null : b === 'self' || b === caller.ownerId));
}

function imageItem(i: ImageView) {
  return {
    imageId: i.id,
    imageLocation: location(i),
    imageState: 'available',
    imageOwnerId: ownerId(i),
    creationDate: i.createdAt,
    isPublic: i.owner === null,
    productCodes: [],
    architecture: 'x86_64',
    imageType: 'machine',
    imageOwnerAlias: i.owner === null ? COMMON_ALIAS : undefined,
    name: i.name,
    description: i.description,
    rootDeviceType: 'instance-store',
    rootDeviceName: '/dev/vda',
    blockDeviceMapping: [],
    virtualizationType: 'hvm',
    tagSet: [],
    hypervisor: 'kvm',
  };
}
