/** What a service's private database holds, read beside the service: tests assert that a refused request wrote nothing. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';

/**
 * Nodes and services report in on their own; what they write is no request's doing. A request that is signed leaves its signature,
 * so that it does not come twice: that is what it is refused by, and not what it asked for.
 */
const OF_THEMSELVES = ['vmm_node', 'node_channel', 'process', 'duty', 'used_signature'];

export interface Contents {
  /** Table → number and digest of its rows. */
  read(): Promise<Readonly<Record<string, string>>>;
  /** Signatures of requests that were authenticated. */
  signatures(): Promise<number>;
  close(): Promise<void>;
}

/** A connection beside the service's own; the caller ends it. */
export async function connectPrivate(dataDir: string): Promise<pg.Client> {
  const client = new pg.Client({
    host: join(dataDir, 'run', 'pg'), user: 'nimbus', database: 'nimbus',
    password: readFileSync(join(dataDir, 'keys', 'postgresql-password'), 'utf8').trim(),
  });
  await client.connect();
  return client;
}

export async function openContents(dataDir: string): Promise<Contents> {
  const client = await connectPrivate(dataDir);
  return {
    async read() {
      const { rows } = await client.query<{ name: string }>(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND NOT tablename = ANY($1) ORDER BY 1", [OF_THEMSELVES]);
      const found: Record<string, string> = {};
      for (const { name } of rows) {
        const of = client.escapeIdentifier(name);
        const { rows: [row] } = await client.query<{ is: string }>(
          `SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '-') AS is FROM ${of} t`);
        found[name] = row?.is ?? '';
      }
      return found;
    },
    async signatures() {
      const { rows: [row] } = await client.query<{ n: number }>('SELECT count(*)::int AS n FROM used_signature');
      return row?.n ?? NaN;
    },
    close: () => client.end(),
  };
}
