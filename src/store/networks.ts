/** Statements on networks and the addresses of their pools. */
import type { NetworkKind } from '../lease/types.ts';
import { statement } from './db.ts';

export interface NetworkRow {
  id: number;
  name: string;
  kind: NetworkKind;
  bridge: string | null;
  prefix: number;
  gateway: string | null;
  dns: string[];
}
const COLUMNS = 'id, name, kind, bridge, prefix, host(gateway) AS gateway, dns';

/** $1 names */
export const networksByName = statement<NetworkRow>('networks-by-name', `SELECT ${COLUMNS} FROM network WHERE name = ANY($1::text[])`);

/** $1 name. Waits for transactions that take addresses of it, and makes them wait. */
export const lockNetwork = statement<NetworkRow>('lock-network', `SELECT ${COLUMNS} FROM network WHERE name = $1 FOR UPDATE`);

export const networkNames = statement<{ name: string }>('network-names', 'SELECT name FROM network ORDER BY name');

export interface NetworkUseRow extends NetworkRow {
  addresses: number;
  in_use: number;
}
/** $1 name (null = all) */
export const networksWithUse = statement<NetworkUseRow>('networks-with-use', `
  SELECT ${COLUMNS}, (SELECT count(*) FROM network_address a WHERE a.network_id = network.id) AS addresses,
         (SELECT count(*) FROM network_address a WHERE a.network_id = network.id AND a.lease_id IS NOT NULL) AS in_use
    FROM network WHERE $1::text IS NULL OR name = $1 ORDER BY name`);

/** $1 name, $2 kind, $3 bridge, $4 prefix, $5 gateway, $6 dns, $7 now; no row when the name is taken */
export const insertNetwork = statement<{ id: number }>('insert-network', `
  INSERT INTO network (name, kind, bridge, prefix, gateway, dns, created_at)
  VALUES ($1, $2, $3, $4, $5, $6::text[], $7) ON CONFLICT (name) DO NOTHING RETURNING id`);

/** $1 network id */
export const deleteAddressesOf = statement<never>('delete-addresses-of', 'DELETE FROM network_address WHERE network_id = $1');
export const deleteNetwork = statement<never>('delete-network', 'DELETE FROM network WHERE id = $1');

/** $1 network name: live leases with a NIC on it, a few of them */
export const liveLeasesOnNetwork = statement<{ id: string }>('live-leases-on-network', `
  SELECT id FROM lease WHERE NOT final AND nics @> jsonb_build_array(jsonb_build_object('network', $1::text)) ORDER BY seq LIMIT 10`);

export interface AddressRow {
  id: number;
  ip: string;
  hostname: string;
  mac: string;
  lease_id: string | null;
}

/** $1 network id, $2 leases: each gets a free address, in the order of the pool. Addresses that another transaction is taking are passed over, not waited for. */
export const giveAddresses = statement<AddressRow>('give-addresses', `
  WITH free AS (
    SELECT id FROM network_address WHERE network_id = $1 AND lease_id IS NULL ORDER BY id LIMIT cardinality($2::text[]) FOR UPDATE SKIP LOCKED
  ), x AS (
    SELECT f.id, l.lease_id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM free) f JOIN unnest($2::text[]) WITH ORDINALITY AS l(lease_id, n) USING (n)
  )
  UPDATE network_address a SET lease_id = x.lease_id FROM x WHERE a.id = x.id RETURNING a.id, host(a.ip) AS ip, a.hostname, a.mac, a.lease_id`);

/** $1 network id */
export const countFreeAddresses = statement<{ free: number; total: number }>('count-free-addresses', `
  SELECT count(*) FILTER (WHERE lease_id IS NULL) AS free, count(*) AS total FROM network_address WHERE network_id = $1`);

/** $1 network id, in the order in which they are leased */
export const addressesOf = statement<AddressRow>('addresses-of', `
  SELECT id, host(ip) AS ip, hostname, mac, lease_id FROM network_address WHERE network_id = $1 ORDER BY id`);

/** $1 network id; $2 ips, $3 hostnames, $4 MACs in parallel arrays, in the order in which they shall be leased. Those taken by others are left out. */
export const insertAddresses = statement<AddressRow>('insert-addresses', `
  INSERT INTO network_address (network_id, ip, hostname, mac)
  SELECT $1, x.ip::inet, x.hostname, x.mac FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS x(ip, hostname, mac, n) ORDER BY x.n
  ON CONFLICT DO NOTHING RETURNING id, host(ip) AS ip, hostname, mac, lease_id`);

