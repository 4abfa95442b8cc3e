/** What must hold in the tables at each moment, as sentences; a row that a rule selects breaks it. */
export interface Rule {
  readonly says: string;
  readonly broken: string;
}

const over = "('Returned', 'Failed', 'Lost')";

/** Of each node. */
export const OF_NODES: readonly Rule[] = [
  { says: 'no node is oversubscribed: what it has given is what its leases hold, and not more than it has', broken: `
      SELECT n.name AS id FROM vmm_node n LEFT JOIN (SELECT node_id, sum(memory_mb) AS memory, sum(cores) AS cores FROM lease WHERE holding GROUP BY node_id) h ON h.node_id = n.id
       WHERE n.memory_used > n.memory_mb OR n.cores_used > n.cores OR n.memory_used <> coalesce(h.memory, 0) OR n.cores_used <> coalesce(h.cores, 0)` },
];

/** What the rules of a lease speak of. */
export interface LeaseFacts {
  id: string;
  group_id: string;
  launch_index: number;
  state: string;
  generation: number;
  final: boolean;
  holding: boolean;
  placed: boolean;
  /** Where its user wants it to come to rest. */
  rests: boolean;
  /** Addresses that it was promised, and that it has. */
  nics: number;
  addresses: number;
  /** Of each usage record: whether it is open. */
  records: boolean[];
  open_intervals: number;
  /** Pairs of intervals; 0 where nobody asked. */
  overlaps: number;
  /** Generations of its open intents. */
  intents: number[];
}

/** An array costs less than an aggregate, and EXISTS would read whole tables. */
const listOf = (what: string, from: string, where: string): string => `ARRAY(SELECT ${what} FROM ${from} WHERE ${where})`;
const counted = (from: string, where: string): string => `cardinality(${listOf('1', from, where)})`;
const OVERLAPS = counted('usage_interval i JOIN usage_interval o ON o.lease_id = i.lease_id AND i.id < o.id',
  "i.lease_id = l.id AND i.start_at < coalesce(o.stop_at, 'infinity') AND o.start_at < coalesce(i.stop_at, 'infinity')");
export const factsOf = (leases: string, intervals: 'with intervals' | 'without'): string => `
  SELECT l.id, l.group_id, l.launch_index, l.state, l.generation, l.final, l.holding, l.node_id IS NOT NULL AS placed, l.state IS NOT DISTINCT FROM l.target AS rests, jsonb_array_length(l.nics) AS nics,
         ${counted('network_address a', 'a.lease_id = l.id')} AS addresses,
         ${listOf('u.closed_at IS NULL', 'usage_record u', 'u.lease_id = l.id')} AS records,
         ${counted('usage_interval u', 'u.lease_id = l.id AND u.stop_at IS NULL')} AS open_intervals,
         ${intervals === 'without' ? '0' : OVERLAPS} AS overlaps,
         ${listOf('i.generation', 'intent i', "i.lease_id = l.id AND i.state = 'open'")} AS intents
    FROM ${leases}`;

const PASSING: ReadonlySet<string> = new Set(['Unpropagated', 'Propagating', 'Starting', 'Rebooting', 'Pausing', 'Resuming', 'Serializing', 'ShuttingDown', 'ReadyingForTransport', 'Ending']);

export interface LeaseRule {
  readonly says: string;
  readonly broken: (l: LeaseFacts) => boolean;
}
/** Of each lease. That of intervals begins to be broken only where one is written. */
export const OF_LEASES: readonly LeaseRule[] = [
  { says: 'a lease that is over holds neither room nor addresses', broken: (l) => (l.final && l.holding) || (!l.holding && l.addresses > 0) },
  { says: 'a lease has the addresses that it was promised, as long as it holds', broken: (l) => l.holding && l.nics !== l.addresses },
  { says: 'each lease has one usage record, closed when it holds nothing any more', broken: (l) => l.records.filter((open) => open === l.holding).length !== 1 },
  { says: 'a lease that runs is counted, and one that holds nothing is not', broken: (l) => (l.state === 'Running' && l.open_intervals === 0) || (!l.holding && l.open_intervals > 0) },
  { says: 'a lease waits for one intent at most, of its own generation', broken: (l) => l.intents.length > 1 || l.intents.some((generation) => l.final || generation !== l.generation) },
  { says: 'what is passing has an intent that will end it', broken: (l) => PASSING.has(l.state) && !l.rests && l.placed && l.intents.length === 0 },
  { says: 'intervals of a usage record never overlap', broken: (l) => l.overlaps > 0 },
];

export const WHOLE_GROUPS = 'a group is there whole';

