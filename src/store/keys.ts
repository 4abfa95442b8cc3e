/** Statements on key pairs. Only public halves are kept. */
import { statement, type Queryable } from './db.ts';

export interface KeyPairRow {
  id: string;
  name: string;
  type: 'rsa' | 'ed25519' | 'ecdsa';
  /** One OpenSSH line. */
  public_key: string;
  fingerprint: string;
  created_at: number;
}
const COLUMNS = 'id, name, type, public_key, fingerprint, created_at';

/** $1 account, $2 name */
export const keyPairByName = statement<KeyPairRow>('key-pair-by-name', `SELECT ${COLUMNS} FROM key_pair WHERE account_id = $1 AND name = $2`);

export async function findKeyPair(q: Queryable, accountId: number, name: string): Promise<KeyPairRow | null> {
  return (await q.query(keyPairByName, [accountId, name]))[0] ?? null;
}

/** $1 account */
export const keyPairsOf = statement<KeyPairRow>('key-pairs-of', `SELECT ${COLUMNS} FROM key_pair WHERE account_id = $1 ORDER BY name`);

/** $1 account */
export const countKeyPairs = statement<{ keys: number }>('count-key-pairs', 'SELECT count(*) AS keys FROM key_pair WHERE account_id = $1');

/** $1 account, $2 name, $3 id, $4 type, $5 public key, $6 fingerprint, $7 now; no row when the name is taken */
export const insertKeyPair = statement<{ id: string }>('insert-key-pair', `
  INSERT INTO key_pair (account_id, name, id, type, public_key, fingerprint, created_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account_id, name) DO NOTHING RETURNING id`);

/** $1 account, $2 name or null, $3 id or null; the tags go with it */
export const deleteKeyPair = statement<KeyPairRow>('delete-key-pair', `
  WITH k AS (DELETE FROM key_pair WHERE account_id = $1 AND (name = $2 OR id = $3) RETURNING ${COLUMNS}),
       t AS (DELETE FROM tag USING k WHERE resource_id = k.id)
  SELECT * FROM k`);
