/** Leasing addresses of a pool, inside the transaction that makes the leases; the end of a lease gives them back with all else. */
import { Fault } from '../lease/faults.ts';
import type { Queryable } from '../store/db.ts';
import {
  countFreeAddresses, giveAddresses, takeFreeAddresses, type AddressRow, type NetworkRow,
} from '../store/networks.ts';

/** An address as the pool has it, lowest entry first. */
export type PoolAddress = Pick<AddressRow, 'id' | 'ip' | 'hostname' | 'mac'>;

/**
 * `count` free addresses, locked until the transaction ends; `assignAddresses` must follow in it.
 * @throws Fault NoAddress
 */
export async function takeAddresses(tx: Queryable, network: Pick<NetworkRow, 'id' | 'name'>, count: number): Promise<PoolAddress[]> {
  const taken = await tx.query(takeFreeAddresses, [network.id, count]);
  if (taken.length === count) return taken;
  const [pool] = await tx.query(countFreeAddresses, [network.id]);
  const reason = pool === undefined || pool.total === 0
    ? `the pool of network ${network.name} is empty: nimbus network add-addresses fills it`
    : `network ${network.name}: ${count} asked, ${taken.length} of ${pool.total} free`;
  throw new Fault('NoAddress', `Network ${network.name} has not enough free addresses`, [reason]);
}

/** @throws Error when an address was given away meanwhile, which `takeAddresses` in the same transaction rules out */
export async function assignAddresses(tx: Queryable, pairs: ReadonlyArray<{ readonly addressId: number; readonly leaseId: string }>): Promise<void> {
  if (pairs.length === 0) return;
  const given = await tx.query(giveAddresses, [pairs.map((p) => p.addressId), pairs.map((p) => p.leaseId)]);
  if (given.length !== pairs.length) throw new Error(`${pairs.length - given.length} of ${pairs.length} addresses were taken by others`);
}
