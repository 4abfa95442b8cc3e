/** Statements on leases as grid clients name them: by number, by the key of their group, by that of their ensemble. */
import type { RestingState } from '../lease/types.ts';
import { statement } from './db.ts';
import { leasesView, ofOneAccount, type LeaseRow } from './leases.ts';

export interface GridLeaseRow extends LeaseRow {
  duration_s: number;
  target: RestingState | null;
  /** Of groups that a grid client made. */
  grid: { key: string; ensemble: string | null; facts: { name: string; nics: string[]; architecture: string; cores: boolean } } | null;
}
interface GridLeasesJson {
  leases: GridLeaseRow[];
}

const MORE = `, l.duration_s, l.target,
           (SELECT json_build_object('key', gg.key, 'ensemble', gg.ensemble_id, 'facts', gg.facts) FROM grid_group gg WHERE gg.group_id = l.group_id) AS grid`;
const MINE = ofOneAccount('$2');
const OF_ACCOUNT = '($2::bigint IS NULL OR account_id = $2)';
const gridLeases = (name: string, which: string): ReturnType<typeof statement<GridLeasesJson>> =>
  statement<GridLeasesJson>(name, leasesView(`(SELECT * FROM lease WHERE ${which})`, 'l.seq', MORE));

/** $1 numbers, of whatever account */
export const gridLeasesByNumber = gridLeases('grid-leases-by-number', 'seq = ANY($1::bigint[])');

/** $1 key of the group, $2 account (null = every account's) */
export const gridLeasesOfGroup = gridLeases('grid-leases-of-group',
  `group_id = (SELECT group_id FROM grid_group WHERE key = $1) AND ${OF_ACCOUNT}`);

/** $1 ensemble, $2 account (null = every account's) */
export const gridLeasesOfEnsemble = gridLeases('grid-leases-of-ensemble',
  `group_id IN (SELECT group_id FROM grid_group WHERE ensemble_id = $1) AND ${OF_ACCOUNT}`);

/** $1 group's own id, $2 account */
export const gridLeasesOfGroupId = gridLeases('grid-leases-of-group-id', `group_id = $1 AND ${OF_ACCOUNT}`);

/** $1 limit, $2 account: those that live */
export const gridLeasesOfAccount = statement<GridLeasesJson>('grid-leases-of-account',
  leasesView(`(SELECT * FROM lease WHERE ${MINE.which} AND NOT final ORDER BY ${MINE.order} LIMIT $1)`, 'l.seq', MORE));

/** $1 jsonb array of the groups' keys and facts */
export const insertGridGroups = statement<never>('insert-grid-groups', `
  INSERT INTO grid_group (group_id, key, ensemble_id, facts)
  SELECT group_id, key, ensemble_id, facts FROM jsonb_to_recordset($1) AS x(group_id text, key text, ensemble_id text, facts jsonb)`);

/** $1 ids, $2 accounts, in parallel arrays, $3 now */
export const insertEnsembles = statement<never>('insert-ensembles', `
  INSERT INTO ensemble (id, account_id, created_at) SELECT id, account_id, $3 FROM unnest($1::text[], $2::bigint[]) AS x(id, account_id)`);

export interface EnsembleRow {
  id: string;
  account_id: number;
  created_at: number;
  done_at: number | null;
  groups: number;
}
/** $1 ids: nobody joins or starts them before the end of the transaction. */
export const lockEnsembles = statement<EnsembleRow>('lock-ensembles', `
  WITH e AS (SELECT id, account_id, created_at, done_at FROM ensemble WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE)
  SELECT e.*, (SELECT count(*) FROM grid_group g WHERE g.ensemble_id = e.id)::int AS groups FROM e`);

/** $1 id, $2 now */
export const endGathering = statement<never>('end-gathering', 'UPDATE ensemble SET done_at = $2 WHERE id = $1');

/** What placing needs to know of a lease that waits for its ensemble. */
export interface GatheredRow {
  id: string;
  group_id: string;
  account_id: number;
  who: string;
  type: string;
  memory_mb: number;
  cores: number;
  disk_mb: number;
  zone: string;
  networks: string[];
  duration_s: number;
}
/** $1 ensemble: in the order of their groups and numbers */
export const gatheredLeases = statement<GatheredRow>('gathered-leases', `
  SELECT l.id, l.group_id, l.account_id, a.name AS who, l.type, l.memory_mb, l.cores, l.disk_mb, l.zone, l.duration_s,
         ARRAY(SELECT n->>'network' FROM jsonb_array_elements(l.nics) n) AS networks
    FROM lease l JOIN account a ON a.id = l.account_id JOIN grid_group g ON g.group_id = l.group_id
   WHERE g.ensemble_id = $1 AND l.state = 'Pending' AND l.node_id IS NULL AND l.slot_node_id IS NULL ORDER BY l.seq`);

/** $1 jsonb array: where leases go that were gathered, and when they end. */
export const placeLeases = statement<never>('place-leases', `
  UPDATE lease l SET node_id = x.node_id, slot_node_id = x.slot_node_id, zone = x.zone, ends_at = x.ends_at
    FROM jsonb_to_recordset($1) AS x(id text, node_id bigint, slot_node_id bigint, zone text, ends_at timestamptz) WHERE l.id = x.id`);

export interface AccountMinutes {
  reserved: number;
  charged: number;
}
/** $1 account */
export const accountMinutes = statement<AccountMinutes>('account-minutes', `
  SELECT reserved_minutes AS reserved, charged_minutes AS charged FROM account_use WHERE account_id = $1`);
