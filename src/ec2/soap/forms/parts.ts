/** Parts that several actions have. */
import { boolean, choice, int, items, optional, since, string, struct, until, V2010_06, type Element } from '../shapes.ts';

const mapped = choice({
  virtualName: string,
  ebs: struct({ snapshotId: optional(string), volumeSize: optional(int), deleteOnTermination: optional(boolean) }),
  noDevice: struct({}),
});
/** Disks as a request names them: one disk was a name for a device before there were others. */
export const deviceMapping: Element = items({ virtualName: until(V2010_06, string), deviceName: string, oneOf: since(V2010_06, mapped) });

export const state = struct({ code: int, name: string });
export const reason = struct({ code: string, message: string });
export const productCodes = items({ productCode: string });
