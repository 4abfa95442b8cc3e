/** Identifiers: shapes and checks. Ids are made from the context's random bytes in `src/platform/ids.ts`. */
const HEX_ID = (prefix: string): RegExp => new RegExp(`^${prefix}-(?:[0-9a-f]{8}|[0-9a-f]{17})$`);

/**
 * EC2 ids come in an old form (8 hex digits) and a new one (17); both are accepted, the new one is made. `i-…` is the one name
 * of a lease in every door, log line and console; `r-…` names a group.
 */
export const LEASE_ID = HEX_ID('i');
export const GROUP_ID = HEX_ID('r');
export const IMAGE_ID = HEX_ID('ami');
export const VOLUME_ID = HEX_ID('vol');
/** A lease's disk has the digits of its lease. */
export const volumeId = (leaseId: string): string => `vol-${leaseId.slice(2)}`;
/** The one lease whose disk it may be. */
export const leaseOfVolume = (id: string): string => `i-${id.slice(4)}`;
export const KEY_PAIR_ID = HEX_ID('key');
export const SECURITY_GROUP_ID = HEX_ID('sg');
export const SPOT_REQUEST_ID = HEX_ID('sir');
export const SECURITY_RULE_ID = HEX_ID('sgr');

/** Names of users, nodes, networks, zones and images: safe in files, logs and tables. */
export const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;
/** EC2 client tokens: up to 64 printable ASCII characters (EC2 API reference, "Ensuring idempotency"). */
export const CLIENT_TOKEN = /^[\x21-\x7e]{1,64}$/;

export const isName = (s: string): boolean => NAME.test(s) && !s.includes('..');
