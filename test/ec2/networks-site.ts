/** A bridge network of a test site, with a pool of addresses. */
import { statement } from '../../src/store/db.ts';
import type { TestSite } from '../support/site.ts';

export async function createNetwork({ db }: TestSite, name: string, first24: string, addresses: number): Promise<void> {
  await db.query(statement<never>('test-lan', `
    WITH n AS (INSERT INTO network (name, kind, bridge, prefix, gateway, created_at) VALUES ($1, 'bridge', 'br0', 24, ($2 || '.1')::inet, now()) RETURNING id)
    INSERT INTO network_address (network_id, ip, hostname, mac)
    SELECT n.id, ($2 || '.' || 9 + i)::inet, $1 || i, 'a2:aa:bb:01:00:' || lpad(to_hex(i), 2, '0') FROM n, generate_series(1, $3::int) AS i`), [name, first24, addresses]);
}
