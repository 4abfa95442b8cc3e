/** Statements on accounts and their access keys. A removed account keeps its row, for its usage records. */
import { statement } from './db.ts';

export interface CredentialsRow {
  secret: string;
  account_id: number;
  name: string;
  owner_id: string;
  admin: boolean;
}
/** $1 access key */
export const credentialsByKey = statement<CredentialsRow>('credentials-by-key', `
  SELECT k.secret, a.id AS account_id, a.name, a.owner_id, a.admin FROM access_key k JOIN account a ON a.id = k.account_id
   WHERE k.access_key = $1 AND k.active AND a.removed_at IS NULL`);

export interface AccountRow {
  id: number;
  name: string;
  owner_id: string;
  admin: boolean;
  created_at: number;
}
/** $1 name */
export const accountByName = statement<AccountRow>('account-by-name', `
  SELECT id, name, owner_id, admin, created_at FROM account WHERE name = $1 AND removed_at IS NULL`);

/** $1 name. Waits for creates that insert leases of the account, and makes them wait. */
export const lockAccount = statement<AccountRow>('lock-account', `
  SELECT id, name, owner_id, admin, created_at FROM account WHERE name = $1 AND removed_at IS NULL FOR UPDATE`);

/** $1 ids: those that stand; they cannot be removed before the transaction ends. */
export const holdAccounts = statement<{ id: number }>('hold-accounts', `
  SELECT id FROM account WHERE id = ANY($1::bigint[]) AND removed_at IS NULL ORDER BY id FOR KEY SHARE`);

/** $1 name, $2 owner id, $3 admin, $4 now; no row when name or owner id is taken */
export const insertAccount = statement<{ id: number }>('insert-account', `
  INSERT INTO account (name, owner_id, admin, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING id`);

/** $1 access key, $2 account, $3 secret, $4 now */
export const insertAccessKey = statement<never>('insert-access-key', `
  INSERT INTO access_key (access_key, account_id, secret, created_at) VALUES ($1, $2, $3, $4)`);

/** $1 account */
export const countActiveKeys = statement<{ keys: number }>('count-active-keys', 'SELECT count(*) AS keys FROM access_key WHERE account_id = $1 AND active');

/** $1 account, $2 access key: it stays listed, its secret is erased; a row when it exists, active or not */
export const deactivateAccessKey = statement<{ access_key: string }>('deactivate-access-key', `
  UPDATE access_key SET active = false, secret = '' WHERE account_id = $1 AND access_key = $2 RETURNING access_key`);

export interface UserRow extends AccountRow {
  keys: Array<{ accessKey: string; active: boolean }>;
}
export const allUsers = statement<UserRow>('all-users', `
  SELECT a.id, a.name, a.owner_id, a.admin, a.created_at,
         coalesce((SELECT json_agg(json_build_object('accessKey', k.access_key, 'active', k.active) ORDER BY k.created_at, k.access_key)
                     FROM access_key k WHERE k.account_id = a.id), '[]') AS keys
    FROM account a WHERE a.removed_at IS NULL ORDER BY a.name`);

/** $1 account: its live leases, a few of them */
export const liveLeasesOfAccount = statement<{ id: string }>('live-leases-of-account', `
  SELECT id FROM lease WHERE account_id = $1 AND NOT final ORDER BY seq LIMIT 10`);

/**
 * $1 account, $2 now. The secrets are erased, and the name is free for another account: `alice` becomes `alice~12`, which no
 * account can be called.
 */
export const removeAccount = statement<never>('remove-account', `
  WITH k AS (DELETE FROM access_key WHERE account_id = $1),
       p AS (DELETE FROM key_pair WHERE account_id = $1),
       t AS (DELETE FROM tag WHERE account_id = $1),
       pu AS (DELETE FROM policy_user WHERE account_id = $1)
  UPDATE account SET removed_at = $2, name = name || '~' || id WHERE id = $1`);
