/** Finds the few resources among many that have a tag; the new index serves what the old one did. */
import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('CREATE INDEX tag_key_value ON tag (account_id, key, value)');
  await knex.raw('DROP INDEX tag_account');
}
