/** What the database's own catalog says of its tables: which there are, in the order in which they can be filled. */
import type { ClientBase } from 'pg';

/** Kept by the migrations themselves. */
export const OF_MIGRATIONS = ['knex_migrations', 'knex_migrations_lock'];

export interface Table {
  readonly name: string;
  /** Those that a backup carries: what the server generates, or stamps with its own transaction, is made anew. */
  readonly columns: readonly string[];
  /** Unlogged: lost with the server, and missed by nobody. */
  readonly passing: boolean;
}

export interface SequenceState {
  readonly table: string;
  readonly column: string;
  readonly last: string;
  readonly called: boolean;
}

/** Tables after those that their foreign keys name. */
export async function tablesOf(client: ClientBase): Promise<Table[]> {
  const { rows } = await client.query<{ name: string; columns: string[]; needs: string[]; passing: boolean }>(`
    SELECT c.relname AS name, c.relpersistence = 'u' AS passing,
           ARRAY(SELECT a.attname::text FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                    AND coalesce(pg_get_expr(d.adbin, d.adrelid), '') NOT LIKE '%pg_current_xact_id()%' ORDER BY a.attnum) AS columns,
           ARRAY(SELECT f.relname::text FROM pg_constraint k JOIN pg_class f ON f.oid = k.confrelid
                  WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid <> c.oid) AS needs
      FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND NOT c.relname = ANY($1) ORDER BY c.relname`, [OF_MIGRATIONS]);
  const done = new Set<string>();
  const order: Table[] = [];
  while (order.length < rows.length) {
    const next = rows.filter((t) => !done.has(t.name) && t.needs.every((n) => done.has(n)));
    if (next.length === 0) throw new Error('the tables need each other in a circle');
    for (const { name, columns, passing } of next) {
      done.add(name);
      order.push({ name, columns, passing });
    }
  }
  return order;
}

/** Where each table's counters stand. A sequence knows no snapshot: read last, it is never behind the rows. */
export async function sequencesOf(client: ClientBase): Promise<SequenceState[]> {
  const { rows } = await client.query<{ table: string; column: string; sequence: string }>(`
    SELECT c.relname AS table, a.attname AS column, s.oid::regclass::text AS sequence
      FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
      JOIN pg_class c ON c.oid = d.refobjid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
     WHERE s.relkind = 'S' AND s.relnamespace = current_schema()::regnamespace AND NOT c.relname = ANY($1) ORDER BY 1, 2`, [OF_MIGRATIONS]);
  const states: SequenceState[] = [];
  for (const { table, column, sequence } of rows) {
    // The name is quoted where it has to be, by the server.
    const { rows: [state] } = await client.query<{ last: string; called: boolean }>(`SELECT last_value::text AS last, is_called AS called FROM ${sequence}`);
    if (state !== undefined) states.push({ table, column, ...state });
  }
  return states;
}
