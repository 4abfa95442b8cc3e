/** Whether a node's agent keeps the memory of VMs that do not run, as it said last. */
import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE vmm_node ADD COLUMN serializes boolean NOT NULL DEFAULT false');
}
