/** Security groups of users and their rules: recorded, so that clients which insist on them find them. */
import type { Knex } from 'knex';

const STATEMENTS = [
  `CREATE TABLE security_group (
     id text PRIMARY KEY,
     account_id bigint NOT NULL REFERENCES account,
     name text NOT NULL,
     description text NOT NULL,
     created_at timestamptz NOT NULL,
     UNIQUE (account_id, name)
   )`,
  // Ports are -1 where the protocol has none. The peer is a CIDR or the id of a group.
  `CREATE TABLE security_rule (
     id text PRIMARY KEY,
     group_id text NOT NULL REFERENCES security_group ON DELETE CASCADE,
     egress boolean NOT NULL,
     protocol text NOT NULL,
     from_port integer NOT NULL,
     to_port integer NOT NULL,
     peer text NOT NULL,
     description text,
     created_at timestamptz NOT NULL,
     UNIQUE (group_id, egress, protocol, from_port, to_port, peer)
   )`,
  `CREATE INDEX security_rule_peer ON security_rule (peer)`,
  // Those that the request named, with their names, which never change; null = the default group.
  `ALTER TABLE lease_group ADD COLUMN security_groups jsonb`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
