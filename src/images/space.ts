/** What the images of one user may have together, so that neither he nor a node that lies fills the repository. */
import { Fault } from '../lease/faults.ts';
import type { Queryable } from '../store/db.ts';
import { imageBytesOfAccount } from '../store/images.ts';

/** `bytes` more are to come. @throws Fault TooMany */
export async function requireSpace(q: Queryable, accountId: number, mostMb: number, bytes: number): Promise<void> {
  const [used] = await q.query(imageBytesOfAccount, [accountId]);
  if ((used?.bytes ?? 0) + bytes <= mostMb * 2 ** 20) return;
  throw new Fault('TooMany', 'There is no room for more images of this user: remove some first.',
    [`images.user_mb allows ${mostMb} MiB together, ${mb(used?.bytes ?? 0)} MiB are used, ${mb(bytes)} MiB more are asked for`]);
}

const mb = (bytes: number): number => Math.ceil(bytes / 2 ** 20);
