/** Names of grid certificates, each of one user. A user may have several, and access keys beside them. */
import type { Knex } from 'knex';

const STATEMENTS = [
  `CREATE TABLE account_dn (
     dn text PRIMARY KEY,
     account_id bigint NOT NULL REFERENCES account (id),
     created_at timestamptz NOT NULL
   )`,
  `CREATE INDEX account_dn_account ON account_dn (account_id)`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
