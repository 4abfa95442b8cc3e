/**
 * A rule as data: a statement that finds the rows that break it, a sentence for each, and, where there is one right answer,
 * a statement that mends them. Before it mends, the rows are locked and looked at again: what was in flight stays as it is.
 */
import type { Statement } from '../store/db.ts';
import { statement } from '../store/db.ts';
import { inPage, ofThese, pagesOf, type PageOf } from './pages.ts';
import type { FsckSite, Problem, Rule } from './types.ts';

/** Of one rule; a site that is worse off sees the rest when these are mended. */
export const MOST_FOUND = 1000;

export interface RuleFacts<Row extends { readonly id: string }> {
  readonly name: string;
  /** SELECT of the rows that break the rule, with `id` as text. It has no parameters, or one: now. */
  readonly broken: string;
  /** It is about a history: asked page by page, by the key that `id` is; `broken` has `$page(COLUMN)` where it is narrowed. */
  readonly pages?: PageOf;
  readonly timed?: boolean;
  readonly says: (row: Row) => string;
  readonly mend: string | ((row: Row) => string);
  readonly repair?: Repair<Row>;
}

interface Repair<Row> {
  readonly lock: Statement<unknown>;
  /** $1 ids that break the rule under the lock. */
  readonly statement: string;
  /** $2 and further. */
  readonly values?: (site: FsckSite) => readonly unknown[];
  /** False for rows that have no one right answer; default: each has. */
  readonly can?: (row: Row) => boolean;
}

export const LOCK_LEASES = statement<unknown>('fsck-lock-leases', 'SELECT id FROM lease WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE');
export const LOCK_NODES = statement<unknown>('fsck-lock-nodes', 'SELECT id FROM vmm_node WHERE id = ANY($1::text[]::bigint[]) ORDER BY id FOR NO KEY UPDATE');
export const LOCK_SLOTS = statement<unknown>('fsck-lock-slots', 'SELECT id FROM slot WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE');

/** When a rule is about what must have happened by now. */
export const nowOf = (site: FsckSite): Date => new Date(site.ctx.clock.now());

export function rule<Row extends { readonly id: string }>(facts: RuleFacts<Row>): Rule {
  const { name, pages, repair } = facts;
  const times = facts.timed === true ? 1 : 0;
  const finding = (as: string, text: string): Statement<Row> => statement<Row>(`fsck-${as}`, `SELECT * FROM (${text}) AS broken ORDER BY id LIMIT ${MOST_FOUND}`);
  const broken = finding(name, pages === undefined ? facts.broken : inPage(pages, facts.broken, times + 1));
  const values = (now: number): unknown[] => (facts.timed === true ? [new Date(now)] : []);
  const can = (row: Row): boolean => repair !== undefined && (repair.can?.(row) ?? true);
  const problem = (row: Row): Problem => ({
    rule: name, of: row.id, what: facts.says(row), mend: typeof facts.mend === 'string' ? facts.mend : facts.mend(row), repairs: can(row),
  });
  const look: Rule['look'] = async ({ tx, now }) => {
    if (pages === undefined) return (await tx.query(broken, values(now))).map(problem);
    const found: Problem[] = [];
    for await (const page of pagesOf(tx, pages)) {
      found.push(...(await tx.query(broken, [...values(now), ...page])).map(problem));
      if (found.length >= MOST_FOUND) break;
    }
    return found.slice(0, MOST_FOUND);
  };
  if (repair === undefined) return { name, look };
  const mends = statement<never>(`fsck-mend-${name}`, repair.statement);
  const brokenOfThese = pages === undefined ? undefined : finding(`${name}-of-these`, ofThese(pages, facts.broken, times + 1));
  return {
    name, look,
    repair: ({ db, ...site }, of) => db.transaction(async (tx) => {
      await tx.query(repair.lock, [of]);
      const asked = new Set(of);
      const now = values(site.ctx.clock.now());
      const rows = brokenOfThese === undefined ? await tx.query(broken, now) : await tx.query(brokenOfThese, [...now, of]);
      const still = rows.filter((row) => asked.has(row.id) && can(row)).map((row) => row.id);
      if (still.length > 0) await tx.query(mends, [still, ...repair.values?.({ db, ...site }) ?? []]);
    }),
  };
}
