/** Actions of EC2 that clients try though they are not here: why, and what there is instead. */
import { Fault } from '../lease/faults.ts';

const ONE_DISK = 'the disk that its image and type say is the only volume that an instance has, and it comes with the instance';
const GOES = 'a volume is the disk of an instance, and goes when the instance is terminated';
const NO_SNAPSHOTS = 'there are no snapshots; CreateImage saves the disk of an instance as an image';
const NO_SWITCH = 'nothing of a volume can be set';

const WHY: Readonly<Record<string, string>> = {
  CreateVolume: ONE_DISK, ImportVolume: ONE_DISK, CopyVolumes: ONE_DISK, AttachVolume: ONE_DISK,
  DetachVolume: GOES, DeleteVolume: GOES,
  ModifyVolume: 'disks do not grow; run an instance of a type that has a larger one',
  ModifyVolumeAttribute: NO_SWITCH, EnableVolumeIO: NO_SWITCH,
  CreateReplaceRootVolumeTask: 'an instance keeps the disk that it has; run a new one of the image',
  CreateSnapshot: NO_SNAPSHOTS, CreateSnapshots: NO_SNAPSHOTS, CopySnapshot: NO_SNAPSHOTS, ImportSnapshot: NO_SNAPSHOTS, DeleteSnapshot: NO_SNAPSHOTS,
};

/** @param sentence without its full stop */
export const notOffered = (action: string, sentence: string): Fault => new Fault('Unsupported', `${sentence}${Object.hasOwn(WHY, action) ? `: ${WHY[action] ?? ''}` : ''}.`);
