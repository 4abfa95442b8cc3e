/** Images. */
import {
  boolean, choice, choiceOf, done, filterSet, from, ids, items, optional, since, string, struct, tagsSince2010,
  V2008, V2009, V2010_06, type SoapForms,
} from '../shapes.ts';
import { deviceMapping, productCodes, reason } from './parts.ts';

const value = struct({ value: optional(string) });
const user = choice({ userId: string, group: string });

export const imageForms: SoapForms = {
  DescribeImages: {
    since: V2008,
    request: { executableBySet: optional(from('ExecutableBy', ids('user'))), imagesSet: ids('imageId'), ownersSet: optional(ids('owner')), filterSet },
    response: {
      imagesSet: items({
        imageId: string,
        imageLocation: optional(string, V2010_06),
        imageState: string,
        imageOwnerId: string,
        isPublic: boolean,
        productCodes: optional(productCodes),
        architecture: optional(string),
        imageType: optional(string),
        kernelId: optional(string),
        ramdiskId: optional(string),
        platform: since(V2009, optional(string)),
        stateReason: since(V2010_06, optional(reason)),
        imageOwnerAlias: since(V2010_06, optional(string)),
        name: since(V2010_06, optional(string)),
        description: since(V2010_06, optional(string)),
        rootDeviceType: since(V2010_06, optional(string)),
        rootDeviceName: since(V2010_06, optional(string)),
        blockDeviceMapping: since(V2010_06, optional(deviceMapping)),
        virtualizationType: since(V2010_06, optional(string)),
        tagSet: tagsSince2010,
      }),
    },
  },
  RegisterImage: {
    since: V2008,
    request: {
      imageLocation: optional(string, V2010_06),
      name: since(V2010_06, string),
      description: since(V2010_06, optional(string)),
      architecture: since(V2010_06, optional(string)),
      kernelId: since(V2010_06, optional(string)),
      ramdiskId: since(V2010_06, optional(string)),
      rootDeviceName: since(V2010_06, optional(string)),
      blockDeviceMapping: since(V2010_06, optional(deviceMapping)),
    },
    response: { imageId: string },
  },
  DeregisterImage: { since: V2008, request: { imageId: string }, response: done },
  CreateImage: {
    since: V2010_06,
    request: { instanceId: string, name: string, description: optional(string), noReboot: optional(boolean) },
    response: { imageId: string },
  },
  DescribeImageAttribute: {
    since: V2008,
    request: {
      imageId: string,
      oneOf: choiceOf('Attribute', ['launchPermission', 'productCodes', 'kernel', 'ramdisk', 'blockDeviceMapping'], { description: V2010_06 }),
    },
    response: {
      imageId: string,
      oneOf: choice({
        launchPermission: items({ oneOf: user }),
        productCodes: items({ oneOf: choice({ productCode: string }) }),
        kernel: value, ramdisk: value, description: since(V2010_06, value), blockDeviceMapping: deviceMapping,
      }),
    },
  },
  ModifyImageAttribute: {
    since: V2008,
    request: {
      imageId: string,
      oneOf: choice({
        launchPermission: struct({ oneOf: choice({ add: items({ oneOf: user }), remove: items({ oneOf: user }) }) }),
        productCodes: from('ProductCode', ids('productCode')),
        description: since(V2010_06, struct({ value: string })),
      }),
    },
    response: done,
  },
  ResetImageAttribute: { since: V2008, request: { imageId: string, oneOf: choiceOf('Attribute', ['launchPermission']) }, response: done },
};
