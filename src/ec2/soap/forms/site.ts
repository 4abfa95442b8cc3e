/** Zones, regions, groups, networks, disks. */
import {
  boolean, dateTime, done, filterSet, from, ids, int, items, optional, port, since, string, tagsSince2010, V2008, V2009, V2010_06, type Elements, type SoapForms,
} from '../shapes.ts';

const permissions = items({
  ipProtocol: string, fromPort: port, toPort: port, groups: items({ userId: string, groupName: string }), ipRanges: items({ cidrIp: string }),
});
const change: Elements = { userId: string, groupName: string, ipPermissions: permissions };
const filters = { ...filterSet, since: V2009 };

export const siteForms: SoapForms = {
  DescribeAvailabilityZones: {
    since: V2008,
    request: { availabilityZoneSet: ids('zoneName'), filterSet },
    response: {
      availabilityZoneInfo: items({ zoneName: string, zoneState: string, regionName: since(V2009, string), messageSet: since(V2009, items({ message: string })) }),
    },
  },
  DescribeRegions: { since: V2009, request: { regionSet: ids('regionName'), filterSet }, response: { regionInfo: items({ regionName: string, regionEndpoint: string }) } },
  CreateSecurityGroup: { since: V2008, request: { groupName: string, groupDescription: string }, response: done },
  DeleteSecurityGroup: { since: V2008, request: { groupName: string }, response: done },
  DescribeSecurityGroups: {
    since: V2008,
    request: { securityGroupSet: ids('groupName'), filterSet },
    response: { securityGroupInfo: items({ ownerId: string, groupName: string, groupDescription: string, ipPermissions: permissions }) },
  },
  AuthorizeSecurityGroupIngress: { since: V2008, request: change, response: done },
  RevokeSecurityGroupIngress: { since: V2008, request: change, response: done },
  DescribeVpcs: {
    since: V2009,
    request: { vpcSet: optional(ids('vpcId')), filterSet: filters },
    response: { vpcSet: items({ vpcId: string, state: optional(string), cidrBlock: optional(string), dhcpOptionsId: optional(string), tagSet: tagsSince2010 }) },
  },
  DescribeSubnets: {
    since: V2009,
    request: { subnetSet: optional(ids('subnetId')), filterSet: filters },
    response: {
      subnetSet: items({
        subnetId: string, state: optional(string), vpcId: optional(string), cidrBlock: optional(string), availableIpAddressCount: optional(int),
        availabilityZone: optional(string), tagSet: tagsSince2010,
      }),
    },
  },
  DescribeDhcpOptions: {
    since: V2009,
    request: { dhcpOptionsSet: optional(ids('dhcpOptionsId')), filterSet },
    response: {
      dhcpOptionsSet: items({ dhcpOptionsId: string, dhcpConfigurationSet: items({ key: string, valueSet: items({ value: string }) }), tagSet: tagsSince2010 }),
    },
  },
  DescribePlacementGroups: {
    since: V2010_06,
    request: { placementGroupSet: ids('groupName'), filterSet },
    response: { placementGroupSet: items({ groupName: string, strategy: string, state: string }) },
  },
  DescribeAddresses: { since: V2008, request: { publicIpsSet: ids('publicIp'), filterSet }, response: { addressesSet: items({ publicIp: string, instanceId: optional(string) }) } },
  DescribeVolumes: {
    since: V2008,
    request: { volumeSet: ids('volumeId'), filterSet },
    response: {
      volumeSet: items({
        volumeId: string, size: string, snapshotId: string, availabilityZone: string, status: string, createTime: dateTime,
        attachmentSet: items({ volumeId: string, instanceId: string, device: string, status: string, attachTime: dateTime, deleteOnTermination: since(V2010_06, boolean) }),
        tagSet: tagsSince2010,
      }),
    },
  },
  DescribeSnapshots: {
    since: V2008,
    request: {
      snapshotSet: ids('snapshotId'), ownersSet: since(V2009, optional(ids('owner'))), restorableBySet: since(V2009, optional(from('RestorableBy', ids('user')))), filterSet,
    },
    response: {
      snapshotSet: items({
        snapshotId: string, volumeId: string, status: string, startTime: dateTime, progress: string, ownerId: since(V2009, string),
        volumeSize: since(V2009, string), description: since(V2009, optional(string)), ownerAlias: since(V2010_06, optional(string)), tagSet: tagsSince2010,
      }),
    },
  },
};
