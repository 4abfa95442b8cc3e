/** Networks and the addresses of their pools. */
import { Fault } from '../../lease/faults.ts';
import { isName } from '../../lease/ids.ts';
import { parseIPv4 } from '../../network/ipv4.ts';
import { generateMac } from '../../network/mac.ts';
import { checkAddresses, checkNetwork, type CheckedAddress } from '../../network/rules.ts';
import type { Queryable } from '../../store/db.ts';
import {
  addressByIp, addressesInTheWay, addressesOf, addressesOnBridge, deleteAddressesOf, deleteFreeAddress, deleteNetwork, hostsOnBridge, insertAddresses, insertNetwork,
  liveLeasesOnNetwork, lockBridge, lockNetwork, networksByName, networksWithUse, pooledOnBridge, type AddressRow, type NetworkRow, type NetworkUseRow,
} from '../../store/networks.ts';
import type { AddressView, AdminManager, NetworkView } from '../admin-types.ts';
import type { AdminDeps } from './deps.ts';

/** A generated MAC that is taken is generated anew; 24 random bits make a second time rare. */
const MAC_ATTEMPTS = 10;

export function networkAdministration({ ctx, db, config }: AdminDeps): AdminManager['networks'] {
  const generated = (): string => generateMac(ctx.random, config.network.mac_prefix);

  /** Writes all or throws; those without MAC get one. Rows come in the order asked. */
  async function insertAll(tx: Queryable, network: NetworkRow, asked: readonly CheckedAddress[]): Promise<AddressRow[]> {
    const written = new Map<string, AddressRow>();
    let open = asked;
    for (let attempt = 0; open.length > 0; attempt += 1) {
      const rows = await tx.query(insertAddresses, [network.id, open.map((a) => a.ip), open.map((a) => a.hostname), open.map((a) => a.mac ?? generated())]);
      for (const row of rows) written.set(row.ip, row);
      open = open.filter((a) => !written.has(a.ip));
      if (open.length > 0) await refuseTaken(tx, network, open, attempt);
    }
    return asked.flatMap((a) => written.get(a.ip) ?? []);
  }

  return {
    async add(asked) {
      const n = checkNetwork(asked);
      await db.transaction(async (tx) => {
        await refusePooled(tx, n);
        const [row] = await tx.query(insertNetwork, [n.name, n.kind, n.bridge, n.prefix, n.gateway, n.dns, new Date(ctx.clock.now())]);
        if (row === undefined) throw new Fault('NetworkExists', `A network named ${n.name} exists already`);
      });
      const [added] = await db.query(networksWithUse, [n.name]);
      if (added === undefined) throw notFound(n.name);
      return networkView(added);
    },

    list: async () => (await db.query(networksWithUse, [null])).map(networkView),

    async remove(name) {
      await db.transaction(async (tx) => {
        const network = await locked(tx, name);
        const users = await tx.query(liveLeasesOnNetwork, [name]);
        if (users.length > 0) throw new Fault('NetworkInUse', `Network ${name} is in use`, users.map((l) => `lease ${l.id} is on it`));
        await tx.query(deleteAddressesOf, [network.id]);
        await tx.query(deleteNetwork, [network.id]);
      });
    },

    addAddresses: (name, asked) => db.transaction(async (tx) => {
      const network = await locked(tx, name);
      const addresses = checkAddresses(network, asked);
      await refuseOverlap(tx, network, addresses);
      return (await insertAll(tx, network, addresses)).map((a) => addressView(name, a));
    }),

    async addresses(name) {
      const [network] = isName(name) ? await db.query(networksByName, [[name]]) : [];
      if (network === undefined) throw notFound(name);
      return (await db.query(addressesOf, [network.id])).map((a) => addressView(name, a));
    },

    async removeAddress(name, ip) {
      await db.transaction(async (tx) => {
        const network = await locked(tx, name);
        if (parseIPv4(ip) === undefined) throw new Fault('ParameterInvalid', 'The address is no IPv4 address', [JSON.stringify(ip.slice(0, 64))]);
        if ((await tx.query(deleteFreeAddress, [network.id, ip])).length > 0) return;
        const [held] = await tx.query(addressByIp, [network.id, ip]);
        throw held === undefined
          ? new Fault('ParameterInvalid', `Network ${name} has no address ${ip}`)
          : new Fault('NetworkInUse', `Address ${ip} is in use`, [`lease ${held.lease_id} holds it`]);
      });
    },
  };
}

