/** Several services on one database: who they are, what each has claimed, which nodes each reaches. Additive: 0003's program goes on beside it. */
import type { Knex } from 'knex';

const STATEMENTS = [
  // A row is one life of one process; a process that was taken for dead and comes back gets another.
  `CREATE TABLE process (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     place text NOT NULL,
     host text NOT NULL,
     pid integer NOT NULL,
     version text NOT NULL,
     session text NOT NULL,
     ec2 text,
     pilots text,
     clock_offset_ms bigint NOT NULL DEFAULT 0,
     started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
     heartbeat timestamptz NOT NULL DEFAULT clock_timestamp(),
     ended_at timestamptz,
     lost boolean NOT NULL DEFAULT false,
     taken_over boolean NOT NULL DEFAULT false
   )`,
  `CREATE INDEX process_live ON process (id) WHERE ended_at IS NULL`,
  `CREATE INDEX process_left ON process (id) WHERE ended_at IS NOT NULL AND NOT taken_over`,

  // A node is reachable while some process has a channel to its agent.
  `CREATE TABLE node_channel (
     node_id bigint NOT NULL REFERENCES vmm_node ON DELETE CASCADE,
     process_id bigint NOT NULL REFERENCES process ON DELETE CASCADE,
     since timestamptz NOT NULL,
     PRIMARY KEY (node_id, process_id)
   )`,
  `CREATE INDEX node_channel_process ON node_channel (process_id)`,

  // What one process at a time does.
  `CREATE TABLE duty (name text PRIMARY KEY, process_id bigint NOT NULL, since timestamptz NOT NULL)`,

  // The process that has it under way; null: whoever reaches the node.
  `ALTER TABLE intent ADD COLUMN process_id bigint`,
  `CREATE INDEX intent_claimed ON intent (process_id) WHERE state = 'open' AND process_id IS NOT NULL`,
  `ALTER TABLE slot ADD COLUMN process_id bigint`,

  // What a process asks of a node that another one reaches. Nothing is lost with it but a question.
  `CREATE UNLOGGED TABLE question (
     id text PRIMARY KEY,
     node_id bigint NOT NULL,
     request jsonb NOT NULL,
     asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
     process_id bigint,
     answer jsonb
   )`,

  // Signatures of requests that would do something again if they came again.
  `CREATE TABLE used_signature (id bytea PRIMARY KEY, valid_until timestamptz NOT NULL)`,
  `CREATE INDEX used_signature_until ON used_signature (valid_until)`,

  `CREATE TABLE site_fact (name text PRIMARY KEY, value text NOT NULL)`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
