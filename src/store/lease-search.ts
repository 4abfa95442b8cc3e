/**
 * Leases whose columns and tags match. A plan is made for each search from its values: whether a tag is rare decides
 * whether to begin with the tags or with the leases (100,000 leases, a tag that 20 have: 1 ms against 60 ms).
 */
import type { LeaseState } from '../lease/states.ts';
import type { LeasesJson } from './leases.ts';
import { leasesView, listed } from './leases.ts';
import type { Statement } from './db.ts';

/** A text that is one of `equal`, or LIKE one of `like` (`\` takes the next character literally). */
export interface TextMatch {
  readonly equal: readonly string[];
  readonly like: readonly string[];
}

export const SEARCHED_COLUMNS = ['id', 'type', 'zone', 'image_id', 'key_name', 'group_id'] as const;
export type SearchedColumn = typeof SEARCHED_COLUMNS[number];

/** All must hold. */
export interface LeaseMatch {
  readonly columns: ReadonlyArray<{ readonly column: SearchedColumn; readonly match: TextMatch }>;
  readonly tags: ReadonlyArray<{ readonly key: string; readonly match: TextMatch }>;
  readonly states: readonly LeaseState[] | undefined;
}

export interface LeaseSearch {
  /** null = every account's */
  readonly account: number | null;
  readonly endedAfter: Date;
  readonly live: boolean;
  readonly afterSeq: number;
  readonly limit: number;
}

export function leaseSearch(where: LeaseSearch, match: LeaseMatch): { statement: Statement<LeasesJson>; values: unknown[] } {
  // The first five are those of the statements that list leases.
  const values: unknown[] = [where.account, where.endedAfter, where.live, where.afterSeq, where.limit];
  const value = (v: unknown): string => `$${values.push(v)}`;
  const matches = (text: string, { equal, like }: TextMatch): string => {
    const either: string[] = [];
    if (equal.length > 0) either.push(`${text} = ANY(${value(equal)}::text[])`);
    if (like.length > 0) either.push(`${text} LIKE ANY(${value(like)}::text[])`);
    return either.length === 0 ? 'false' : `(${either.join(' OR ')})`;
  };
  const account = where.account === null ? '$1::bigint IS NULL' : 'account_id = $1';
  const conditions = [
    account,
    ...match.columns.map(({ column, match: m }) => matches(column, m)),
    ...(match.states === undefined ? [] : [`state = ANY(${value(match.states)}::text[])`]),
    ...match.tags.map(({ key, match: m }) => `id IN (SELECT resource_id FROM tag WHERE ${account} AND key = ${value(key)} AND ${matches('value', m)})`),
  ];
  return { statement: { name: 'lease-search', text: leasesView(listed(conditions.join(' AND ')), 'l.seq'), replan: true }, values };
}
