/** Certificates with which users sign SOAP requests to the EC2 door, each of one user, known by its fingerprint (SHA-256). */
import type { Knex } from 'knex';

const STATEMENTS = [
  `CREATE TABLE account_certificate (
     fingerprint text PRIMARY KEY,
     account_id bigint NOT NULL REFERENCES account (id),
     subject text NOT NULL,
     not_after timestamptz NOT NULL,
     created_at timestamptz NOT NULL
   )`,
  `CREATE INDEX account_certificate_account ON account_certificate (account_id)`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