/** $1 network id, $2 ips, $3 hostnames, $4 MACs: what stands in the way, a few of them */
export const addressesInTheWay = statement<AddressRow & { network: string }>('addresses-in-the-way', `
  SELECT a.id, host(a.ip) AS ip, a.hostname, a.mac, a.lease_id, n.name AS network FROM network_address a JOIN network n ON n.id = a.network_id
   WHERE (a.network_id = $1 AND (a.ip = ANY($2::inet[]) OR a.hostname = ANY($3::text[]))) OR a.mac = ANY($4::text[]) ORDER BY a.id LIMIT 10`);

/** Addresses that more than one network would give to its guests. */
export const addressesTwice = statement<{ ip: string; networks: string[]; same_bridge: boolean }>('addresses-twice', `
  SELECT host(a.ip) AS ip, array_agg(n.name ORDER BY n.name) AS networks, count(DISTINCT n.bridge) < count(*) AS same_bridge
    FROM network_address a JOIN network n ON n.id = a.network_id GROUP BY a.ip HAVING count(*) > 1 ORDER BY a.ip LIMIT 100`);

/** Gateways and name servers that a network on the same bridge would give to a guest. */
export const addressesOfOthers = statement<{ ip: string; network: string; other: string; what: 'gateway' | 'name server' }>('addresses-of-others', `
  SELECT host(a.ip) AS ip, n.name AS network, o.name AS other, CASE WHEN o.gateway = a.ip THEN 'gateway' ELSE 'name server' END AS what
    FROM network_address a JOIN network n ON n.id = a.network_id JOIN network o ON o.bridge = n.bridge AND (o.gateway = a.ip OR host(a.ip) = ANY(o.dns))
   ORDER BY a.ip LIMIT 100`);

/** $1 network id, $2 ips: those that are a gateway or a name server of a network on the same bridge, its own too, a few of them */
export const hostsOnBridge = statement<{ ip: string; network: string; what: 'gateway' | 'name server' }>('hosts-on-bridge', `
  SELECT x.ip, o.name AS network, CASE WHEN host(o.gateway) = x.ip THEN 'gateway' ELSE 'name server' END AS what
    FROM network n JOIN network o ON o.bridge = n.bridge JOIN unnest($2::text[]) AS x(ip) ON host(o.gateway) = x.ip OR x.ip = ANY(o.dns)
   WHERE n.id = $1 ORDER BY x.ip::inet, o.id LIMIT 10`);

/** $1 bridge. What is checked against everything on a bridge is written before anyone else checks; held until the transaction ends. */
export const lockBridge = statement<never>('lock-bridge', "SELECT pg_advisory_xact_lock(hashtextextended('bridge ' || $1::text, 0))");

/** $1 bridge, $2 ips: those that a pool on it holds, a few of them */
export const pooledOnBridge = statement<{ ip: string; network: string; lease_id: string | null }>('pooled-on-bridge', `
  SELECT host(a.ip) AS ip, n.name AS network, a.lease_id FROM network_address a JOIN network n ON n.id = a.network_id
   WHERE n.bridge = $1 AND a.ip = ANY($2::inet[]) ORDER BY a.ip, n.id LIMIT 10`);

/** $1 network id, $2 ips: those that another network on the same bridge has, a few of them */
export const addressesOnBridge = statement<AddressRow & { network: string }>('addresses-on-bridge', `
  SELECT a.id, host(a.ip) AS ip, a.hostname, a.mac, a.lease_id, o.name AS network
    FROM network n JOIN network o ON o.bridge = n.bridge AND o.id <> n.id JOIN network_address a ON a.network_id = o.id
   WHERE n.id = $1 AND a.ip = ANY($2::inet[]) ORDER BY a.id LIMIT 10`);

/** $1 network id, $2 ip */
export const addressByIp = statement<AddressRow>('address-by-ip', `
  SELECT id, host(ip) AS ip, hostname, mac, lease_id FROM network_address WHERE network_id = $1 AND ip = $2::inet`);

/** $1 network id, $2 ip; no row when it is leased or not in the pool */
export const deleteFreeAddress = statement<AddressRow>('delete-free-address', `
  DELETE FROM network_address WHERE network_id = $1 AND ip = $2::inet AND lease_id IS NULL
  RETURNING id, host(ip) AS ip, hostname, mac, lease_id`);
