/** Statements on the services that share the database. Whether one lives is judged by the database's clock alone. */
import { statement } from './db.ts';

/** $1 place, $2 host, $3 pid, $4 version, $5 name of its sessions, $6 EC2 URL, $7 URL for pilots */
export const insertProcess = statement<{ id: number }>('insert-process', `
  INSERT INTO process (place, host, pid, version, session, ec2, pilots) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`);

export interface BeatRow {
  /** 0: this life of the process was taken for over. */
  alive: number;
  /** Live by the table, and silent for too long. */
  silent: number[];
  /** Over, and their work is not taken over yet. */
  left: number[];
  /** Of each other one that lives by the table: its URL for pilots, or nothing. */
  others: string[];
}
/** $1 process, $2 its wall clock, $3 ms of silence after which another is dead, $4 fingerprint of its operating key. Nothing hangs on its reaching the disk. */
export const beatProcess = statement<BeatRow>('beat-process', `
  WITH unsynced AS (SELECT set_config('synchronous_commit', 'off', true)),
       me AS (UPDATE process SET heartbeat = clock_timestamp(), clock_offset_ms = round(extract(epoch FROM $2::timestamptz - clock_timestamp()) * 1000), operating_key = $4
                FROM unsynced WHERE id = $1 AND ended_at IS NULL RETURNING 1)
  SELECT (SELECT count(*)::int FROM me) AS alive,
         ARRAY(SELECT id FROM process WHERE ended_at IS NULL AND id <> $1 AND heartbeat < clock_timestamp() - $3::float8 * interval '1 ms' ORDER BY id) AS silent,
         ARRAY(SELECT id FROM process WHERE ended_at IS NOT NULL AND NOT taken_over ORDER BY id) AS left,
         ARRAY(SELECT coalesce(pilots, '') FROM process WHERE ended_at IS NULL AND id <> $1 ORDER BY id) AS others`);

/** $1 process, $2 EC2 URL, $3 URL for pilots: known only when its doors are open */
export const noteAddresses = statement<never>('note-process-addresses', 'UPDATE process SET ec2 = $2, pilots = $3 WHERE id = $1');

/** $1 process, $2 ms of silence: it is dead, unless it was heard meanwhile or somebody else has said so. */
export const buryProcess = statement<{ id: number }>('bury-process', `
  UPDATE process SET ended_at = clock_timestamp(), lost = true
   WHERE id = $1 AND ended_at IS NULL AND heartbeat < clock_timestamp() - $2::float8 * interval '1 ms' RETURNING id`);

/** $1 process: it says so itself, or its successor does, who holds its data directory. */
export const endProcess = statement<never>('end-process', 'UPDATE process SET ended_at = clock_timestamp(), lost = $2 WHERE id = $1 AND ended_at IS NULL');
/** $1 place: lives that ended there without a word */
export const processesAt = statement<{ id: number }>('processes-at', 'SELECT id FROM process WHERE place = $1 AND ended_at IS NULL');

/**
 * $1 process: ends the sessions that it had when it was taken for dead. What it had not committed is rolled back, and its
 * locks are free; what it opens later is another life's.
 */
export const endSessions = statement<{ ended: number }>('end-process-sessions', `
  SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))::int AS ended FROM process p JOIN pg_stat_activity a ON a.application_name = p.session
   WHERE p.id = $1 AND a.pid <> pg_backend_pid() AND a.backend_start < p.ended_at`);

/**
 * $1 process, $2 now. What another is changing just then, finishing it as a rule, is passed over: that one may hold more of it, and
 * who waits for a third, which may stand still, gives no sign of life meanwhile.
 */
export const freeIntents = statement<never>('free-intents', `
  UPDATE intent SET process_id = NULL, next_at = $2
   WHERE id IN (SELECT id FROM intent WHERE process_id = $1 AND state = 'open' FOR NO KEY UPDATE SKIP LOCKED)`);
/** $1 process: nodes that it reaches, locked; not those that another is changing just then. */
export const lockReached = statement<{ node_id: number }>('lock-reached', `
  SELECT n.id AS node_id FROM node_channel c JOIN vmm_node n ON n.id = c.node_id WHERE c.process_id = $1 ORDER BY n.id FOR NO KEY UPDATE OF n SKIP LOCKED`);
/** $1 process, $2 nodes, locked: nobody reaches those that nobody else reaches. */
export const dropChannels = statement<never>('drop-channels', `
  WITH gone AS (DELETE FROM node_channel WHERE process_id = $1 AND node_id = ANY($2::bigint[]))
  UPDATE vmm_node n SET reachable = false, last_error = 'the service that reached it has ended'
   WHERE n.id = ANY($2::bigint[]) AND NOT EXISTS (SELECT 1 FROM node_channel c WHERE c.node_id = n.id AND c.process_id <> $1)`);
