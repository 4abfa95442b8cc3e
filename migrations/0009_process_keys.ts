/** Each service says with its signs of life which operating key it has: services of one site need the same. */
import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE process ADD COLUMN operating_key text');
}
