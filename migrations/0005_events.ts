/** Events in the order in which their transactions ended, for those who follow them. */
import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('CREATE INDEX event_order ON event (txid, id)');
}
