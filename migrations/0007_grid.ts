/** Grid clients: what they ask of a lease beyond others, ensembles that are gathered before they are placed, subscriptions to leases. */
import type { Knex } from 'knex';

const STATEMENTS = [
  // Gathered until `done_at`: its leases have no node, and run together from then on.
  `CREATE TABLE ensemble (
     id text PRIMARY KEY,
     account_id bigint NOT NULL REFERENCES account,
     created_at timestamptz NOT NULL,
     done_at timestamptz
   )`,
  // The key by which grid clients name the group, and what they said of it that no other door knows.
  `CREATE TABLE grid_group (
     group_id text PRIMARY KEY REFERENCES lease_group ON DELETE CASCADE,
     key text NOT NULL UNIQUE,
     ensemble_id text REFERENCES ensemble,
     facts jsonb NOT NULL
   )`,
  `CREATE INDEX grid_group_ensemble ON grid_group (ensemble_id) WHERE ensemble_id IS NOT NULL`,
  // Where a lease rests instead of running, until it is started; the image that its disk becomes.
  `ALTER TABLE lease ADD COLUMN target text`,
  `ALTER TABLE lease ADD COLUMN save_as text`,

  // Told of a lease's events behind (txid, event_id). Restored from a backup, the rows of one transaction stand in the order of event_id.
  `CREATE TABLE subscription (
     id text PRIMARY KEY,
     account_id bigint NOT NULL REFERENCES account,
     lease_id text NOT NULL,
     topic text NOT NULL CHECK (topic IN ('currentState', 'ResourceTermination')),
     consumer jsonb NOT NULL,
     wrapped boolean NOT NULL DEFAULT true,
     created_at timestamptz NOT NULL,
     ends_at timestamptz,
     paused boolean NOT NULL DEFAULT false,
     txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
     event_id bigint NOT NULL DEFAULT 0,
     next_at timestamptz NOT NULL,
     attempts integer NOT NULL DEFAULT 0,
     failing_since timestamptz,
     claimed_by text,
     claimed_until timestamptz,
     delivered bigint NOT NULL DEFAULT 0,
     last_delivered_at timestamptz,
     last_error text,
     last_error_at timestamptz
   )`,
  `CREATE INDEX subscription_lease ON subscription (lease_id)`,
  `CREATE INDEX subscription_account ON subscription (account_id)`,
  `CREATE INDEX subscription_ends ON subscription (ends_at) WHERE ends_at IS NOT NULL`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
