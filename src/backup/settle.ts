/**
 * Files of a restored backup come into their places when the database has it: in its transaction it notes which restoration it is
 * of, and that one's drafts are renamed after the commit. At every start too, as whoever restored may have been killed in between.
 */
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type pg from 'pg';
import { settle } from '../images/intake.ts';
import { sqlState, type Queryable } from '../store/db.ts';
import { setSiteFact, siteFactNow } from '../store/processes.ts';
import { draftsIn, type Places } from './files.ts';

const FACT = 'restoration';
const UNDEFINED_TABLE = '42P01';

/** Inside the transaction. */
export const noteRestoration = async (tx: Queryable, restoration: string): Promise<void> => void await tx.query(setSiteFact, [FACT, restoration]);

/** Undefined: nothing was ever restored into it, or it has no tables yet. */
export async function restorationOf(q: Queryable): Promise<string | undefined> {
  try {
    return (await q.query(siteFactNow, [FACT]))[0]?.value;
  } catch (e) {
    if (sqlState(e) === UNDEFINED_TABLE) return undefined;
    throw e;
  }
}

/** The caller has the data directory's lock. Drafts of images may be another service's; those that are nobody's go at a start. */
export async function settleRestored(q: Queryable, places: Places): Promise<void> {
  const restoration = await restorationOf(q);
  for (const draft of await draftsIn(places)) {
    if (draft.restoration === restoration) await settle(draft.path, draft.place);
    else if (dirname(draft.place) === places.keys) await rm(draft.path, { force: true });
  }
}

/** A client as the store's statements want it. */
export const asked = (client: pg.Client): Queryable => ({
  query: async (s, values = []) => (await client.query({ text: s.text, values: [...values] })).rows as never,
});
