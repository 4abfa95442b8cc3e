/** What a spot request launches, as its row keeps it. */
import { Fault } from '../lease/faults.ts';
import { newSpotRequestId } from '../platform/ids.ts';
import type { Random } from '../platform/context.ts';
import type { CreateRequest } from '../lease/types.ts';
import type { Queryable } from '../store/db.ts';
import { countOpenSpotRequests, insertSpotRequests } from '../store/spot.ts';
import { writeTags } from './tags.ts';
import type { Planned } from './planned.ts';
import type { ResolvedRequest } from './resolved.ts';

/** Of one user. */
const MOST_OPEN = 1000;

/** @throws Fault TooMany */
export async function requireFewOpen(tx: Queryable, accountId: number, more: number, now: number): Promise<void> {
  const [count] = await tx.query(countOpenSpotRequests, [accountId, new Date(now)]);
  if ((count?.requests ?? 0) + more <= MOST_OPEN) return;
  throw new Fault('TooMany', `You may have at most ${MOST_OPEN} open spot requests`, [`${count?.requests ?? 0} are open`, `${more} more asked`], { ec2: 'MaxSpotInstanceCountExceeded' });
}

/** One instance; token and market options are the request's, not the launch's. */
export function launchJson({ clientToken: _token, spot: _spot, userData, ...launch }: CreateRequest): Readonly<Record<string, unknown>> {
  return { ...launch, minCount: 1, maxCount: 1, ...(userData === undefined ? {} : { userData: userData.toString('base64') }) };
}

export function launchOf(json: unknown): CreateRequest {
  const { userData, ...launch } = json as Omit<CreateRequest, 'userData'> & { userData?: string };
  return userData === undefined ? launch : { ...launch, userData: Buffer.from(userData, 'base64') };
}

/** A preemptible lease has a request: the one that it is made for, or one that is made with it. */
export const spotIdOf = (random: Random, { spot }: ResolvedRequest): { spotId?: string } => (spot === null ? {} : { spotId: spot.requestId ?? newSpotRequestId(random) });

/** Requests that are born with their leases. Persistent ones stay open afterwards. @throws Fault TooMany */
export async function writeSpotRequests(tx: Queryable, planned: readonly Planned[], now: number): Promise<void> {
  const rows = planned.flatMap(({ request: r, leases }) => (r.spot === null || r.spot.requestId !== undefined ? [] : leases.map((l) => ({
    id: l.spotId, account_id: r.accountId, persistent: r.spot?.persistent, price: r.spot?.price, launch: r.spot?.launch, launches: 1, status_code: 'pending-evaluation',
    status_message: 'Your Spot request has been submitted for review, and is pending evaluation.',
    valid_until: r.spot?.validUntil === undefined ? null : new Date(r.spot.validUntil).toISOString(),
  }))));
  if (rows.length === 0) return;
  for (const [account, more] of persistent(planned)) await requireFewOpen(tx, account, more, now);
  await tx.query(insertSpotRequests, [JSON.stringify(rows), new Date(now)]);
  for (const { request: r, leases } of planned) {
    if (r.spot?.tags !== undefined) await writeTags(tx, leases.map((l) => ({ id: l.spotId ?? '', account_id: r.accountId })), r.spot.tags);
  }
}

/** How many of them are made for each user. */
function persistent(planned: readonly Planned[]): Map<number, number> {
  const made = new Map<number, number>();
  for (const { request: r, leases } of planned) {
    if (r.spot?.persistent === true && r.spot.requestId === undefined) made.set(r.accountId, (made.get(r.accountId) ?? 0) + leases.length);
  }
  return made;
}