/** In pilot mode. */
export const OF_SLOTS: readonly Rule[] = [
  { says: 'a slot that has ended has no lease that lives, and no node that is not given back', broken: `
      SELECT s.id FROM slot s JOIN slot_node n ON n.slot_id = s.id WHERE s.final AND n.state NOT IN ${over}
       UNION ALL SELECT l.id FROM lease l JOIN slot_node n ON n.id = l.slot_node_id JOIN slot s ON s.id = n.slot_id WHERE s.final AND NOT l.final` },
  { says: 'a node that was given back holds no lease', broken: `
      SELECT l.id FROM lease l JOIN slot_node n ON n.id = l.slot_node_id WHERE n.state IN ${over} AND l.holding` },
  { says: 'a lease is on the node of its slot, and waits as long as that has not come', broken: `
      SELECT l.id FROM lease l JOIN slot_node n ON n.id = l.slot_node_id
       WHERE (l.node_id IS NOT NULL AND l.node_id IS DISTINCT FROM n.node_id) OR (l.state = 'Pending' AND n.state <> 'Waiting')` },
  { says: 'a borrowed node is one of the service’s for as long as its slot node lasts', broken: `
      SELECT v.name AS id FROM vmm_node v LEFT JOIN slot_node n ON n.node_id = v.id
       WHERE v.slot_id IS NOT NULL AND (n.id IS NULL OR v.slot_id <> n.slot_id OR (n.state IN ${over}) <> (v.ended_at IS NOT NULL))` },
  { says: 'until all nodes of a slot have reported, one that fails fails them all', broken: `
      SELECT s.id FROM slot s WHERE s.ready_at IS NULL AND s.state IN ('Starting', 'Queued') AND s.nodes > 1
         AND EXISTS (SELECT 1 FROM slot_node n WHERE n.slot_id = s.id AND n.state = 'Failed')` },
];

/** Where leases are displaced for others. */
export const OF_SPOT: readonly Rule[] = [
  { says: 'only preemptible leases end for others', broken: 'SELECT id FROM lease WHERE spot_request_id IS NULL AND (preempted_at IS NOT NULL OR preempt_ends_at IS NOT NULL)' },
  { says: 'what was told to go does not come back', broken: "SELECT id FROM lease WHERE preempted_at IS NOT NULL AND state NOT IN ('Ending', 'Terminated', 'Corrupted')" },
  { says: 'a spot request has one lease at a time', broken: 'SELECT spot_request_id AS id FROM lease WHERE spot_request_id IS NOT NULL AND NOT final GROUP BY spot_request_id HAVING count(*) > 1' },
];

/** Where users change attributes. What a trail says of one that is protected or no longer is its sentence. */
export const OF_PROTECTED: readonly Rule[] = [
  { says: 'a lease that is protected is not ended by its user', broken: `
      SELECT e.lease_id AS id FROM event e JOIN account a ON a.name = e.who AND NOT a.admin
       WHERE e.trigger = 'end' AND 'protected from its end' = (
         SELECT c.why FROM event c WHERE c.lease_id = e.lease_id AND c.trigger = 'changed' AND c.why LIKE '%protected from its end' AND c.id < e.id ORDER BY c.id DESC LIMIT 1)` },
];

/** When nothing has gone wrong for a while. */
export const SETTLED: readonly Rule[] = [
  { says: 'every lease that lives runs, is stopped, or has failed for good', broken: `
      SELECT l.id || ' ' || l.state AS id FROM lease l LEFT JOIN slot_node n ON n.id = l.slot_node_id LEFT JOIN slot s ON s.id = n.slot_id
       WHERE NOT l.final AND l.state NOT IN ('Running', 'Paused', 'Serialized', 'Corrupted', 'ReadyForTransport') AND NOT (l.state = 'Propagated' AND l.running_at IS NOT NULL) AND NOT (l.state = 'Pending' AND s.state IN ('Submitting', 'Queued'))
         AND l.state IS DISTINCT FROM l.target AND NOT EXISTS (SELECT FROM grid_group g JOIN ensemble e ON e.id = g.ensemble_id WHERE g.group_id = l.group_id AND e.done_at IS NULL AND l.state = 'Pending')` },
  { says: 'what has failed for good holds nothing any more', broken: "SELECT id FROM lease WHERE state = 'Corrupted' AND holding" },
  { says: 'no intent is open', broken: "SELECT lease_id || ' ' || kind AS id FROM intent WHERE state = 'open'" },
  { says: 'what pilots have said is applied', broken: 'SELECT slot_id AS id FROM slot_message WHERE NOT applied' },
];

/** When every lease was ended. */
export const EMPTY: readonly Rule[] = [
  { says: 'every lease has an end', broken: "SELECT id || ' ' || state AS id FROM lease WHERE NOT final" },
  { says: 'every usage record is closed and charged', broken: 'SELECT lease_id AS id FROM usage_record WHERE closed_at IS NULL OR charged_minutes IS NULL' },
  { says: 'no address is taken', broken: 'SELECT host(ip) AS id FROM network_address WHERE lease_id IS NOT NULL' },
  { says: 'no intent is open', broken: "SELECT lease_id || ' ' || kind AS id FROM intent WHERE state = 'open'" },
  { says: 'every slot has ended', broken: "SELECT id || ' ' || state AS id FROM slot WHERE NOT final" },
  { says: 'every borrowed node was given back', broken: 'SELECT name AS id FROM vmm_node WHERE slot_id IS NOT NULL AND ended_at IS NULL' },
];
