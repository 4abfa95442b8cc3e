/** Since when an agent has left an intent without an answer: the time that it has counts from there, and not from when the intent was written. */
import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE intent ADD COLUMN sent_at timestamptz');
}
