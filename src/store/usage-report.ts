/** The usage report: every record with its intervals. */
import { statement } from './db.ts';

export interface UsageReportRow {
  lease_id: string;
  user_name: string;
  created_at: number;
  closed_at: number | null;
  reserved_s: number;
  charged_minutes: number | null;
  intervals: Array<{ node: string; start: number; stop: number | null; memoryMb: number; cores: number }>;
}

/**
 * $1 user (null = all), $2 only records that were open at or after (null = all), $3 limit. A removed account is called
 * `alice~12` (see `removeAccount`) and reported as alice.
 */
export const usageReport = statement<UsageReportRow>('usage-report', `
  SELECT u.lease_id, split_part(a.name, '~', 1) AS user_name, u.created_at, u.closed_at, u.reserved_s, u.charged_minutes,
         coalesce((SELECT json_agg(json_build_object('node', i.node, 'start', extract(epoch FROM i.start_at) * 1000,
                                    'stop', extract(epoch FROM i.stop_at) * 1000, 'memoryMb', i.memory_mb, 'cores', i.cores) ORDER BY i.start_at, i.id)
                     FROM usage_interval i WHERE i.lease_id = u.lease_id), '[]') AS intervals
    FROM usage_record u JOIN account a ON a.id = u.account_id
   WHERE ($1::text IS NULL OR split_part(a.name, '~', 1) = $1) AND ($2::timestamptz IS NULL OR u.closed_at IS NULL OR u.closed_at >= $2)
   ORDER BY u.created_at, u.lease_id LIMIT $3`);

/** $1 name, of an account that is or was */
export const userEverCalled = statement<{ id: number }>('user-ever-called', `
  SELECT id FROM account WHERE split_part(name, '~', 1) = $1 LIMIT 1`);
