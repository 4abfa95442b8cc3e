/** The table of operations. An action that is not here is InvalidAction. */
import type { Operation } from '../operation.ts';
import {
  describeAddresses, describeDhcpOptions, describeLaunchTemplates, describeNatGateways, describeNetworkAcls, describePlacementGroups, describeSnapshots,
  describeVolumesModifications, describeVpcPeeringConnections,
} from './absent.ts';
import {
  getConsoleOutput, getPasswordData, monitorInstances, rebootInstances, startInstances, stopInstances, terminateInstances, unmonitorInstances,
} from './change-instances.ts';
import { describeInstances, describeInstanceStatus } from './describe-instances.ts';
import { describeImageAttribute, modifyImageAttribute, resetImageAttribute } from './image-attributes.ts';
import { createImage, deregisterImage, describeImages, registerImage } from './images.ts';
import { describeInstanceAttribute, modifyInstanceAttribute, modifyInstanceMetadataOptions, resetInstanceAttribute } from './instance-attributes.ts';
import { createKeyPair, deleteKeyPair, describeKeyPairs, importKeyPair } from './key-pairs.ts';
import { describeNetworkInterfaces, modifyNetworkInterfaceAttribute } from './network-interfaces.ts';
import { runInstances } from './run-instances.ts';
import { createSecurityGroup, deleteSecurityGroup, describeSecurityGroupRules, describeSecurityGroups } from './security-groups.ts';
import { authorizeSecurityGroupEgress, authorizeSecurityGroupIngress, revokeSecurityGroupEgress, revokeSecurityGroupIngress } from './security-rules.ts';
import { describeAccountAttributes, describeAvailabilityZones, describeInstanceTypes, describeRegions } from './site.ts';
import { cancelSpotInstanceRequests, describeSpotInstanceRequests, describeSpotPriceHistory, requestSpotInstances } from './spot.ts';
import { createTags, deleteTags, describeTags } from './tags.ts';
import { describeInstanceCreditSpecifications, describeInstanceTypeOfferings } from './type-offerings.ts';
import { describeVolumeAttribute, describeVolumes, describeVolumeStatus } from './volumes.ts';
import { describeInternetGateways, describeRouteTables, describeSubnets, describeVpcAttribute, describeVpcs } from './vpc.ts';

export const OPERATIONS: ReadonlyMap<string, Operation> = new Map([
  runInstances, describeInstances, describeInstanceStatus, terminateInstances, rebootInstances, startInstances, stopInstances,
  getConsoleOutput, getPasswordData, monitorInstances, unmonitorInstances,
  describeInstanceAttribute, modifyInstanceAttribute, resetInstanceAttribute, modifyInstanceMetadataOptions,
  describeImages, createImage, registerImage, deregisterImage, describeImageAttribute, modifyImageAttribute, resetImageAttribute,
  createKeyPair, importKeyPair, describeKeyPairs, deleteKeyPair,
  createTags, deleteTags, describeTags,
  describeAvailabilityZones, describeRegions, describeInstanceTypes, describeInstanceTypeOfferings, describeInstanceCreditSpecifications, describeAccountAttributes,
  describeVpcs, describeVpcAttribute, describeSubnets, describeRouteTables, describeInternetGateways, describeNetworkInterfaces, modifyNetworkInterfaceAttribute,
  describeSecurityGroups, describeSecurityGroupRules, createSecurityGroup, deleteSecurityGroup,
  authorizeSecurityGroupIngress, authorizeSecurityGroupEgress, revokeSecurityGroupIngress, revokeSecurityGroupEgress,
  requestSpotInstances, describeSpotInstanceRequests, cancelSpotInstanceRequests, describeSpotPriceHistory,
  describeVolumes, describeVolumeStatus, describeVolumeAttribute, describeVolumesModifications, describeSnapshots, describeAddresses,
  describeDhcpOptions, describeNetworkAcls, describeNatGateways, describeVpcPeeringConnections, describePlacementGroups, describeLaunchTemplates,
].map((o) => [o.name, o]));
