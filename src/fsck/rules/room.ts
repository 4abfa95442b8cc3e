/** Nodes and addresses: what they are used for is what leases hold. */
import { LOCK_NODES, rule } from '../rule.ts';
import { statement } from '../../store/db.ts';

interface NodeUse { id: string; name: string; memory_mb: number; cores: number; memory_used: number; cores_used: number; memory: number; cores_held: number }
const fits = (n: NodeUse): boolean => n.memory <= n.memory_mb && n.cores_held <= n.cores;

const HELD = '(SELECT node_id, sum(memory_mb)::int AS memory, sum(cores)::int AS cores FROM lease WHERE holding AND node_id IS NOT NULL GROUP BY node_id)';

/** Its lease first, as by everyone who takes or gives back addresses. */
const LOCK_HOLDERS = statement<unknown>('fsck-lock-holders', `
  SELECT id FROM lease WHERE id IN (SELECT lease_id FROM network_address WHERE id = ANY($1::text[]::bigint[])) ORDER BY id FOR NO KEY UPDATE`);

/** NICs on bridges, whose addresses are entries of a pool. */
const NICS = "SELECT l.id, l.holding, n->>'network' AS network, n->>'ip' AS ip FROM lease l CROSS JOIN LATERAL jsonb_array_elements(l.nics) n WHERE n->>'kind' = 'bridge'";

export const addressRules = [
  rule<{ id: string; ip: string; network: string; lease_id: string; state: string; holding: boolean }>({
    name: 'address-kept',
    broken: `SELECT a.id::text, host(a.ip) AS ip, w.name AS network, a.lease_id, l.state, l.holding
               FROM network_address a JOIN network w ON w.id = a.network_id JOIN lease l ON l.id = a.lease_id
              WHERE NOT l.holding OR NOT EXISTS (SELECT 1 FROM (${NICS}) nic WHERE nic.id = l.id AND nic.network = w.name AND nic.ip = host(a.ip))`,
    says: (a) => (a.holding ? `address ${a.ip} of network ${a.network} is given to lease ${a.lease_id}, which has no such NIC`
      : `address ${a.ip} of network ${a.network} is kept by lease ${a.lease_id}, which is ${a.state} and holds nothing`),
    mend: 'frees the address',
    repair: { lock: LOCK_HOLDERS, statement: 'UPDATE network_address SET lease_id = NULL WHERE id = ANY($1::text[]::bigint[])' },
  }),
  rule<{ id: string; lease: string; ip: string; network: string; known: boolean; holder: string | null }>({
    name: 'address-lost',
    broken: `SELECT nic.id || ' ' || nic.ip AS id, nic.id AS lease, nic.ip, nic.network, a.id IS NOT NULL AS known, a.lease_id AS holder
               FROM (${NICS}) nic LEFT JOIN network w ON w.name = nic.network LEFT JOIN network_address a ON a.network_id = w.id AND host(a.ip) = nic.ip
              WHERE nic.holding AND a.lease_id IS DISTINCT FROM nic.id`,
    says: (a) => `lease ${a.lease} uses address ${a.ip} of network ${a.network}, which ${a.known ? a.holder === null ? 'counts as free' : `is given to lease ${a.holder}` : 'is in no pool'}`,
    mend: (a) => (a.known ? a.holder === null ? 'gives the address to the lease' : 'one of the two leases has to end' : 'add it to the pool with: nimbus network address add'),
    repair: {
      lock: statement<unknown>('fsck-lock-users', `
        SELECT id FROM lease WHERE id IN (SELECT split_part(x, ' ', 1) FROM unnest($1::text[]) AS x) ORDER BY id FOR NO KEY UPDATE`),
      can: (a) => a.known && a.holder === null,
      statement: `UPDATE network_address a SET lease_id = nic.id FROM (${NICS}) nic JOIN network w ON w.name = nic.network
                   WHERE nic.id || ' ' || nic.ip = ANY($1::text[]) AND a.network_id = w.id AND host(a.ip) = nic.ip AND a.lease_id IS NULL`,
    },
  }),
];

export const nodeRules = [
  rule<NodeUse>({
    name: 'node-use',
    broken: `SELECT n.id::text, n.name, n.memory_mb, n.cores, n.memory_used, n.cores_used, coalesce(h.memory, 0) AS memory, coalesce(h.cores, 0) AS cores_held
               FROM vmm_node n LEFT JOIN ${HELD} h ON h.node_id = n.id
              WHERE n.memory_used <> coalesce(h.memory, 0) OR n.cores_used <> coalesce(h.cores, 0)`,
    says: (n) => `node ${n.name} counts ${n.memory_used} MiB and ${n.cores_used} cores as used; its leases hold ${n.memory} MiB and ${n.cores_held} cores`
      + (fits(n) ? '' : `, more than the ${n.memory_mb} MiB and ${n.cores} cores that it has`),
    mend: (n) => (fits(n) ? 'counts what its leases hold' : 'end leases on it'),
    repair: {
      lock: LOCK_NODES, can: fits,
      statement: `UPDATE vmm_node n SET memory_used = coalesce(h.memory, 0), cores_used = coalesce(h.cores, 0)
                    FROM vmm_node m LEFT JOIN ${HELD} h ON h.node_id = m.id WHERE m.id = n.id AND n.id = ANY($1::text[]::bigint[])`,
    },
  }),
];
