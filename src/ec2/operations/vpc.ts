/** The site's networks as clients look for them: one VPC, its subnets, route table and gateway. They are the site's, and cannot be changed. */
import { Fault } from '../../lease/faults.ts';
import type { SubnetView } from '../../manager/types.ts';
import { coveringCidr, gatewayId, routeAssociationId, routeTableId, subnetArn, vpcId } from '../../network/mirror.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import { list as inputList, required, shown, string } from '../inputs.ts';
import type { Call } from '../operation.ts';
import { operation } from '../operation.ts';
import { boolean, integer, list, optional, struct, text } from '../outputs.ts';
import { page, pagingInputs } from '../paging.ts';
import { tagSet } from '../tags.ts';

const ASSOCIATED = { state: 'associated' };
const DHCP = 'default';

const missing = (what: string, id: string, code: string): Fault => new Fault('ResourceNotFound', `The ${what} ID '${shown(id)}' does not exist`, [], { ec2: code });
const vpcNotFound = (id: string): Fault => new Fault('VpcNotFound', `The vpc ID '${shown(id)}' does not exist`);

interface Vpc {
  readonly id: string;
  readonly ownerId: string;
  readonly cidr: string;
  /** Of the subnets that have one, each once. */
  readonly cidrs: readonly string[];
}

async function theVpc({ manager, caller }: Call): Promise<Vpc> {
  const cidrs = [...new Set((await manager.site.subnets()).flatMap((s) => s.cidr ?? []))];
  return { id: vpcId(manager.site.region()), ownerId: caller.ownerId, cidr: coveringCidr(cidrs), cidrs };
}

const association = (vpc: Vpc, i: number): string => `vpc-cidr-assoc-${vpc.id.slice(4, 19)}${i.toString(16).padStart(2, '0')}`;

export const describeVpcs = operation({
  name: 'DescribeVpcs',
  summary: 'Shows the one VPC that mirrors the site\'s networks.',
  input: { VpcId: inputList(string()), Filter: filters, ...pagingInputs },
  output: {
    vpcSet: list(struct({
      vpcId: text, ownerId: text, state: text, cidrBlock: text,
      cidrBlockAssociationSet: list(struct({ associationId: text, cidrBlock: text, cidrBlockState: struct({ state: text }) })),
      dhcpOptionsId: text, instanceTenancy: text, isDefault: boolean, tagSet,
    })),
    nextToken: optional(text),
  },
  errors: ['VpcNotFound'],
  mutates: false,
  async run(call, p) {
    const vpc = await theVpc(call);
    const other = p.VpcId.find((id) => id !== vpc.id);
    if (other !== undefined) throw vpcNotFound(other);
    const keep = filterBy<Vpc>(p.Filter, {
      ...absentFilters('ipv6-cidr-block-association.association-id', 'ipv6-cidr-block-association.ipv6-cidr-block', 'ipv6-cidr-block-association.ipv6-pool', 'ipv6-cidr-block-association.state'),
      'cidr': (v) => v.cidr,
      'cidr-block-association.association-id': (v) => v.cidrs.map((_, i) => association(v, i)),
      'cidr-block-association.cidr-block': (v) => v.cidrs,
      'cidr-block-association.state': () => ASSOCIATED.state,
      'cidrBlock': (v) => v.cidr,
      'dhcp-options-id': () => DHCP,
      'dhcpOptionsId': () => DHCP,
      'is-default': () => true,
      'isDefault': () => true,
      'owner-id': (v) => v.ownerId,
      'state': () => 'available',
      'vpc-id': (v) => v.id,
    }, () => ({}));
    const { items, nextToken } = page('DescribeVpcs', [vpc].filter(keep), (v) => v.id, p);
    return {
      vpcSet: items.map((v) => ({
        vpcId: v.id, ownerId: v.ownerId, state: 'available', cidrBlock: v.cidr,
        cidrBlockAssociationSet: v.cidrs.map((cidrBlock, i) => ({ associationId: association(v, i), cidrBlock, cidrBlockState: ASSOCIATED })),
        dhcpOptionsId: DHCP, instanceTenancy: 'default', isDefault: true, tagSet: [],
      })),
      nextToken,
    };
  },
});

const ATTRIBUTES = ['enableDnsSupport', 'enableDnsHostnames', 'enableNetworkAddressUsageMetrics'] as const;
const attributeValue = optional(struct({ value: boolean }));

