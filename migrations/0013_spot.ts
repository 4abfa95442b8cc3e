/** Spot requests, and leases that others may displace. */
import type { Knex } from 'knex';

const STATEMENTS = [
  // What becomes of a request follows from this row and the last of the leases that it has had; the status is what its last attempt said.
  `CREATE TABLE spot_request (
     id text PRIMARY KEY,
     account_id bigint NOT NULL REFERENCES account,
     persistent boolean NOT NULL,
     price double precision NOT NULL CHECK (price > 0),
     created_at timestamptz NOT NULL,
     valid_from timestamptz,
     valid_until timestamptz,
     launch jsonb NOT NULL,
     launches integer NOT NULL DEFAULT 0,
     cancelled_at timestamptz,
     failed_at timestamptz,
     status_code text NOT NULL,
     status_message text NOT NULL,
     status_at timestamptz NOT NULL,
     next_at timestamptz NOT NULL
   )`,
  `CREATE INDEX spot_request_account ON spot_request (account_id)`,
  `CREATE INDEX spot_request_next ON spot_request (next_at) WHERE cancelled_at IS NULL AND failed_at IS NULL`,
  // A lease with a request may be displaced. Its guest has until preempt_ends_at then.
  `ALTER TABLE lease ADD COLUMN spot_request_id text`,
  `ALTER TABLE lease ADD COLUMN spot_price double precision`,
  `ALTER TABLE lease ADD COLUMN preempted_at timestamptz`,
  `ALTER TABLE lease ADD COLUMN preempt_ends_at timestamptz`,
  `CREATE INDEX lease_spot ON lease (spot_request_id) WHERE spot_request_id IS NOT NULL`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
