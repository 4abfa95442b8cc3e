/** Statements on leases, their groups, events and usage. Times go in as Date, come out as ms. */
import type { LeaseState } from '../lease/states.ts';
import type { Nic, Reach, RestingState } from '../lease/types.ts';
import { statement } from './db.ts';
import { intentRows, type IntentRow } from './intents.ts';

export interface LeaseRow {
  id: string;
  seq: number;
  group_id: string;
  account_id: number;
  account_name: string;
  owner_id: string;
  launch_index: number;
  state: LeaseState;
  generation: number;
  node: string | null;
  zone: string;
  image_id: string;
  image_name: string;
  type: string;
  memory_mb: number;
  cores: number;
  disk_mb: number;
  key_name: string | null;
  client_token: string | null;
  nics: Nic[];
  /** null = the account's default one */
  security_groups: Array<{ id: string; name: string }> | null;
  reach: Reach | null;
  created_at: number;
  /** null while it waits for a borrowed node */
  ends_at: number | null;
  ended_at: number | null;
  running_at: number | null;
  reason_code: string | null;
  reason: string | null;
  phases: Record<string, number>;
  /** Of a lease on a borrowed node. */
  slot_id: string | null;
  job_id: string | null;
  queue_position: number | null;
  queue_reason: string | null;
  native_state: string | null;
  expected_start: number | null;
  grace_ends_at: number | null;
  spot_request_id: string | null;
  slot_phases: Record<string, number> | null;
  tags: Record<string, string> | null;
}

const epoch = (column: string): string => `floor(extract(epoch FROM ${column}) * 1000)::bigint`;
const ms = (column: string): string => `${epoch(`l.${column}`)} AS ${column}`;

/**
 * Leases as one JSON array, made by the server: reading it costs this process a fifth of what reading rows of so many
 * columns costs (16 leases: 0.11 ms against 0.57 ms of CPU).
 */
export const leasesView = (from: string, order: string, more = ''): string => `
  SELECT coalesce(json_agg(v), '[]') AS leases FROM (
    SELECT l.id, l.seq, l.group_id, l.account_id, a.name AS account_name, a.owner_id, l.launch_index, l.state, l.generation,
           n.name AS node, l.zone, l.image_id, i.name AS image_name, l.type, l.memory_mb, l.cores, l.disk_mb, l.key_name,
           g.client_token, coalesce(l.security_groups, g.security_groups) AS security_groups, l.nics, l.reach, l.spot_request_id, ${['created_at', 'ends_at', 'ended_at', 'running_at'].map(ms).join(', ')},
           l.reason_code, l.reason, l.phases, s.id AS slot_id, s.job_id, s.queue_position, s.queue_reason, s.native_state, ${epoch('s.expected_start')} AS expected_start,
           ${epoch('sn.grace_ends_at')} AS grace_ends_at, sn.phases AS slot_phases,
           (SELECT jsonb_object_agg(t.key, t.value) FROM tag t WHERE t.resource_id = l.id) AS tags${more}
      FROM ${from} l
      JOIN account a ON a.id = l.account_id
      JOIN lease_group g ON g.id = l.group_id
      JOIN image i ON i.id = l.image_id
      LEFT JOIN vmm_node n ON n.id = l.node_id
      LEFT JOIN slot_node sn ON sn.id = l.slot_node_id
      LEFT JOIN slot s ON s.id = sn.slot_id
     ORDER BY ${order}) v`;

/** One row; times are ms since the epoch. */
export interface LeasesJson {
  leases: LeaseRow[];
}

/** $1 ids, $2 account (null = every account's) */
export const leasesByIds = statement<LeasesJson>('leases-by-ids', leasesView(
  '(SELECT * FROM lease WHERE id = ANY($1::text[]) AND ($2::bigint IS NULL OR account_id = $2))', 'l.seq'));

/** Whose leases, and their order. */
export interface Whose { readonly which: string; readonly order: string }

