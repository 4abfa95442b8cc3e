/** Gives the planned leases their network interfaces: generated for user-mode networks, taken from the pool for bridges. */
import { giveOut, type PoolAddress } from '../network/addresses.ts';
import { bridgeNic, userNic } from '../network/nics.ts';
import type { Queryable } from '../store/db.ts';
import type { ManagerDeps } from './deps.ts';
import type { Planned } from './planned.ts';

const NONE: ReadonlyMap<string, PoolAddress> = new Map();

/** @throws Fault NoAddress */
export async function assignNics(deps: ManagerDeps, tx: Queryable, planned: readonly Planned[]): Promise<void> {
  for (const { request, leases } of planned) {
    for (const [index, network] of request.networks.entries()) {
      const addresses = network.kind === 'bridge' ? await giveOut(tx, network, leases.map((l) => l.id)) : NONE;
      leases.forEach((l) => {
        const address = addresses.get(l.id);
        l.nics.push(address === undefined
          ? userNic(deps.ctx.random, deps.config.network.mac_prefix, network, l.id, index)
          : bridgeNic(network, address));
      });
    }
  }
}
