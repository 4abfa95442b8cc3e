/** History is pruned: what is old is found by an index, what is removed is not searched for in whole tables. */
import type { Knex } from 'knex';

const STATEMENTS = [
  `CREATE INDEX lease_ended_at ON lease (ended_at) WHERE final`,
  `CREATE INDEX slot_ended_at ON slot (ended_at) WHERE final`,
  `CREATE INDEX usage_record_closed_at ON usage_record (closed_at) WHERE closed_at IS NOT NULL`,
  // A node that goes is looked for in what may refer to it.
  `CREATE INDEX lease_node_ever ON lease (node_id)`,
  `CREATE INDEX intent_node ON intent (node_id)`,
  `CREATE INDEX slot_node_node ON slot_node (node_id)`,
  `CREATE INDEX vmm_node_slot ON vmm_node (slot_id) WHERE slot_id IS NOT NULL`,
  // What was charged is kept longer than the lease that it was charged for.
  `ALTER TABLE usage_record DROP CONSTRAINT usage_record_lease_id_fkey`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