/**
 * Of the indices only that of accounts has this order: a planner that does not know whose leases it plans for takes
 * `account_id = $1 … ORDER BY seq LIMIT …` for a walk over everybody's (16 of 60,000 leases: 52 ms).
 * @param account a parameter, as `$1`
 */
export const ofOneAccount = (account: string): Whose => ({ which: `account_id BETWEEN ${account} AND ${account}`, order: 'account_id, seq' });
/** $1 is null. */
export const OF_ALL: Whose = { which: '$1::bigint IS NULL', order: 'seq' };

/** Live ones and ended ones by an index each. $2 ended after, $3 live only, $4 after seq, $5 limit. */
export const listed = ({ which, order }: Whose): string => `(
  (SELECT * FROM lease WHERE ${which} AND NOT final AND seq > $4 ORDER BY ${order} LIMIT $5)
   UNION ALL
  (SELECT * FROM lease WHERE ${which} AND final AND NOT $3::boolean AND ended_at > $2 AND seq > $4 ORDER BY ${order} LIMIT $5)
   ORDER BY ${order} LIMIT $5)`;

/** $1 account, $2 ended after, $3 live only, $4 after seq, $5 limit */
export const leasesOfAccount = statement<LeasesJson>('leases-of-account', leasesView(listed(ofOneAccount('$1')), 'l.seq'));

/** As leasesOfAccount, of every account: $1 is null. */
export const leasesOfAll = statement<LeasesJson>('leases-of-all', leasesView(listed(OF_ALL), 'l.seq'));

/** $1 group */
export const leasesOfGroup = statement<LeasesJson>('leases-of-group', leasesView('(SELECT * FROM lease WHERE group_id = $1)', 'l.launch_index'));

export interface TokenRow {
  account_id: number;
  client_token: string;
  id: string;
  request_hash: string;
}
/** $1 accounts, $2 tokens, in parallel arrays */
export const groupsByToken = statement<TokenRow>('groups-by-token', `
  SELECT g.account_id, g.client_token, g.id, g.request_hash
    FROM unnest($1::bigint[], $2::text[]) AS asked(account_id, client_token)
    JOIN lease_group g USING (account_id, client_token)`);

/** $1 accounts, $2 images, $3 networks: how many of each stand; they cannot be removed before the transaction ends. Many hold them at once. */
export const holdUsed = statement<{ accounts: number; images: number; networks: number }>('hold-used', `
  SELECT (SELECT count(*)::int FROM (SELECT FROM account WHERE id = ANY($1::bigint[]) AND removed_at IS NULL ORDER BY id FOR KEY SHARE) a) AS accounts,
         (SELECT count(*)::int FROM (SELECT FROM image WHERE id = ANY($2::text[]) AND removed_at IS NULL ORDER BY id FOR KEY SHARE) i) AS images,
         (SELECT count(*)::int FROM (SELECT FROM network WHERE name = ANY($3::text[]) ORDER BY id FOR KEY SHARE) n) AS networks`);

/** $1 jsonb array of groups. A client token used before drops its group from what is returned. */
export const insertGroups = statement<{ id: string }>('insert-groups', `
  INSERT INTO lease_group (id, account_id, client_token, request_hash, created_at, security_groups)
  SELECT id, account_id, client_token, request_hash, $2, security_groups
    FROM jsonb_to_recordset($1) AS x(id text, account_id bigint, client_token text, request_hash text, security_groups jsonb)
  ON CONFLICT DO NOTHING RETURNING id`);

/**
 * New leases with their first event, first intent, usage record and tags, in one statement. The rows of the intents, to hand them over.
 * $1 jsonb array of leases, $2 now, $3 jsonb array of tags, $4 when a poll may take the intents, $5 the process that claims them
 */
