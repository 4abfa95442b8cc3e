/**
 * A rule about what is kept for years is asked a page at a time, in the order of a key: a statement that reads a whole history would
 * run into the time that the database gives to each. All pages are read in one snapshot.
 */
import { statement, type Queryable, type Statement } from '../store/db.ts';

/** Rows of a page; accounts and days come with all of their records. */
const ROWS = 20_000;
const ACCOUNTS = 20;
const DAYS = 7;

interface Key {
  readonly type: 'text' | 'bigint' | 'date';
  /** Below all of them. */
  readonly first: string;
  /** $1 the end of the page before; null when nothing is left. */
  readonly end: Statement<{ last: string | null }>;
}

const rowsOf = (name: string, table: string, column: string): Key => ({
  type: 'text', first: '',
  end: statement(`fsck-page-${name}`, `SELECT max(key) AS last FROM (SELECT ${column} AS key FROM ${table} WHERE ${column} > $1::text ORDER BY ${column} LIMIT ${ROWS}) page`),
});
const startOf = (day: string): string => `(${day})::timestamp AT TIME ZONE 'UTC'`;

const KEYS = {
  lease: rowsOf('leases', 'lease', 'id'),
  group: rowsOf('groups', 'lease_group', 'id'),
  record: rowsOf('records', 'usage_record', 'lease_id'),
  account: {
    type: 'bigint', first: '-1',
    end: statement('fsck-page-accounts', `SELECT max(id)::text AS last FROM (SELECT id FROM account WHERE id > $1::bigint ORDER BY id LIMIT ${ACCOUNTS}) page`),
  },
  day: {
    type: 'date', first: '0001-01-01',
    end: statement('fsck-page-days', `
      SELECT (least((SELECT (min(closed_at) AT TIME ZONE 'UTC')::date FROM usage_record WHERE closed_at >= ${startOf('$1::date + 1')}),
                    (SELECT min(day) FROM usage_site_day WHERE day > $1::date)) + ${DAYS - 1})::text AS last`),
  },
} as const satisfies Record<string, Key>;

export type PageOf = keyof typeof KEYS;

/** `$page(COLUMN)` and `$closed(COLUMN)` in a rule's text: of this page, by its key or by the day of a moment; $`first` and the parameter after it are its ends. */
export function inPage(of: PageOf, text: string, first: number): string {
  const { type } = KEYS[of];
  const [low, high] = [`$${first}::${type}`, `$${first + 1}::${type}`];
  return text
    .replaceAll(/\$page\(([\w.]+)\)/g, (_, column: string) => `(${column} > ${low} AND ${column} <= ${high})`)
    .replaceAll(/\$closed\(([\w.]+)\)/g, (_, column: string) => `(${column} >= ${startOf(`${low} + 1`)} AND ${column} < ${startOf(`${high} + 1`)})`);
}

/** The same for a few: $`first` is the array of their keys. */
export function ofThese(of: PageOf, text: string, first: number): string {
  const these = `ANY($${first}::text[]::${KEYS[of].type}[])`;
  return text
    .replaceAll(/\$page\(([\w.]+)\)/g, (_, column: string) => `${column} = ${these}`)
    .replaceAll(/\$closed\(([\w.]+)\)/g, (_, column: string) => `(${column} AT TIME ZONE 'UTC')::date = ${these}`);
}

/** The ends of each page, in order. */
export async function* pagesOf(tx: Queryable, of: PageOf): AsyncGenerator<readonly [string, string]> {
  const { first, end } = KEYS[of];
  for (let from: string = first; ;) {
    const last = (await tx.query(end, [from]))[0]?.last ?? null;
    if (last === null) return;
    yield [from, last];
    from = last;
  }
}
