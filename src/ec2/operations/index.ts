/** The table of operations. An action that is not here is InvalidAction. */
import type { Operation } from '../operation.ts';
import { describeAddresses, describeSecurityGroups, describeSnapshots, describeSubnets, describeVolumes, describeVpcs } from './absent.ts';
import { getConsoleOutput, rebootInstances, terminateInstances } from './change-instances.ts';
import { describeInstances, describeInstanceStatus } from './describe-instances.ts';
import { describeImages } from './images.ts';
import { createKeyPair, deleteKeyPair, describeKeyPairs, importKeyPair } from './key-pairs.ts';
import { runInstances } from './run-instances.ts';
import { describeAccountAttributes, describeAvailabilityZones, describeInstanceTypes, describeRegions } from './site.ts';
import { createTags, deleteTags, describeTags } from './tags.ts';

export const OPERATIONS: ReadonlyMap<string, Operation> = new Map([
  runInstances, describeInstances, describeInstanceStatus, terminateInstances, rebootInstances, getConsoleOutput,
  describeImages,
  createKeyPair, importKeyPair, describeKeyPairs, deleteKeyPair,
  createTags, deleteTags, describeTags,
  describeAvailabilityZones, describeRegions, describeInstanceTypes, describeAccountAttributes,
  describeSecurityGroups, describeVpcs, describeSubnets, describeVolumes, describeSnapshots, describeAddresses,
].map((o) => [o.name, o]));