export const insertLeases = statement<IntentRow>('insert-leases', `
  WITH x AS (
    SELECT * FROM jsonb_to_recordset($1) AS x(
      id text, group_id text, account_id bigint, launch_index int, node_id bigint, zone text, image_id text, type text,
      memory_mb int, cores int, disk_mb int, key_name text, public_key text, user_data text, nics jsonb, duration_s int, reserved_minutes int,
      ends_at timestamptz, phases jsonb, who text, request_id text, intent_id text, state text, generation int, slot_node_id bigint, target text, save_as text,
      end_protected boolean, stop_protected boolean, rests boolean, spot_request_id text, spot_price float8)
  ), l AS (
    INSERT INTO lease (id, group_id, account_id, launch_index, state, generation, node_id, zone, image_id, type, memory_mb, cores,
                       disk_mb, key_name, public_key, user_data, nics, created_at, duration_s, reserved_minutes, ends_at, phases, slot_node_id, target, save_as,
                       end_protected, stop_protected, rests, spot_request_id, spot_price)
    SELECT id, group_id, account_id, launch_index, state, generation, node_id, zone, image_id, type, memory_mb, cores,
           disk_mb, key_name, public_key, decode(user_data, 'base64'), nics, $2, duration_s, reserved_minutes, ends_at, phases, slot_node_id, target, save_as,
           end_protected, stop_protected, rests, spot_request_id, spot_price FROM x
    RETURNING *
  ), e AS (
    INSERT INTO event (lease_id, at, to_state, trigger, who, why, request_id)
    SELECT id, $2, state, 'created', who, '', request_id FROM x
  ), i AS (
    INSERT INTO intent (id, lease_id, node_id, kind, generation, created_at, next_at, request_id, process_id)
    SELECT intent_id, id, node_id, 'start', 1, $2, $4, request_id, $5 FROM x WHERE intent_id IS NOT NULL RETURNING *
  ), u AS (
    INSERT INTO usage_record (lease_id, account_id, created_at, reserved_s) SELECT id, account_id, $2, duration_s FROM x
  ), t AS (
    INSERT INTO tag (resource_id, account_id, key, value)
    SELECT * FROM jsonb_to_recordset($3) AS t(resource_id text, account_id bigint, key text, value text)
  )
  ${intentRows('l')}`);

/** $1 ids, $2 account (null = any): where leases are, without a lock */
export const leasePlace = statement<{ id: string; node_id: number | null; final: boolean; ended_at: number | null }>('lease-place', `
  SELECT id, node_id, final, ended_at FROM lease WHERE id = ANY($1::text[]) AND ($2::bigint IS NULL OR account_id = $2)`);

/** What a transition needs to know; locked so that transitions of one lease follow each other. */
export interface LockedLease {
  id: string;
  state: LeaseState;
  generation: number;
  account_id: number;
  node_id: number | null;
  node: string | null;
  holding: boolean;
  final: boolean;
  memory_mb: number;
  cores: number;
  created_at: number;
  ends_at: number | null;
  running_at: number | null;
  duration_s: number;
  slot_node_id: number | null;
  /** When the pilot of its borrowed node ends by itself. */
  until_at: number | null;
  /** Where it rests instead of running, until it is started. */
  target: RestingState | null;
  /** The image that its disk becomes. */
  save_as: string | null;
  /** The image that is being made of its disk, after which it goes on. */
  image_order: string | null;
  end_protected: boolean;
  stop_protected: boolean;
  /** At its VM's own exit it rests, instead of ending. */
  rests: boolean;
  /** It may be displaced. */
  spot: boolean;
  /** Its node's agent can keep its memory while it does not run. */
  serializes: boolean;
  phases: Record<string, number>;
}
export interface SavedFor {
  id: number;
  name: string;
  save_as: string | null;
  /** The image that is being made, when it is one that the lease survives. */
  order_id: string | null;
  order_name: string | null;
  order_description: string | null;
}
/** $1 lease: whose it is, and what its disk becomes */
export const ownerOfLease = statement<SavedFor>('owner-of-lease', `
  SELECT a.id, a.name, l.save_as, o.id AS order_id, o.name AS order_name, o.description AS order_description
    FROM lease l JOIN account a ON a.id = l.account_id LEFT JOIN image_order o ON o.id = l.image_order WHERE l.id = $1`);

