/** Instances. */
import {
  boolean, choice, choiceOf, dateTime, done, filterSet, from, ids, int, items, optional, since, some, string, struct, tagsSince2010, until,
  V2008, V2009, V2010_06, V2010_08, type Element, type Elements, type SoapForms,
} from '../shapes.ts';
import { deviceMapping, productCodes, reason, state } from './parts.ts';

const userData: Element = { kind: 'userData', optional: V2010_06 };
const disks = items({
  deviceName: string,
  oneOf: choice({ ebs: struct({ volumeId: string, status: string, attachTime: dateTime, deleteOnTermination: optional(boolean) }) }),
});

/** What a launch names, of the request and of a spot request's specification. */
export const launch = (between: Elements = {}): Elements => ({
  imageId: string,
  ...between,
  keyName: optional(string),
  groupSet: from('SecurityGroup', ids('groupId')),
  additionalInfo: optional(string),
  userData,
  addressingType: optional(string),
  instanceType: string,
  placement: optional(struct({ availabilityZone: optional(string), groupName: since(V2010_06, optional(string)) })),
  kernelId: optional(string),
  ramdiskId: optional(string),
  blockDeviceMapping: optional(deviceMapping),
  monitoring: since(V2009, optional(struct({ enabled: optional(boolean) }))),
  subnetId: since(V2009, optional(string)),
});

const instance: Elements = {
  instanceId: string,
  imageId: optional(string, V2010_06),
  instanceState: state,
  privateDnsName: string,
  dnsName: optional(string, V2009),
  reason: optional(string),
  keyName: optional(string),
  amiLaunchIndex: optional(string),
  productCodes: optional(productCodes),
  instanceType: string,
  launchTime: dateTime,
  placement: optional(struct({ availabilityZone: string, groupName: since(V2010_06, optional(string)) }), V2009),
  kernelId: optional(string),
  ramdiskId: optional(string),
  platform: since(V2009, optional(string)),
  monitoring: since(V2009, optional(struct({ state: string }))),
  subnetId: since(V2009, optional(string)),
  vpcId: since(V2009, optional(string)),
  privateIpAddress: since(V2009, optional(string)),
  ipAddress: since(V2009, optional(string)),
  stateReason: since(V2010_06, optional(reason)),
  architecture: since(V2010_06, optional(string)),
  rootDeviceType: since(V2010_06, optional(string)),
  rootDeviceName: since(V2010_06, optional(string)),
  blockDeviceMapping: since(V2010_06, optional(disks)),
  instanceLifecycle: since(V2010_06, optional(string)),
  spotInstanceRequestId: since(V2010_06, optional(string)),
  license: since(V2010_06, optional(struct({ pool: string }))),
  virtualizationType: since(V2010_06, optional(string)),
  clientToken: since(V2010_08, optional(string)),
  tagSet: tagsSince2010,
};

/** The schema of these versions calls a group's name its id. */
const groupSet = items({ groupId: from('groupName', string) });
const reservation: Elements = {
  reservationId: string, ownerId: string, groupSet, instancesSet: some(items(instance)), requesterId: since(V2009, optional(string)),
};

const instancesSet = ids('instanceId');
const changed: Elements = { instancesSet: items({ instanceId: string, currentState: state, previousState: state }) };
const monitored: Elements = { instancesSet: some(items({ instanceId: string, monitoring: struct({ state: string }) })) };
const text = struct({ value: optional(string) });

export const instanceForms: SoapForms = {
  RunInstances: {
    since: V2008,
    request: {
      ...launch({ minCount: int, maxCount: int }),
      disableApiTermination: since(V2010_06, optional(boolean)),
      instanceInitiatedShutdownBehavior: since(V2010_06, optional(string)),
      license: since(V2010_06, optional(struct({ pool: string }))),
      privateIpAddress: since(V2010_06, optional(string)),
      clientToken: since(V2010_08, optional(string)),
    },
    response: reservation,
  },
  DescribeInstances: { since: V2008, request: { instancesSet, filterSet }, response: { reservationSet: items(reservation) } },
  TerminateInstances: {
    since: V2008,
    request: { instancesSet: some(instancesSet, V2010_06) },
    response: {
      instancesSet: items({ instanceId: string, shutdownState: until(V2010_06, from('currentState', state)), currentState: since(V2010_06, state), previousState: state }),
    },
  },
  RebootInstances: { since: V2008, request: { instancesSet: some(instancesSet) }, response: done },
  StartInstances: { since: V2010_06, request: { instancesSet }, response: changed },
  StopInstances: { since: V2010_06, request: { instancesSet, force: optional(boolean) }, response: changed },
  MonitorInstances: { since: V2009, request: { instancesSet: some(instancesSet) }, response: monitored },
  UnmonitorInstances: { since: V2009, request: { instancesSet: some(instancesSet) }, response: monitored },
  GetConsoleOutput: { since: V2008, request: { instanceId: string }, response: { instanceId: string, timestamp: dateTime, output: string } },
  GetPasswordData: { since: V2009, request: { instanceId: string }, response: { instanceId: string, timestamp: dateTime, passwordData: string } },
  DescribeInstanceAttribute: {
    since: V2010_06,
    request: {
      instanceId: string,
      oneOf: choiceOf('Attribute', ['instanceType', 'kernel', 'ramdisk', 'userData', 'disableApiTermination', 'instanceInitiatedShutdownBehavior', 'rootDeviceName', 'blockDeviceMapping']),
    },
    response: {
      instanceId: string,
      oneOf: choice({
        instanceType: text, kernel: text, ramdisk: text, userData: text, disableApiTermination: struct({ value: optional(boolean) }),
        instanceInitiatedShutdownBehavior: text, rootDeviceName: text, blockDeviceMapping: disks,
      }),
    },
  },
  ModifyInstanceAttribute: {
    since: V2010_06,
    request: {
      instanceId: string,
      oneOf: choice({
        instanceType: struct({ value: string }), kernel: struct({ value: string }), ramdisk: struct({ value: string }), userData: struct({ value: string }),
        disableApiTermination: struct({ value: boolean }), instanceInitiatedShutdownBehavior: struct({ value: string }),
        blockDeviceMapping: items({
          deviceName: string,
          oneOf: choice({ virtualName: string, ebs: struct({ volumeId: string, deleteOnTermination: optional(boolean) }), noDevice: struct({}) }),
        }),
      }),
    },
    response: done,
  },
  ResetInstanceAttribute: { since: V2010_06, request: { instanceId: string, oneOf: choiceOf('Attribute', ['kernel', 'ramdisk']) }, response: done },
};
