/**
 * `BlockDeviceMapping` of a launch: of the one disk that an instance has, what would be so anyway is taken, and what would be a lie is
 * refused. What EC2 itself reads over (disks of a host that has none, a device that no image has taken away) is read over, and so are kinds
 * and rates of disks, which nobody is told.
 */
import { Fault } from '../lease/faults.ts';
import { boolean, integer, list, required, shown, string, struct, unsupported } from './inputs.ts';
import type { InputOf } from './inputs.ts';
import { ROOT_DEVICE_NAME } from './volume.ts';

/** Names that clients write down for the first disk; DescribeImages says which it is. */
const FIRST_DISK: ReadonlySet<string> = new Set([ROOT_DEVICE_NAME, '/dev/sda1', '/dev/sda', '/dev/xvda']);
const HOST_DISK = /^ephemeral\d{1,2}$/;
const NO_SNAPSHOTS = 'This service has no snapshots: the disk of an instance is made of its image.';
const NOT_ENCRYPTED = 'The disks of instances are not encrypted.';

export const blockDeviceMappings = list(struct({
  DeviceName: required(string()),
  VirtualName: string(),
  NoDevice: string({ empty: true }),
  Ebs: struct({
    DeleteOnTermination: boolean, VolumeSize: integer(1, 65_536), Encrypted: boolean,
    SnapshotId: unsupported(NO_SNAPSHOTS), KmsKeyId: unsupported(NOT_ENCRYPTED), OutpostArn: unsupported('This service has no outposts.'),
  }, ['VolumeType', 'Iops', 'Throughput', 'VolumeInitializationRate', 'EbsCardIndex', 'AvailabilityZone', 'AvailabilityZoneId']),
}), 64);
type Mapping = InputOf<typeof blockDeviceMappings>[number];

/** GiB that the first disk must have, if any are asked for. @throws Fault */
export function firstDiskGib(mappings: readonly Mapping[]): number | undefined {
  const own = mappings.filter((m) => !isNothing(m));
  const other = own.find((m) => !FIRST_DISK.has(m.DeviceName));
  if (other !== undefined) throw invalid(`an instance has one disk, ${ROOT_DEVICE_NAME}: it cannot have ${shown(other.DeviceName)} beside it`);
  if (own.length > 1) throw invalid(`${own.map((m) => shown(m.DeviceName)).join(' and ')} are one disk`);
  const [disk] = own;
  if (disk?.NoDevice !== undefined) throw invalid(`${shown(disk.DeviceName)} is the disk that the instance starts from`);
  if (disk?.VirtualName !== undefined) throw invalid(`${shown(disk.DeviceName)} is made of the image`);
  if (disk?.Ebs?.Encrypted === true) throw new Fault('Unsupported', NOT_ENCRYPTED);
  if (disk?.Ebs?.DeleteOnTermination === false) throw new Fault('Unsupported', GOES_WITH_IT);
  return disk?.Ebs?.VolumeSize;
}

export const GOES_WITH_IT = 'The disk of an instance goes with it: DeleteOnTermination is true. What shall outlive the instance, CreateImage saves as an image.';

const isNothing = (m: Mapping): boolean => !FIRST_DISK.has(m.DeviceName) && (m.NoDevice !== undefined || HOST_DISK.test(m.VirtualName ?? ''));

const invalid = (why: string): Fault => new Fault('ParameterInvalid', `The block device mapping cannot be had: ${why}.`, [], { ec2: 'InvalidBlockDeviceMapping' });
