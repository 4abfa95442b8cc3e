/** Gives the planned leases their network interfaces: generated for user-mode networks, taken from the pool for bridges. */
import { assignAddresses, takeAddresses, type PoolAddress } from '../network/addresses.ts';
import { bridgeNic, userNic } from '../network/nics.ts';
import type { Queryable } from '../store/db.ts';
import type { ManagerDeps } from './deps.ts';
import type { Planned, PlannedLease } from './planned.ts';

/** @throws Fault NoAddress */
export async function assignNics(deps: ManagerDeps, tx: Queryable, planned: readonly Planned[]): Promise<void> {
  for (const { request, leases } of planned) {
    for (const [index, network] of request.networks.entries()) {
      const addresses = network.kind === 'bridge' ? await lease(tx, network, leases) : [];
      leases.forEach((l, i) => {
        const address = addresses[i];
        l.nics.push(address === undefined
          ? userNic(deps.ctx.random, deps.config.network.mac_prefix, network, l.id, index)
          : bridgeNic(network, address));
      });
    }
  }
}

async function lease(tx: Queryable, network: { id: number; name: string }, leases: readonly PlannedLease[]): Promise<PoolAddress[]> {
  const addresses = await takeAddresses(tx, network, leases.length);
  await assignAddresses(tx, addresses.map((a, i) => ({ addressId: a.id, leaseId: leases[i]?.id ?? '' })));
  return addresses;
}