export const describeVpcAttribute = operation({
  name: 'DescribeVpcAttribute',
  summary: 'Shows an attribute of the VPC: guests resolve names where their network has name servers; nothing gives them names.',
  input: { VpcId: required(string()), Attribute: required(string({ oneOf: ATTRIBUTES })) },
  output: { vpcId: text, enableDnsSupport: attributeValue, enableDnsHostnames: attributeValue, enableNetworkAddressUsageMetrics: attributeValue },
  errors: ['VpcNotFound'],
  mutates: false,
  async run({ manager }, p) {
    if (p.VpcId !== vpcId(manager.site.region())) throw vpcNotFound(p.VpcId);
    return { vpcId: p.VpcId, [p.Attribute]: { value: p.Attribute === 'enableDnsSupport' } };
  },
});

export const describeSubnets = operation({
  name: 'DescribeSubnets',
  summary: 'Shows a subnet for each of the site\'s networks and zones, with the addresses that are free.',
  input: { SubnetId: inputList(string()), Filter: filters, ...pagingInputs },
  output: {
    subnetSet: list(struct({
      subnetId: text, subnetArn: text, state: text, ownerId: text, vpcId: text, cidrBlock: optional(text), ipv6CidrBlockAssociationSet: list(struct({})),
      availableIpAddressCount: integer, availabilityZone: text, availabilityZoneId: text, defaultForAz: boolean, mapPublicIpOnLaunch: boolean,
      assignIpv6AddressOnCreation: boolean, mapCustomerOwnedIpOnLaunch: boolean, ipv6Native: boolean, enableDns64: boolean, tagSet,
    })),
    nextToken: optional(text),
  },
  errors: ['SubnetNotFound'],
  mutates: false,
  async run({ manager, caller }, p) {
    const region = manager.site.region();
    const subnets = await manager.site.subnets();
    const other = p.SubnetId.find((id) => !subnets.some((s) => s.id === id));
    if (other !== undefined) throw new Fault('SubnetNotFound', `The subnet ID '${shown(other)}' does not exist`);
    const keep = filterBy<SubnetView>(p.Filter, {
      ...absentFilters('customer-owned-ipv4-pool', 'enable-lni-at-device-index', 'ipv6-cidr-block-association.association-id', 'ipv6-cidr-block-association.ipv6-cidr-block',
        'ipv6-cidr-block-association.state', 'outpost-arn', 'private-dns-name-options-on-launch.hostname-type',
        'private-dns-name-options-on-launch.enable-resource-name-dns-a-record', 'private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record'),
      'availability-zone': (s) => s.zone,
      'availability-zone-id': (s) => s.zone,
      'availabilityZone': (s) => s.zone,
      'availabilityZoneId': (s) => s.zone,
      'available-ip-address-count': (s) => s.free,
      'cidr': (s) => s.cidr ?? undefined,
      'cidr-block': (s) => s.cidr ?? undefined,
      'cidrBlock': (s) => s.cidr ?? undefined,
      'default-for-az': (s) => s.isDefault,
      'defaultForAz': (s) => s.isDefault,
      'enable-dns64': () => false,
      'ipv6-native': () => false,
      'map-customer-owned-ip-on-launch': () => false,
      'map-public-ip-on-launch': () => true,
      'owner-id': () => caller.ownerId,
      'state': subnetState,
      'subnet-arn': (s) => subnetArn(region, caller.ownerId, s.id),
      'subnet-id': (s) => s.id,
      'vpc-id': () => vpcId(region),
    }, (s) => ({ Name: s.network }));
    const found = subnets.filter((s) => (p.SubnetId.length === 0 || p.SubnetId.includes(s.id)) && keep(s));
    const { items, nextToken } = page('DescribeSubnets', found, (s) => s.id, p);
    return {
      subnetSet: items.map((s) => ({
        subnetId: s.id, subnetArn: subnetArn(region, caller.ownerId, s.id), state: subnetState(s), ownerId: caller.ownerId, vpcId: vpcId(region),
        cidrBlock: s.cidr ?? undefined, ipv6CidrBlockAssociationSet: [], availableIpAddressCount: s.free, availabilityZone: s.zone, availabilityZoneId: s.zone,
        defaultForAz: s.isDefault, mapPublicIpOnLaunch: true, assignIpv6AddressOnCreation: false, mapCustomerOwnedIpOnLaunch: false, ipv6Native: false, enableDns64: false,
        // A subnet has no name in EC2; people look for the tag.
        tagSet: [{ key: 'Name', value: s.network }],
      })),
      nextToken,
    };
  },
});

