/** Pilot mode: slots (batch jobs), their nodes, what their pilots said. */
import type { Knex } from 'knex';

const STATEMENTS = [
  // The row exists before the job does; the id is the job's name.
  `CREATE TABLE slot (
     id text PRIMARY KEY CHECK (id ~ '^sl-[0-9a-f]{12}$'),
     account_id bigint NOT NULL REFERENCES account,
     state text NOT NULL,
     final boolean NOT NULL DEFAULT false,
     lrm text NOT NULL,
     job_id text,
     parts jsonb NOT NULL,
     nodes integer NOT NULL CHECK (nodes > 0),
     duration_s integer NOT NULL,
     pilot_s integer NOT NULL,
     walltime_s integer NOT NULL,
     grace_s integer NOT NULL,
     lrm_account text,
     secret text NOT NULL,
     nonce text NOT NULL,
     hosts text[] NOT NULL DEFAULT '{}',
     native_state text,
     queue_position integer,
     queue_reason text,
     expected_start timestamptz,
     missing_polls integer NOT NULL DEFAULT 0,
     attempts integer NOT NULL DEFAULT 0,
     next_at timestamptz NOT NULL,
     created_at timestamptz NOT NULL,
     submitted_at timestamptz,
     ready_at timestamptz,
     released_at timestamptz,
     ended_at timestamptz,
     reason_code text,
     reason text,
     request_id text
   )`,
  `CREATE INDEX slot_live ON slot (next_at) WHERE NOT final`,
  `CREATE INDEX slot_account ON slot (account_id) WHERE NOT final`,

  `CREATE TABLE slot_node (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     slot_id text NOT NULL REFERENCES slot,
     ordinal integer NOT NULL,
     part integer NOT NULL,
     state text NOT NULL,
     memory_mb integer NOT NULL,
     cores integer NOT NULL,
     host text,
     pilot text,
     node_id bigint REFERENCES vmm_node,
     clock_offset_ms integer NOT NULL DEFAULT 0,
     until_at timestamptz,
     grace_ends_at timestamptz,
     last_heard timestamptz,
     phases jsonb NOT NULL DEFAULT '{}',
     reason text,
     UNIQUE (slot_id, ordinal),
     UNIQUE (slot_id, host)
   )`,
  `CREATE INDEX slot_node_slot ON slot_node (slot_id)`,

  // Which counters of which pilot process were used; what it said, once each.
  `CREATE TABLE slot_sender (
     slot_id text NOT NULL REFERENCES slot,
     cnonce text NOT NULL,
     nc bigint NOT NULL,
     PRIMARY KEY (slot_id, cnonce)
   )`,
  `CREATE TABLE slot_message (
     slot_id text NOT NULL REFERENCES slot,
     id text NOT NULL,
     host text NOT NULL,
     pilot text NOT NULL,
     seq integer NOT NULL,
     at timestamptz NOT NULL,
     received_at timestamptz NOT NULL,
     body jsonb NOT NULL,
     applied boolean NOT NULL DEFAULT false,
     PRIMARY KEY (slot_id, id)
   )`,
  `CREATE INDEX slot_message_open ON slot_message (received_at) WHERE NOT applied`,

  // A borrowed node is a VMM node for as long as its slot lasts; its row stays for the records.
  `ALTER TABLE vmm_node ADD COLUMN slot_id text REFERENCES slot`,
  `ALTER TABLE vmm_node ADD COLUMN ended_at timestamptz`,
  `ALTER TABLE lease ADD COLUMN slot_node_id bigint REFERENCES slot_node`,
  `CREATE INDEX lease_held_slot_node ON lease (slot_node_id) WHERE holding AND slot_node_id IS NOT NULL`,
  `CREATE INDEX lease_slot_node ON lease (slot_node_id) WHERE slot_node_id IS NOT NULL`,
  // Nobody's time runs while he waits in a queue.
  `ALTER TABLE lease ALTER COLUMN ends_at DROP NOT NULL`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
