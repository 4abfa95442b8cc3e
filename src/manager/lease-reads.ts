/** Leases read for doors; requests of one account that come while the database is at work share a statement. */
import type { Db } from '../store/db.ts';
import { FEW_TAGGED, inOrder, leaseSearch, taggedSearch, type LeaseMatch, type LeaseSearch } from '../store/lease-search.ts';
import { leasesByIds, leasesOfAccount, leasesOfAll, type LeaseRow } from '../store/leases.ts';
import { sharedReads } from './shared-reads.ts';
import { readLeases } from './view.ts';

export interface LeaseReads {
  /** In creation order; unknown ones are left out. @param account null = any */
  named(ids: readonly string[], account: number | null): Promise<LeaseRow[]>;
  /** `where` is asked when the read begins. */
  listed(key: string, where: () => LeaseSearch): Promise<LeaseRow[]>;
  matching(where: LeaseSearch, match: LeaseMatch): Promise<LeaseRow[]>;
}

/** Requests that name more are read alone, so that no statement grows without bound. */
const FEW = 16;

interface Named { readonly ids: readonly string[]; readonly account: number | null }

export function leaseReads(db: Db): LeaseReads {
  const byIds = sharedReads(async (asked: readonly Named[]) => {
    const ids = new Set(asked.flatMap((a) => a.ids));
    return readLeases(db, leasesByIds, [[...ids], asked[0]?.account ?? null]);
  });
  const lists = sharedReads((asked: ReadonlyArray<() => LeaseSearch>) => {
    const w = (asked[0] as () => LeaseSearch)();
    return readLeases(db, w.account === null ? leasesOfAll : leasesOfAccount, [w.account, w.endedAfter, w.live, w.afterSeq, w.limit]);
  });
  /** Where few have the first tag asked for, who has it. */
  async function tagged({ account }: LeaseSearch, { tags: [tag] }: LeaseMatch): Promise<string[] | undefined> {
    if (tag === undefined) return undefined;
    const search = taggedSearch(account, tag);
    const found = await db.query(search.statement, search.values);
    return found.length > FEW_TAGGED ? undefined : found.map((r) => r.id);
  }
  return {
    async named(ids, account) {
      if (ids.length > FEW) return readLeases(db, leasesByIds, [ids, account]);
      const found = await byIds(String(account), { ids, account });
      return found.filter((l) => ids.includes(l.id));
    },
    listed: (key, where) => lists(key, where),
    async matching(where, match) {
      const among = await tagged(where, match);
      const { statement, values } = leaseSearch(where, match, among);
      if (among !== undefined) return readLeases(db, statement, values);
      return db.transaction(async (tx) => {
        await tx.query(inOrder);
        return readLeases(tx, statement, values);
      }, 'snapshot');
    },
  };
}
