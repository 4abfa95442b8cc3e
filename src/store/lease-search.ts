/**
 * Leases whose columns and tags match. Where few have a tag, its leases are looked at, else leases in their order until the
 * page is full: what the planner knows of tags that were just set is not enough to choose by (100,000 leases, a page of those
 * that every third has: 0.3 s when it begins with the tags).
 */
import type { LeaseState } from '../lease/states.ts';
import type { LeasesJson } from './leases.ts';
import { leasesView, listed, OF_ALL, ofOneAccount } from './leases.ts';
import { statement, type Statement } from './db.ts';

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

/** More leases than this are not looked up one by one. */
export const FEW_TAGGED = 2000;

type Search = { readonly statement: Statement<LeasesJson>; readonly values: unknown[] };

/** What has the tag, up to one more than few. @param account null = every account's */
export function taggedSearch(account: number | null, { key, match }: LeaseMatch['tags'][number]): { statement: Statement<{ id: string }>; values: unknown[] } {
  const values: unknown[] = [account, key];
  const text = `SELECT resource_id AS id FROM tag WHERE ${ofAccount(account)} AND key = $2 AND ${matches('value', match, values)} LIMIT ${FEW_TAGGED + 1}`;
  return { statement: { name: 'tagged-search', text, replan: true }, values };
}

/** @param among ids, where it is known that all are among these */
export function leaseSearch(where: LeaseSearch, match: LeaseMatch, among?: readonly string[]): Search {
  // The first five are those of the statements that list leases.
  const values: unknown[] = [where.account, where.endedAfter, where.live, where.afterSeq, where.limit];
  const value = (v: unknown): string => `$${values.push(v)}`;
  const { which, order } = where.account === null ? OF_ALL : ofOneAccount('$1');
  const conditions = [
    which,
    ...(among === undefined ? [] : [`id = ANY(${value(among)}::text[])`]),
    ...match.columns.map(({ column, match: m }) => matches(column, m, values)),
    ...(match.states === undefined ? [] : [`state = ANY(${value(match.states)}::text[])`]),
    // OFFSET keeps it a question asked of each lease.
    ...match.tags.map(({ key, match: m }) => `EXISTS (SELECT 1 FROM tag t WHERE t.resource_id = lease.id AND t.key = ${value(key)} AND ${matches('t.value', m, values)} OFFSET 0)`),
  ];
  return { statement: { name: 'lease-search', text: leasesView(listed({ which: conditions.join(' AND '), order }), 'l.seq'), replan: true }, values };
}

/** For the rest of a transaction: leases are walked in their order. A planner that knows little of a table that grew fast sorts all of it instead. */
export const inOrder = statement<never>('lease-search-in-order', "SELECT set_config(name, 'off', true) FROM unnest(ARRAY['enable_sort', 'enable_seqscan', 'enable_bitmapscan']) AS name");

const ofAccount = (account: number | null): string => (account === null ? '$1::bigint IS NULL' : 'account_id = $1');

function matches(text: string, { equal, like }: TextMatch, values: unknown[]): string {
  const either: string[] = [];
  if (equal.length > 0) either.push(`${text} = ANY($${values.push(equal)}::text[])`);
  if (like.length > 0) either.push(`${text} LIKE ANY($${values.push(like)}::text[])`);
  return either.length === 0 ? 'false' : `(${either.join(' OR ')})`;
}
