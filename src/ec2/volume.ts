/**
 * A lease's disk as EC2 clients look for it: one volume, which comes and goes with its instance. Nothing of it is stored but its
 * tags: its id has the digits of the lease's, and all else follows from the lease.
 */
import { leaseOfVolume, volumeId } from '../lease/ids.ts';
import { STATES, type LeaseState } from '../lease/states.ts';
import type { LeaseView } from '../manager/types.ts';
import { boolean, list, struct, time, word } from './outputs.ts';
import type { OutputOf } from './outputs.ts';

/** EC2's word for a disk that outlives a stop and that CreateImage can save; packer and others ask for it before they do either. */
export const ROOT_DEVICE_TYPE = 'ebs';
export const ROOT_DEVICE_NAME = '/dev/vda';

export { leaseOfVolume, volumeId };

export const blockDeviceMapping = list(struct({ deviceName: word, ebs: struct({ volumeId: word, status: word, attachTime: time, deleteOnTermination: boolean }) }));
type BlockDevices = OutputOf<typeof blockDeviceMapping>;

/** The image has yet to come to the node. */
const COMING: ReadonlySet<LeaseState> = new Set(['Unpropagated', 'Propagating']);
const NONE: BlockDevices = [];

export type AttachmentStatus = 'attaching' | 'attached' | 'detaching';

/** undefined: it has no disk, not yet or no more. */
export function attachmentStatus({ state, node }: LeaseView): AttachmentStatus | undefined {
  const { ec2 } = STATES[state];
  if (state === 'Pending' || node === null || ec2 === 'terminated') return undefined;
  return COMING.has(state) ? 'attaching' : ec2 === 'shutting-down' ? 'detaching' : 'attached';
}

/** What an instance shows of its disk. */
export function blockDevices(lease: LeaseView): BlockDevices {
  const status = attachmentStatus(lease);
  return status === undefined ? NONE : [{ deviceName: ROOT_DEVICE_NAME, ebs: { volumeId: volumeId(lease.id), status, attachTime: lease.createdAt, deleteOnTermination: true } }];
}
