/** Leasing addresses of a pool, inside the transaction that makes the leases; the end of a lease gives them back with all else. */
import { Fault } from '../lease/faults.ts';
import type { Queryable } from '../store/db.ts';
import { countFreeAddresses, giveAddresses, type AddressRow, type NetworkRow } from '../store/networks.ts';

/** An address as the pool has it. */
export type PoolAddress = Pick<AddressRow, 'id' | 'ip' | 'hostname' | 'mac'>;

/**
 * An address for each of these leases, which may be written later in the same transaction.
 * @throws Fault NoAddress
 */
export async function giveOut(tx: Queryable, network: Pick<NetworkRow, 'id' | 'name'>, leases: readonly string[]): Promise<ReadonlyMap<string, PoolAddress>> {
  const given = await tx.query(giveAddresses, [network.id, leases]);
  if (given.length === leases.length) return new Map(given.map((a) => [a.lease_id ?? '', a]));
  const [pool] = await tx.query(countFreeAddresses, [network.id]);
  const reason = pool === undefined || pool.total === 0
    ? `the pool of network ${network.name} is empty: nimbus network add-addresses fills it`
    : `network ${network.name}: ${leases.length} asked, ${given.length} of ${pool.total} free`;
  throw new Fault('NoAddress', `Network ${network.name} has not enough free addresses`, [reason]);
}