/** The other way round: nobody's router or name server may be an address that a pool on its bridge gives to guests. */
async function refusePooled(tx: Queryable, n: Omit<NetworkRow, 'id'>): Promise<void> {
  if (n.bridge === null) return;
  await tx.query(lockBridge, [n.bridge]);
  const pooled = await tx.query(pooledOnBridge, [n.bridge, [...(n.gateway === null ? [] : [n.gateway]), ...n.dns]]);
  if (pooled.length === 0) return;
  throw new Fault('ParameterInvalid', `Guests on the bridge ${n.bridge} may get an address that is to be the gateway or a name server of ${n.name}: take it out of its pool, or name another`, pooled.map((a) => {
    const holder = a.lease_id === null ? '' : `; lease ${a.lease_id} has it and must end before`;
    return `the ${a.ip === n.gateway ? 'gateway' : 'name server'} ${a.ip} is in the pool of ${a.network}: nimbus network address remove ${a.network} ${a.ip}${holder}`;
  }));
}

/** Two guests on one bridge must not have one address, and none that of a router or name server there. */
async function refuseOverlap(tx: Queryable, network: NetworkRow, addresses: readonly CheckedAddress[]): Promise<void> {
  await tx.query(lockBridge, [network.bridge]);
  const hosts = await tx.query(hostsOnBridge, [network.id, addresses.map((a) => a.ip)]);
  if (hosts.length > 0) throw new Fault('ParameterInvalid', `Routers and name servers on the bridge ${network.bridge ?? ''} have some of these addresses`, hosts.map((h) => `${h.ip} is the ${h.what} of network ${h.network}`));
  const others = await tx.query(addressesOnBridge, [network.id, addresses.map((a) => a.ip)]);
  if (others.length > 0) throw new Fault('AddressExists', `Another network on the bridge ${network.bridge ?? ''} has an address of these`, others.map((a) => `${a.ip} is in network ${a.network}`));
}

/** Throws unless only generated MACs were in the way. */
async function refuseTaken(tx: Queryable, network: NetworkRow, open: readonly CheckedAddress[], attempt: number): Promise<void> {
  const macs = open.flatMap((a) => a.mac ?? []);
  const taken = await tx.query(addressesInTheWay, [network.id, open.map((a) => a.ip), open.map((a) => a.hostname), macs]);
  if (taken.length > 0) {
    throw new Fault('AddressExists', 'An address, hostname or MAC is in a pool already', taken.map((a) => `${a.ip} ${a.hostname} ${a.mac} in network ${a.network}`));
  }
  if (attempt + 1 >= MAC_ATTEMPTS) throw new Error(`no free MAC was found in ${MAC_ATTEMPTS} attempts`);
}

async function locked(tx: Queryable, name: string): Promise<NetworkRow> {
  const [network] = isName(name) ? await tx.query(lockNetwork, [name]) : [];
  if (network === undefined) throw notFound(name);
  return network;
}

function networkView(row: NetworkUseRow): NetworkView {
  return {
    name: row.name, kind: row.kind, bridge: row.bridge, prefix: row.prefix, gateway: row.gateway, dns: row.dns,
    addresses: row.addresses, inUse: row.in_use,
  };
}

function addressView(network: string, row: AddressRow): AddressView {
  return { network, ip: row.ip, hostname: row.hostname, mac: row.mac, lease: row.lease_id };
}

const notFound = (name: string): Fault => new Fault('NetworkNotFound', `No network is named ${name.slice(0, 64)}`);