/** $1 ids, $2 account (null = any) */
export const lockLeases = statement<LockedLease>('lock-leases', `
  SELECT l.id, l.state, l.generation, l.account_id, l.node_id, n.name AS node, l.holding, l.final, l.memory_mb, l.cores,
         l.created_at, l.ends_at, l.running_at, l.duration_s, l.slot_node_id, sn.until_at, l.target, l.save_as, l.image_order,
         l.end_protected, l.stop_protected, l.rests, l.spot_request_id IS NOT NULL AS spot, coalesce(n.serializes, false) AS serializes,
         coalesce(sn.phases, '{}') || l.phases AS phases
    FROM lease l LEFT JOIN vmm_node n ON n.id = l.node_id LEFT JOIN slot_node sn ON sn.id = l.slot_node_id
   WHERE l.id = ANY($1::text[]) AND ($2::bigint IS NULL OR l.account_id = $2) ORDER BY l.id FOR NO KEY UPDATE OF l`);

const changeLeases = (more = ''): string => `
  UPDATE lease l SET state = x.state, generation = x.generation, final = x.final, ${more}
         reach = CASE WHEN x.final THEN NULL ELSE coalesce(x.reach, l.reach) END,
         running_at = coalesce(l.running_at, x.running_at), ended_at = coalesce(x.ended_at, l.ended_at),
         reason_code = coalesce(x.reason_code, l.reason_code), reason = coalesce(x.reason, l.reason),
         phases = l.phases || coalesce(x.phases, '{}'), target = x.target, save_as = x.save_as, image_order = x.image_order
    FROM jsonb_to_recordset($1) AS x(id text, state text, generation int, final boolean, reach jsonb,
         running_at timestamptz, ended_at timestamptz, reason_code text, reason text, phases jsonb, target text, save_as text, image_order text)
   WHERE l.id = x.id`;

const tell = (events: string): string => `
    INSERT INTO event (lease_id, at, from_state, to_state, trigger, who, why, request_id)
    SELECT lease_id, at, from_state, to_state, trigger, who, why, request_id
      FROM jsonb_to_recordset(${events}) AS x(lease_id text, at timestamptz, from_state text, to_state text, trigger text, who text, why text, request_id text)`;

/** $1 jsonb array of events */
export const insertEvents = statement<never>('insert-events', tell('$1'));

/** $3 jsonb array of intents that are over, $4 now */
const FINISH = `
    UPDATE intent i SET state = x.state, error = x.error, finished_at = $4
      FROM jsonb_to_recordset($3) AS x(id text, state text, error text) WHERE i.id = x.id AND i.state = 'open'`;

/** Of leases, when their open intervals end, in parallel arrays. */
const closeOpen = (ids: string, stops: string): string => `
    UPDATE usage_interval u SET stop_at = greatest(u.start_at, x.stop_at)
      FROM unnest(${ids}::text[], ${stops}::timestamptz[]) AS x(lease_id, stop_at) WHERE u.lease_id = x.lease_id AND u.stop_at IS NULL`;

/** $1 ids of leases that go on, $2 stops, in parallel arrays: their open intervals end. */
export const closeIntervals = statement<never>('close-intervals', closeOpen('$1', '$2'));

/** $1 jsonb array of new lease facts; absent (null) reach, reason, running_at, ended_at leave what stands. $2 jsonb array of their events. */
export const updateLeases = statement<never>('update-leases', `
  WITH e AS (${tell('$2')}
  )${changeLeases()}`);

/**
 * As updateLeases, where a node has answered: $3 and $4 as FINISH says. $5 jsonb array of intervals that begin: lease_id, node, start_at,
 * memory_mb, cores. One that is open already stays. None begins before the last one has ended, whatever clocks say: nobody is charged twice.
 */
