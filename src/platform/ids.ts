/** Makes ids from the context's random bytes. */
import type { Random } from './context.ts';

const hex17 = (random: Random): string => random.bytes(9).toString('hex').slice(0, 17);

export const newLeaseId = (r: Random): string => `i-${hex17(r)}`;
export const newGroupId = (r: Random): string => `r-${hex17(r)}`;
export const newImageId = (r: Random): string => `ami-${hex17(r)}`;
export const newKeyPairId = (r: Random): string => `key-${hex17(r)}`;
export const newSecurityGroupId = (r: Random): string => `sg-${hex17(r)}`;
export const newSecurityRuleId = (r: Random): string => `sgr-${hex17(r)}`;
export const newSpotRequestId = (r: Random): string => `sir-${hex17(r)}`;
/** Ids of intents; the far side remembers them. */
export const newOperationId = (r: Random): string => `op-${hex17(r)}`;

/** Slots: short enough to be a PBS job's name. */
export const newSlotId = (r: Random): string => `sl-${r.bytes(6).toString('hex')}`;

/** RFC 9562 version 4 UUID, the form of EC2 request ids. */
export function newRequestId(r: Random): string {
  const b = r.bytes(16);
  b[6] = ((b[6] ?? 0) & 0x0f) | 0x40;
  b[8] = ((b[8] ?? 0) & 0x3f) | 0x80;
  const h = b.toString('hex');
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`;
}

/** Access keys look like AWS's: 20 upper-case characters; secrets: 40 characters of base64 without `+` and `/`. */
export const newAccessKey = (r: Random): string => `NIMB${base32(r.bytes(16)).slice(0, 16)}`;
export function newSecretKey(r: Random): string {
  return r.bytes(45).toString('base64').replace(/[+/=]/g, 'x').slice(0, 40);
}

function base32(bytes: Buffer): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  return Array.from(bytes, (b) => alphabet[b & 31]).join('');
}
