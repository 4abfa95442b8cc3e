/** DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute: who may lease an image, and its description. */
import { Fault } from '../../lease/faults.ts';
import type { GrantChange, SeenImage } from '../../manager/types.ts';
import { list as inputList, required, string, struct as structInput, unsupported } from '../inputs.ts';
import type { InputsOf } from '../inputs.ts';
import { operation } from '../operation.ts';
import { boolean, list, optional, struct, text } from '../outputs.ts';
import { imageId } from './images.ts';

const ATTRIBUTES = ['description', 'kernel', 'ramdisk', 'launchPermission', 'productCodes', 'blockDeviceMapping', 'sriovNetSupport'] as const;
type Attribute = (typeof ATTRIBUTES)[number];
const attribute = string({ max: 64, oneOf: ATTRIBUTES, anyCase: true });

const textValue = optional(struct({ value: optional(text) }));

export const describeImageAttribute = operation({
  name: 'DescribeImageAttribute',
  summary: 'Shows one attribute of an image; who may lease it is for its owner to see.',
  input: { ImageId: required(imageId), Attribute: required(attribute) },
  output: {
    imageId: text,
    launchPermission: optional(list(struct({ group: optional(text), userId: optional(text) }))),
    productCodes: optional(list(struct({}))),
    kernel: textValue,
    ramdisk: textValue,
    description: textValue,
    sriovNetSupport: textValue,
    blockDeviceMapping: optional(list(struct({}))),
  },
  errors: ['ImageIdMalformed', 'ImageNotFound', 'NotAuthorized'],
  mutates: false,
  async run({ manager, caller }, p) {
    const [image] = await manager.images.list(caller, { ids: [p.ImageId] }) as [SeenImage];
    if (p.Attribute !== 'launchPermission') return { imageId: image.id, ...VALUES[p.Attribute as Exclude<Attribute, 'launchPermission'>](image) };
    const { all, accounts } = await manager.images.grants(caller, p.ImageId);
    return { imageId: image.id, launchPermission: [...(all ? [{ group: 'all' }] : []), ...accounts.map((userId) => ({ userId }))] };
  },
});

const VALUES: Readonly<Record<Exclude<Attribute, 'launchPermission'>, (i: SeenImage) => object>> = {
  description: (i) => ({ description: { value: i.description } }),
  kernel: () => ({ kernel: {} }),
  ramdisk: () => ({ ramdisk: {} }),
  productCodes: () => ({ productCodes: [] }),
  blockDeviceMapping: () => ({ blockDeviceMapping: [] }),
  sriovNetSupport: () => ({ sriovNetSupport: {} }),
};

const group = string({ oneOf: ['all'] });
const owner = string({ max: 12, pattern: /^\d{12}$/, must: 'must be an owner id, 12 digits' });
const permission = inputList(structInput({ Group: group, UserId: owner }));

const modified = {
  ImageId: required(imageId),
  Attribute: string({ max: 64, oneOf: ['description', 'launchPermission'], anyCase: true }),
  OperationType: string({ oneOf: ['add', 'remove'] }),
  UserId: inputList(owner),
  UserGroup: inputList(group),
  LaunchPermission: structInput({ Add: permission, Remove: permission }),
  Description: structInput({ Value: string({ max: 255, empty: true }) }),
  Value: string({ max: 255, empty: true }),
  ProductCode: unsupported('Images have no product codes here.'),
  OrganizationArn: unsupported('There are no organizations here: open the image to accounts, or to all.'),
  OrganizationalUnitArn: unsupported('There are no organizations here: open the image to accounts, or to all.'),
};

export const modifyImageAttribute = operation({
  name: 'ModifyImageAttribute',
  summary: 'Opens an image of the caller\'s to other accounts or to all, closes it again, or changes its description.',
  input: modified,
  output: { return: boolean },
  errors: ['ImageIdMalformed', 'ImageNotFound', 'NotAuthorized', 'UserNotFound', 'ParameterConflict', 'Unsupported', 'TooMany'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    await manager.images.change(caller, p.ImageId, changeOf(p), { dryRun });
    return { return: true };
  },
});

type Modified = InputsOf<typeof modified>;

function changeOf(p: Modified): { description?: string; grants?: GrantChange } {
  const description = p.Description?.Value ?? (p.Attribute === 'description' ? p.Value ?? missing('Value') : undefined);
  const permissions = p.LaunchPermission !== undefined || p.UserId.length > 0 || p.UserGroup.length > 0;
  if (description !== undefined && permissions) throw new Fault('ParameterConflict', 'One request changes one attribute.');
  if (description !== undefined) return { description };
  if (!permissions) return missing('LaunchPermission or Description');
  return { grants: grantsOf(p) };
}

function missing(name: string): never {
  throw new Fault('ParameterMissing', `The request must contain the parameter ${name}`);
}

/** As a structure, or as lists with an operation beside them (the older form). */
function grantsOf({ OperationType: type, UserId, UserGroup, LaunchPermission: l }: Modified): GrantChange {
  const listed = UserId.length > 0 || UserGroup.length > 0;
  if (listed && type === undefined) missing('OperationType');
  const listedFor = (operation: string): { UserId?: string; Group?: string }[] =>
    (type === operation ? [...UserId.map((id) => ({ UserId: id })), ...UserGroup.map((g) => ({ Group: g }))] : []);
  const [add, remove] = [[...l?.Add ?? [], ...listedFor('add')], [...l?.Remove ?? [], ...listedFor('remove')]];
  const [opens, closes] = [add.some((a) => a.Group === 'all'), remove.some((r) => r.Group === 'all')];
  const owners = (permissions: typeof add): string[] => permissions.flatMap((x) => x.UserId ?? []);
  if ((opens && closes) || owners(add).some((o) => owners(remove).includes(o))) throw new Fault('ParameterConflict', 'The same permission cannot be added and removed at once.');
  return { add: owners(add), remove: owners(remove), ...(opens || closes ? { all: opens } : {}) };
}

export const resetImageAttribute = operation({
  name: 'ResetImageAttribute',
  summary: 'Closes an image of the caller\'s to all but himself.',
  input: { ImageId: required(imageId), Attribute: required(string({ oneOf: ['launchPermission'], anyCase: true })) },
  output: { return: boolean },
  errors: ['ImageIdMalformed', 'ImageNotFound', 'NotAuthorized'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    await manager.images.change(caller, p.ImageId, { grants: null }, { dryRun });
    return { return: true };
  },
});
