/** What is chosen by a user is refused where nobody has the name: an empty answer would be taken for one about somebody. */
import { Fault } from '../../lease/faults.ts';
import type { Db } from '../../store/db.ts';
import { userEverCalled } from '../../store/usage-report.ts';

/** What users who were removed have left can be asked for. @throws Fault UserNotFound */
export async function requireKnown(db: Db, user: string | undefined): Promise<void> {
  if (user === undefined || (await db.query(userEverCalled, [user])).length > 0) return;
  throw new Fault('UserNotFound', `No user is or was named ${user.slice(0, 64)}`);
}