export const dropDuties = statement<never>('drop-duties', 'DELETE FROM duty WHERE process_id = $1');
/** $1 process: unless something of it was passed over, for which everybody looks again. */
export const markTakenOver = statement<never>('mark-taken-over', `
  UPDATE process SET taken_over = true
   WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM intent WHERE process_id = $1 AND state = 'open') AND NOT EXISTS (SELECT 1 FROM node_channel WHERE process_id = $1)`);

/** $1 duty, $2 process: a row when the duty is its own from now on, or was already. */
export const takeDuty = statement<{ name: string }>('take-duty', `
  INSERT INTO duty AS d (name, process_id, since) VALUES ($1, $2, clock_timestamp())
  ON CONFLICT (name) DO UPDATE SET process_id = $2, since = CASE WHEN d.process_id = $2 THEN d.since ELSE clock_timestamp() END
   WHERE d.process_id = $2 OR NOT EXISTS (SELECT 1 FROM process p WHERE p.id = d.process_id AND p.ended_at IS NULL) RETURNING name`);
/** $1 duty, $2 process: a row while the duty is its own; nobody else gets it before the transaction ends. */
export const holdDuty = statement<{ name: string }>('hold-duty', 'SELECT name FROM duty WHERE name = $1 AND process_id = $2 FOR SHARE');

export interface ProcessRow {
  id: number;
  place: string;
  host: string;
  pid: number;
  version: string;
  ec2: string | null;
  pilots: string | null;
  clock_offset_ms: number;
  started_at: number;
  heartbeat: number;
  silent_ms: number;
  operating_key: string | null;
  ended_at: number | null;
  lost: boolean;
  intents: number;
  nodes: number;
  duties: string[];
}
/** Those that live, and those that have ended in the last hour. */
export const allProcesses = statement<ProcessRow>('all-processes', `
  SELECT p.id, p.place, p.host, p.pid, p.version, p.ec2, p.pilots, p.clock_offset_ms, p.started_at, p.heartbeat, p.ended_at, p.lost, p.operating_key,
         round(extract(epoch FROM clock_timestamp() - p.heartbeat) * 1000)::bigint AS silent_ms,
         (SELECT count(*) FROM intent i WHERE i.process_id = p.id AND i.state = 'open') AS intents,
         (SELECT count(*) FROM node_channel c WHERE c.process_id = p.id) AS nodes,
         ARRAY(SELECT d.name FROM duty d WHERE d.process_id = p.id ORDER BY d.name) AS duties
    FROM process p WHERE p.ended_at IS NULL OR p.ended_at > clock_timestamp() - interval '1 hour' ORDER BY p.ended_at IS NOT NULL, p.id`);

/** $1 process: others that live */
export const otherProcesses = statement<Pick<ProcessRow, 'id' | 'place' | 'host' | 'pid' | 'version'>>('other-processes', `
  SELECT id, place, host, pid, version FROM process WHERE ended_at IS NULL AND id <> $1 ORDER BY id`);

/** Of those that live and say so; the one that began first stands first. */
export const operatingKeys = statement<{ operating_key: string; places: string[] }>('operating-keys', `
  SELECT operating_key, array_agg(place ORDER BY id) AS places FROM process WHERE ended_at IS NULL AND operating_key IS NOT NULL GROUP BY operating_key ORDER BY min(id)`);

export const forgetProcesses = statement<never>('forget-processes', `
  DELETE FROM process WHERE taken_over AND ended_at < clock_timestamp() - interval '7 days'`);

/** $1 name, $2 what it is unless it stands already; what stands. */
export const siteFact = statement<{ value: string }>('site-fact', `
  INSERT INTO site_fact AS f (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = f.value RETURNING value`);
/** $1 name */
export const siteFactNow = statement<{ value: string }>('site-fact-now', 'SELECT value FROM site_fact WHERE name = $1');
/** $1 name, $2 value */
export const setSiteFact = statement<never>('set-site-fact', 'INSERT INTO site_fact (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value');

/**
 * $1 signatures, $2 until when each is valid, in parallel arrays: those that were not used before. A crash of the database's
 * machine may forget the last half second of them; no request waits for the disk.
 */
export const useSignatures = statement<{ id: Buffer }>('use-signatures', `
  WITH unsynced AS (SELECT set_config('synchronous_commit', 'off', true))
  INSERT INTO used_signature (id, valid_until) SELECT x.id, x.until FROM unnest($1::bytea[], $2::timestamptz[]) AS x(id, until), unsynced
  ON CONFLICT (id) DO NOTHING RETURNING id`);
/** $1 now; how many are left */
export const forgetSignatures = statement<{ left: number }>('forget-signatures', `
  WITH gone AS (DELETE FROM used_signature WHERE valid_until < $1 RETURNING 1)
  SELECT (SELECT count(*) FROM used_signature) - (SELECT count(*) FROM gone) AS left`);