const subnetState = (s: SubnetView): string => (s.available ? 'available' : 'unavailable');

interface Routes {
  readonly destination: string;
  readonly target: string;
}

/** What is local stays; all else leaves by the gateway, as far as the site's networks let it. */
const routes = (vpc: Vpc, region: string): Routes[] => [...vpc.cidrs.map((destination) => ({ destination, target: 'local' })), { destination: '0.0.0.0/0', target: gatewayId(region) }];

export const describeRouteTables = operation({
  name: 'DescribeRouteTables',
  summary: 'Shows the one route table, which is the VPC\'s main one.',
  input: { RouteTableId: inputList(string()), Filter: filters, ...pagingInputs },
  output: {
    routeTableSet: list(struct({
      routeTableId: text, vpcId: text, ownerId: text,
      routeSet: list(struct({ destinationCidrBlock: text, gatewayId: text, state: text, origin: text })),
      associationSet: list(struct({ routeTableAssociationId: text, routeTableId: text, main: boolean, associationState: struct({ state: text }) })),
      propagatingVgwSet: list(struct({})), tagSet,
    })),
    nextToken: optional(text),
  },
  errors: ['ResourceNotFound'],
  mutates: false,
  async run(call, p) {
    const region = call.manager.site.region();
    const id = routeTableId(region);
    const other = p.RouteTableId.find((r) => r !== id);
    if (other !== undefined) throw missing('routeTable', other, 'InvalidRouteTableID.NotFound');
    const vpc = await theVpc(call);
    const table = routes(vpc, region);
    const keep = filterBy<Vpc>(p.Filter, {
      ...absentFilters('association.gateway-id', 'association.subnet-id', 'route.destination-ipv6-cidr-block', 'route.destination-prefix-list-id',
        'route.egress-only-internet-gateway-id', 'route.instance-id', 'route.nat-gateway-id', 'route.transit-gateway-id', 'route.vpc-peering-connection-id'),
      'association.main': () => true,
      'association.route-table-association-id': () => routeAssociationId(region),
      'association.route-table-id': () => id,
      'owner-id': (v) => v.ownerId,
      'route-table-id': () => id,
      'route.destination-cidr-block': () => table.map((r) => r.destination),
      'route.gateway-id': () => table.map((r) => r.target),
      'route.origin': () => ['CreateRouteTable', 'CreateRoute'],
      'route.state': () => 'active',
      'vpc-id': (v) => v.id,
    }, () => ({}));
    return {
      routeTableSet: [vpc].filter(keep).map((v) => ({
        routeTableId: id, vpcId: v.id, ownerId: v.ownerId,
        routeSet: table.map((r) => ({ destinationCidrBlock: r.destination, gatewayId: r.target, state: 'active', origin: r.target === 'local' ? 'CreateRouteTable' : 'CreateRoute' })),
        associationSet: [{ routeTableAssociationId: routeAssociationId(region), routeTableId: id, main: true, associationState: ASSOCIATED }],
        propagatingVgwSet: [], tagSet: [],
      })),
    };
  },
});

export const describeInternetGateways = operation({
  name: 'DescribeInternetGateways',
  summary: 'Shows the one gateway of the VPC.',
  input: { InternetGatewayId: inputList(string()), Filter: filters, ...pagingInputs },
  output: {
    internetGatewaySet: list(struct({ internetGatewayId: text, ownerId: text, attachmentSet: list(struct({ vpcId: text, state: text })), tagSet })),
    nextToken: optional(text),
  },
  errors: ['ResourceNotFound'],
  mutates: false,
  async run({ manager, caller }, p) {
    const region = manager.site.region();
    const id = gatewayId(region);
    const other = p.InternetGatewayId.find((g) => g !== id);
    if (other !== undefined) throw missing('internetGateway', other, 'InvalidInternetGatewayID.NotFound');
    const keep = filterBy<string>(p.Filter, {
      'attachment.state': () => 'available',
      'attachment.vpc-id': () => vpcId(region),
      'internet-gateway-id': () => id,
      'owner-id': () => caller.ownerId,
    }, () => ({}));
    const gateways = [id].filter(keep);
    return {
      internetGatewaySet: gateways.map((internetGatewayId) => ({ internetGatewayId, ownerId: caller.ownerId, attachmentSet: [{ vpcId: vpcId(region), state: 'available' }], tagSet: [] })),
    };
  },
});
