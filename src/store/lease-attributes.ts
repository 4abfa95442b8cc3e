/** Statements on what users set of their leases while these exist. */
import type { Nic } from '../lease/types.ts';
import { statement } from './db.ts';

export interface AttributesRow {
  id: string;
  type: string;
  disk_mb: number;
  nics: Nic[];
  user_data: Buffer | null;
  end_protected: boolean;
  stop_protected: boolean;
  rests: boolean;
  account_id: number;
  owner_id: string;
}
/** $1 lease, $2 account (null = any) */
export const leaseAttributes = statement<AttributesRow>('lease-attributes', `
  SELECT id, type, disk_mb, nics, user_data, end_protected, stop_protected, rests, account_id,
         (SELECT owner_id FROM account a WHERE a.id = lease.account_id) AS owner_id
    FROM lease WHERE id = $1 AND ($2::bigint IS NULL OR account_id = $2)`);

/** $1 lease, $2 … protected from its end, $3 from stops, $4 rests, $5 user data, $6 type, $7 memory, $8 cores, $9 security groups; null leaves what stands */
export const setLeaseAttributes = statement<never>('set-lease-attributes', `
  UPDATE lease SET end_protected = coalesce($2, end_protected), stop_protected = coalesce($3, stop_protected), rests = coalesce($4, rests),
         user_data = CASE WHEN $5::bytea IS NULL THEN user_data WHEN length($5) = 0 THEN NULL ELSE $5 END,
         type = coalesce($6, type), memory_mb = coalesce($7, memory_mb), cores = coalesce($8, cores),
         security_groups = coalesce($9::jsonb, security_groups)
   WHERE id = $1`);
