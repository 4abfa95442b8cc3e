/** What users say of their leases: that they must not be ended or stopped, what their own exit means; images that are being made, and who may use an image. */
import type { Knex } from 'knex';

const STATEMENTS = [
  `ALTER TABLE lease ADD COLUMN end_protected boolean NOT NULL DEFAULT false`,
  `ALTER TABLE lease ADD COLUMN stop_protected boolean NOT NULL DEFAULT false`,
  // At its VM's own exit it rests with its disk, instead of ending.
  `ALTER TABLE lease ADD COLUMN rests boolean NOT NULL DEFAULT false`,
  // The image that its disk becomes while the lease goes on.
  `ALTER TABLE lease ADD COLUMN image_order text`,
  // The guest is not asked to power down first.
  `ALTER TABLE intent ADD COLUMN hard boolean NOT NULL DEFAULT false`,

  // Until its bytes are there; then a row of `image` has its id. It has failed when it says so, or when its lease is not being saved for it.
  `CREATE TABLE image_order (
     id text PRIMARY KEY,
     account_id bigint NOT NULL REFERENCES account,
     lease_id text NOT NULL,
     image_id text NOT NULL,
     name text NOT NULL,
     description text NOT NULL,
     restart boolean NOT NULL,
     created_at timestamptz NOT NULL,
     failed_at timestamptz,
     reason text
   )`,
  `CREATE INDEX image_order_account ON image_order (account_id)`,
  `CREATE INDEX image_order_created ON image_order (created_at)`,

  `ALTER TABLE image ADD COLUMN public boolean NOT NULL DEFAULT false`,
  `CREATE TABLE image_grant (
     image_id text NOT NULL REFERENCES image ON DELETE CASCADE,
     account_id bigint NOT NULL REFERENCES account ON DELETE CASCADE,
     PRIMARY KEY (image_id, account_id)
   )`,
  `CREATE INDEX image_grant_account ON image_grant (account_id)`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
