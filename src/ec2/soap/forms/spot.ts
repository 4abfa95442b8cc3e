/** Spot requests. */
import { dateTime, filterSet, from, ids, integer, items, optional, some, string, struct, tagsSince2010, V2010_06, type Elements, type SoapForms } from '../shapes.ts';
import { launch } from './instances.ts';
import { reason } from './parts.ts';

const { additionalInfo: _additionalInfo, ...specification } = launch();
const { userData: _userData, groupSet: _groupSet, ...shown } = specification;

const request: Elements = {
  spotInstanceRequestId: string,
  spotPrice: string,
  type: string,
  state: string,
  fault: optional(reason),
  validFrom: optional(dateTime),
  validUntil: optional(dateTime),
  launchGroup: optional(string),
  availabilityZoneGroup: optional(string),
  launchSpecification: optional(struct({ imageId: string, keyName: optional(string), groupSet: items({ groupId: from('groupName', string) }), ...shown })),
  instanceId: optional(string),
  createTime: optional(dateTime),
  productDescription: optional(string),
  tagSet: tagsSince2010,
};
const spotInstanceRequestIdSet = ids('spotInstanceRequestId');

export const spotForms: SoapForms = {
  RequestSpotInstances: {
    since: V2010_06,
    request: {
      spotPrice: string, instanceCount: optional(integer), type: optional(string), validFrom: optional(dateTime), validUntil: optional(dateTime),
      launchGroup: optional(string), availabilityZoneGroup: optional(string), launchSpecification: struct(specification),
    },
    response: { spotInstanceRequestSet: items(request) },
  },
  DescribeSpotInstanceRequests: { since: V2010_06, request: { spotInstanceRequestIdSet, filterSet }, response: { spotInstanceRequestSet: items(request) } },
  CancelSpotInstanceRequests: {
    since: V2010_06,
    request: { spotInstanceRequestIdSet },
    response: { spotInstanceRequestSet: some(items({ spotInstanceRequestId: string, state: string })) },
  },
  DescribeSpotPriceHistory: {
    since: V2010_06,
    request: {
      startTime: optional(dateTime), endTime: optional(dateTime), instanceTypeSet: optional(some(ids('instanceType'))),
      productDescriptionSet: optional(some(ids('productDescription'))), filterSet,
    },
    response: { spotPriceHistorySet: items({ instanceType: string, productDescription: string, spotPrice: string, timestamp: dateTime }) },
  },
};