export const settleLeases = statement<never>('settle-leases', `
  WITH e AS (${tell('$2')}
  ), f AS (${FINISH}
  ), o AS (
    INSERT INTO usage_interval (lease_id, node, start_at, memory_mb, cores)
    SELECT lease_id, node, greatest(start_at, (SELECT max(i.stop_at) FROM usage_interval i WHERE i.lease_id = x.lease_id)), memory_mb, cores
      FROM jsonb_to_recordset($5) AS x(lease_id text, node text, start_at timestamptz, memory_mb int, cores int)
    ON CONFLICT (lease_id) WHERE stop_at IS NULL DO NOTHING
  )${changeLeases()}`);

export interface IntervalRow {
  lease_id: string;
  start_at: number;
  stop_at: number | null;
}
/**
 * As updateLeases; from now on they hold nothing, addresses neither. What their accounts have follows in the database, which costs as much
 * again. $3 and $4 as FINISH says. $5 their ids, $6 when their open intervals end, in parallel arrays; every interval of theirs is returned, for the charge.
 */
export const releaseLeases = statement<IntervalRow>('release-leases', `
  WITH e AS (${tell('$2')}
  ), f AS (${FINISH}
  ), closed AS (${closeOpen('$5', '$6')}
    RETURNING u.lease_id, u.start_at, u.stop_at
  ), a AS (
    UPDATE network_address SET lease_id = NULL WHERE lease_id = ANY($5::text[])
  ), l AS (${changeLeases('holding = false,')}
  )
  SELECT lease_id, start_at, stop_at FROM closed
   UNION ALL
  SELECT lease_id, start_at, stop_at FROM usage_interval WHERE lease_id = ANY($5::text[]) AND stop_at IS NOT NULL`);

/** $1 lease, in the order written */
export interface EventRow {
  id: number;
  lease_id: string;
  at: number;
  from_state: LeaseState | null;
  to_state: LeaseState;
  trigger: string;
  who: string;
  why: string;
  request_id: string | null;
}
export const eventsOfLease = statement<EventRow>('events-of-lease', `
  SELECT id, lease_id, at, from_state, to_state, trigger, who, why, request_id FROM event WHERE lease_id = $1 ORDER BY id LIMIT 1000`);

/** $1 ids, $2 new ends, $3 new durations in s from creation, $4 minutes that they reserve; the usage record's reservation follows. */
export const moveEnds = statement<never>('move-ends', `
  WITH x AS (SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::int[], $4::int[]) AS x(id, ends_at, duration_s, reserved_minutes)),
       u AS (UPDATE usage_record u SET reserved_s = x.duration_s FROM x WHERE u.lease_id = x.id)
  UPDATE lease l SET ends_at = x.ends_at, duration_s = x.duration_s, reserved_minutes = x.reserved_minutes FROM x WHERE l.id = x.id`);

/** $1 now, $2 limit. What is being saved is not due before that has ended. */
export const dueLeases = statement<{ id: string }>('due-leases', `
  SELECT id FROM lease
   WHERE NOT final AND state <> 'Ending' AND NOT (state = 'ReadyingForTransport' AND (save_as IS NOT NULL OR image_order IS NOT NULL)) AND ends_at <= $1 ORDER BY ends_at LIMIT $2`);

/** $1 ids, $2 closed at, $3 charged minutes, in parallel arrays */
export const closeRecords = statement<never>('close-records', `
  UPDATE usage_record u SET closed_at = x.closed_at, charged_minutes = x.minutes
    FROM unnest($1::text[], $2::timestamptz[], $3::int[]) AS x(lease_id, closed_at, minutes)
   WHERE u.lease_id = x.lease_id AND u.closed_at IS NULL`);

export interface HeldLease {
  id: string;
  state: LeaseState;
  generation: number;
  /** Its VM has run before. */
  ran: boolean;
}
/** $1 node: leases that hold room on it */
export const leasesHeldOn = statement<HeldLease>('leases-held-on', `
  SELECT id, state, generation, running_at IS NOT NULL AS ran FROM lease WHERE node_id = $1 AND holding`);

/** $1 ids: the generations of leases whatever their state */
export const leaseGenerations = statement<HeldLease>('lease-generations', `
  SELECT id, state, generation, running_at IS NOT NULL AS ran FROM lease WHERE id = ANY($1::text[])`);
