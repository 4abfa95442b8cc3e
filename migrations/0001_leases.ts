/** The first schema: users, nodes, networks, images, keys, leases, their events and intents, usage records. */
import type { Knex } from 'knex';

const STATEMENTS = [
  `CREATE TABLE account (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     name text NOT NULL UNIQUE,
     owner_id text NOT NULL UNIQUE CHECK (owner_id ~ '^[0-9]{12}$'),
     admin boolean NOT NULL DEFAULT false,
     created_at timestamptz NOT NULL,
     removed_at timestamptz
   )`,
  `CREATE TABLE access_key (
     access_key text PRIMARY KEY,
     account_id bigint NOT NULL REFERENCES account,
     secret text NOT NULL,
     created_at timestamptz NOT NULL,
     active boolean NOT NULL DEFAULT true
   )`,
  `CREATE INDEX access_key_account ON access_key (account_id)`,

  // memory_used and cores_used are what live leases hold; the check makes oversubscription impossible for any process.
  `CREATE TABLE vmm_node (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     name text NOT NULL UNIQUE,
     zone text NOT NULL,
     memory_mb integer NOT NULL CHECK (memory_mb >= 0),
     cores integer NOT NULL CHECK (cores >= 0),
     memory_used integer NOT NULL DEFAULT 0 CHECK (memory_used >= 0),
     cores_used integer NOT NULL DEFAULT 0 CHECK (cores_used >= 0),
     networks text[] NOT NULL DEFAULT '{*}',
     active boolean NOT NULL DEFAULT true,
     access jsonb NOT NULL,
     reachable boolean NOT NULL DEFAULT false,
     last_seen timestamptz,
     last_error text,
     agent_version text,
     driver text,
     boot_id text,
     created_at timestamptz NOT NULL,
     CHECK (memory_used <= memory_mb),
     CHECK (cores_used <= cores)
   )`,

  `CREATE TABLE network (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     name text NOT NULL UNIQUE,
     kind text NOT NULL CHECK (kind IN ('user', 'bridge')),
     bridge text,
     prefix integer NOT NULL CHECK (prefix BETWEEN 0 AND 32),
     gateway inet,
     dns text[] NOT NULL DEFAULT '{}',
     created_at timestamptz NOT NULL,
     CHECK ((kind = 'bridge') = (bridge IS NOT NULL))
   )`,
  `CREATE TABLE lease_group (
     id text PRIMARY KEY,
     account_id bigint NOT NULL REFERENCES account,
     client_token text,
     request_hash text NOT NULL,
     created_at timestamptz NOT NULL,
     UNIQUE (account_id, client_token)
   )`,
  `CREATE TABLE image (
     id text PRIMARY KEY,
     account_id bigint REFERENCES account,
     name text NOT NULL,
     format text NOT NULL CHECK (format IN ('raw', 'qcow2')),
     size_bytes bigint NOT NULL,
     sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
     file text NOT NULL,
     description text NOT NULL DEFAULT '',
     created_at timestamptz NOT NULL,
     removed_at timestamptz
   )`,
  `CREATE UNIQUE INDEX image_name ON image (coalesce(account_id, 0), name) WHERE removed_at IS NULL`,
  `CREATE TABLE key_pair (
     account_id bigint NOT NULL REFERENCES account,
     name text NOT NULL,
     id text NOT NULL UNIQUE,
     type text NOT NULL,
     public_key text NOT NULL,
     fingerprint text NOT NULL,
     created_at timestamptz NOT NULL,
     PRIMARY KEY (account_id, name)
   )`,

  // seq orders leases by creation and is the integer key of grid clients.
  `CREATE TABLE lease (
     id text PRIMARY KEY,
     seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
     group_id text NOT NULL REFERENCES lease_group,
     account_id bigint NOT NULL REFERENCES account,
     launch_index integer NOT NULL,
     state text NOT NULL,
     generation integer NOT NULL,
     final boolean NOT NULL DEFAULT false,
     holding boolean NOT NULL DEFAULT true,
     node_id bigint REFERENCES vmm_node,
     zone text NOT NULL,
     image_id text NOT NULL REFERENCES image,
     type text NOT NULL,
     memory_mb integer NOT NULL,
     cores integer NOT NULL,
     disk_mb integer NOT NULL,
     key_name text,
     public_key text,
     user_data bytea,
     nics jsonb NOT NULL,
     reach jsonb,
     created_at timestamptz NOT NULL,
     duration_s integer NOT NULL,
     ends_at timestamptz NOT NULL,
     running_at timestamptz,
     ended_at timestamptz,
     phases jsonb NOT NULL DEFAULT '{}',
     reason_code text,
     reason text
   )`,
  `CREATE INDEX lease_live_account ON lease (account_id, seq) WHERE NOT final`,
  `CREATE INDEX lease_ended ON lease (account_id, ended_at) WHERE final`,
  `CREATE INDEX lease_due ON lease (ends_at) WHERE NOT final`,
  `CREATE INDEX lease_node ON lease (node_id) WHERE holding`,
  `CREATE INDEX lease_group_id ON lease (group_id)`,
  `CREATE INDEX lease_image ON lease (image_id) WHERE NOT final`,

  `CREATE TABLE network_address (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     network_id bigint NOT NULL REFERENCES network,
     ip inet NOT NULL,
     hostname text NOT NULL,
     mac text NOT NULL UNIQUE,
     lease_id text REFERENCES lease DEFERRABLE INITIALLY DEFERRED,
     UNIQUE (network_id, ip),
     UNIQUE (network_id, hostname)
   )`,
  `CREATE INDEX network_address_free ON network_address (network_id, id) WHERE lease_id IS NULL`,
  `CREATE INDEX network_address_lease ON network_address (lease_id) WHERE lease_id IS NOT NULL`,

  `CREATE TABLE tag (
     resource_id text NOT NULL,
     account_id bigint NOT NULL REFERENCES account,
     key text NOT NULL,
     value text NOT NULL,
     PRIMARY KEY (resource_id, key)
   )`,
  `CREATE INDEX tag_account ON tag (account_id)`,

  // Append-only. Readers follow it in commit order: rows whose txid is below pg_snapshot_xmin(pg_current_snapshot()).
  `CREATE TABLE event (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
     lease_id text NOT NULL,
     at timestamptz NOT NULL,
     from_state text,
     to_state text NOT NULL,
     trigger text NOT NULL,
     who text NOT NULL,
     why text NOT NULL DEFAULT '',
     request_id text
   )`,
  `CREATE INDEX event_lease ON event (lease_id, id)`,

  // Work for an agent: written before it is done, done at least once, remembered by its id on the far side.
  `CREATE TABLE intent (
     id text PRIMARY KEY,
     lease_id text NOT NULL REFERENCES lease,
     node_id bigint NOT NULL REFERENCES vmm_node,
     kind text NOT NULL,
     generation integer NOT NULL,
     state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'failed', 'superseded')),
     attempts integer NOT NULL DEFAULT 0,
     created_at timestamptz NOT NULL,
     next_at timestamptz NOT NULL,
     finished_at timestamptz,
     request_id text,
     error text
   )`,
  `CREATE INDEX intent_open ON intent (next_at) WHERE state = 'open'`,
  `CREATE INDEX intent_lease ON intent (lease_id)`,

  `CREATE TABLE usage_record (
     lease_id text PRIMARY KEY REFERENCES lease,
     account_id bigint NOT NULL REFERENCES account,
     created_at timestamptz NOT NULL,
     reserved_s integer NOT NULL,
     closed_at timestamptz,
     charged_minutes integer
   )`,
  `CREATE INDEX usage_record_account ON usage_record (account_id, created_at)`,
  `CREATE TABLE usage_interval (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     lease_id text NOT NULL REFERENCES usage_record,
     node text NOT NULL,
     start_at timestamptz NOT NULL,
     stop_at timestamptz,
     memory_mb integer NOT NULL,
     cores integer NOT NULL,
     CHECK (stop_at IS NULL OR stop_at >= start_at)
   )`,
  `CREATE UNIQUE INDEX usage_interval_open ON usage_interval (lease_id) WHERE stop_at IS NULL`,
  `CREATE INDEX usage_interval_lease ON usage_interval (lease_id)`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
