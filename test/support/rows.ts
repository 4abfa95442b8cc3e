/** Rows that tests of statements start from, written with plain SQL. */
import { statement, type Queryable } from '../../src/store/db.ts';

const account = statement<{ id: number }>('test-account', `
  INSERT INTO account (name, owner_id, admin, created_at) VALUES ($1, $2, $3, now()) RETURNING id`);
const network = statement<{ id: number; name: string }>('test-bridge', `
  INSERT INTO network (name, kind, bridge, prefix, gateway, created_at) VALUES ($1, 'bridge', 'br0', 24, '192.0.2.1', now()) RETURNING id, name`);
const address = statement<never>('test-bridge-address', 'INSERT INTO network_address (network_id, ip, hostname, mac) VALUES ($1, $2::inet, $3, $4)');
const image = statement<never>('test-image', `
  INSERT INTO image (id, account_id, name, format, size_bytes, sha256, file, created_at)
  VALUES ($1, $2, $3, 'raw', 512, repeat('0', 64), $1, now())`);
const group = statement<never>('test-group', `
  INSERT INTO lease_group (id, account_id, request_hash, created_at) VALUES ($1, $2, '', now()) ON CONFLICT DO NOTHING`);
const lease = statement<never>('test-lease', `
  INSERT INTO lease (id, group_id, account_id, launch_index, state, generation, final, holding, node_id, zone, image_id, type,
                     memory_mb, cores, disk_mb, nics, created_at, duration_s, ends_at, ended_at)
  VALUES ($1, $2, $3, 0, $4, 1, $5, NOT $5, $6, 'default', $7, 'm1.small', 128, 1, 0, $8, $9, 3600, $9::timestamptz + '1 hour',
          CASE WHEN $5 THEN $9::timestamptz END)`);

let made = 0;
const hex = (): string => (made += 1).toString(16).padStart(17, '0');

export async function addAccount(q: Queryable, name: string, admin = false): Promise<number> {
  const [row] = await q.query(account, [name, String((made += 1)).padStart(12, '0'), admin]);
  return row!.id;
}

/** A bridge network with addresses 192.0.2.11 and up. */
export async function addNetwork(q: Queryable, name: string, addresses: number): Promise<{ id: number; name: string }> {
  const [row] = await q.query(network, [name]);
  for (let i = 0; i < addresses; i++) {
    const mac = (made += 1).toString(16).padStart(12, '0').replace(/..(?=.)/g, '$&:');
    await q.query(address, [row!.id, `192.0.2.${11 + i}`, `${name}-${i}`, mac]);
  }
  return row!;
}

export async function addImage(q: Queryable, accountId: number | null, name: string): Promise<string> {
  const id = `ami-${hex()}`;
  await q.query(image, [id, accountId, name]);
  return id;
}

export interface LeaseFacts {
  readonly accountId: number;
  readonly imageId: string;
  readonly ended?: boolean;
  readonly nodeId?: number;
  readonly networks?: readonly string[];
  readonly createdAt?: Date;
}

export async function addLease(q: Queryable, facts: LeaseFacts): Promise<string> {
  const id = `i-${hex()}`;
  const groupId = `r-${id.slice(2)}`;
  await q.query(group, [groupId, facts.accountId]);
  const ended = facts.ended ?? false;
  await q.query(lease, [
    id, groupId, facts.accountId, ended ? 'Terminated' : 'Running', ended, facts.nodeId ?? null, facts.imageId,
    JSON.stringify((facts.networks ?? []).map((n) => ({ network: n }))), facts.createdAt ?? new Date(),
  ]);
  return id;
}
