/** Statements on accounts, their access keys and the names of their grid certificates. A removed account keeps its row, for its usage records. */
import { statement } from './db.ts';
import { ofOneAccount } from './leases.ts';

const MINE = ofOneAccount('$1');

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

export type NamedAccountRow = Omit<CredentialsRow, 'secret'>;
/** $1 name of a certificate, in slash form */
export const accountByDn = statement<NamedAccountRow>('account-by-dn', `
  SELECT a.id AS account_id, a.name, a.owner_id, a.admin FROM account_dn d JOIN account a ON a.id = d.account_id
   WHERE d.dn = $1 AND a.removed_at IS NULL`);
/** $1 fingerprint of a certificate */
export const accountByCertificate = statement<NamedAccountRow>('account-by-certificate', `
  SELECT a.id AS account_id, a.name, a.owner_id, a.admin FROM account_certificate c JOIN account a ON a.id = c.account_id
   WHERE c.fingerprint = $1 AND a.removed_at IS NULL`);
/** $1 name of the user */
export const namedAccount = statement<NamedAccountRow>('named-account', `
  SELECT id AS account_id, name, owner_id, admin FROM account WHERE name = $1 AND removed_at IS NULL`);

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

/** $1 name of a certificate, $2 account, $3 now; no row when it is another user's, who stands */
export const insertDn = statement<{ dn: string }>('insert-dn', `
  INSERT INTO account_dn (dn, account_id, created_at) VALUES ($1, $2, $3)
  ON CONFLICT (dn) DO UPDATE SET account_id = EXCLUDED.account_id, created_at = EXCLUDED.created_at
   WHERE account_dn.account_id = EXCLUDED.account_id OR (SELECT removed_at FROM account WHERE id = account_dn.account_id) IS NOT NULL
  RETURNING dn`);

/** $1 account */
export const countDns = statement<{ dns: number }>('count-dns', 'SELECT count(*) AS dns FROM account_dn WHERE account_id = $1');

/** $1 account, $2 name of a certificate */
export const deleteDn = statement<{ dn: string }>('delete-dn', 'DELETE FROM account_dn WHERE account_id = $1 AND dn = $2 RETURNING dn');

export interface CertificateRow {
  fingerprint: string;
  subject: string;
  not_after: number;
  created_at: number;
}
/** $1 account */
export const certificatesOf = statement<CertificateRow>('certificates-of', `
  SELECT fingerprint, subject, not_after, created_at FROM account_certificate WHERE account_id = $1 ORDER BY created_at, fingerprint`);

/** $1 fingerprint, $2 account, $3 subject, $4 end of validity, $5 now; no row when it is another user's, who stands */
export const insertCertificate = statement<{ fingerprint: string }>('insert-certificate', `
  INSERT INTO account_certificate (fingerprint, account_id, subject, not_after, created_at) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (fingerprint) DO UPDATE SET account_id = EXCLUDED.account_id, created_at = EXCLUDED.created_at
   WHERE account_certificate.account_id = EXCLUDED.account_id OR (SELECT removed_at FROM account WHERE id = account_certificate.account_id) IS NOT NULL
  RETURNING fingerprint`);

/** $1 account, $2 fingerprint or its beginning: those that it names */
export const certificatesLike = statement<{ fingerprint: string }>('certificates-like', `
  SELECT fingerprint FROM account_certificate WHERE account_id = $1 AND starts_with(fingerprint, $2)`);

/** $1 fingerprint */
export const deleteCertificate = statement<never>('delete-certificate', 'DELETE FROM account_certificate WHERE fingerprint = $1');

export interface UserRow extends AccountRow {
  dns: string[];
  keys: Array<{ accessKey: string; active: boolean }>;
}
export const allUsers = statement<UserRow>('all-users', `
  SELECT a.id, a.name, a.owner_id, a.admin, a.created_at,
         coalesce((SELECT json_agg(json_build_object('accessKey', k.access_key, 'active', k.active) ORDER BY k.created_at, k.access_key)
                     FROM access_key k WHERE k.account_id = a.id), '[]') AS keys,
         coalesce((SELECT json_agg(d.dn ORDER BY d.dn) FROM account_dn d WHERE d.account_id = a.id), '[]') AS dns
    FROM account a WHERE a.removed_at IS NULL ORDER BY a.name`);

/** $1 account: its live leases, a few of them */
export const liveLeasesOfAccount = statement<{ id: string }>('live-leases-of-account', `
  SELECT id FROM lease WHERE ${MINE.which} AND NOT final ORDER BY ${MINE.order} LIMIT 10`);

/**
 * $1 account, $2 now. The secrets are erased, and the name is free for another account: `alice` becomes `alice~12`, which no
 * account can be called.
 */
export const removeAccount = statement<never>('remove-account', `
  WITH k AS (DELETE FROM access_key WHERE account_id = $1),
       p AS (DELETE FROM key_pair WHERE account_id = $1),
       t AS (DELETE FROM tag WHERE account_id = $1),
       pu AS (DELETE FROM policy_user WHERE account_id = $1),
       d AS (DELETE FROM account_dn WHERE account_id = $1),
       c AS (DELETE FROM account_certificate WHERE account_id = $1)
  UPDATE account SET removed_at = $2, name = name || '~' || id WHERE id = $1`);
