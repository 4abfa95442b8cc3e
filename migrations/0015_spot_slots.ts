/** Spot in pilot mode: jobs of lower standing; and security groups that an instance has been given since its creation. */
import type { Knex } from 'knex';

const STATEMENTS = [
  // Its job may be displaced by others of the batch system.
  `ALTER TABLE slot ADD COLUMN spot boolean NOT NULL DEFAULT false`,
  // As in lease_group; null: those that its request named.
  `ALTER TABLE lease ADD COLUMN security_groups jsonb`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
