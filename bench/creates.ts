/**
 * Durable creates: RunInstances of one VM each from 32 clients for 30 s, simulated VMM without delay, fsync on.
 * Every lease must reach Running. Prints creates/s, commits per lease, and the same with a commit delay that stands in for
 * a disk of 5 ms (PostgreSQL's commit_delay with commit_siblings = 0, set in the running server).
 */
import pg from 'pg';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSignedClient } from './support/signed.ts';
import { simulatedNodes, startBenchService, type BenchService } from './support/service.ts';

const CLIENTS = 32;
const SECONDS = Number(process.argv[2] ?? 30);

async function database(service: BenchService): Promise<pg.Client> {
  const password = readFileSync(join(service.dataDir, 'keys/postgresql-password'), 'utf8').trim();
  const client = new pg.Client({ host: join(service.dataDir, 'run/pg'), user: 'nimbus', password, database: 'nimbus' });
  await client.connect();
  return client;
}

/** The next transaction id: only transactions that write take one, so its growth counts the commits that reach the disk. */
const commits = async (db: pg.Client): Promise<number> =>
  Number((await db.query('SELECT pg_snapshot_xmax(pg_current_snapshot()) AS n')).rows[0].n);

async function round(service: BenchService, db: pg.Client, label: string): Promise<void> {
  const client = createSignedClient(service.ec2, service.credentials, CLIENTS);
  const [before, cpuBefore] = [await commits(db), service.cpuMs()];
  const until = performance.now() + SECONDS * 1000;
  const latencies: number[] = [];
  let failed = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (performance.now() < until) {
      const started = performance.now();
      const answer = await client.call({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '1', MaxCount: '1', 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'round', 'TagSpecification.1.Tag.1.Value': label, ClientToken: `${label}-${performance.now()}-${Math.random()}` });
      if (answer.status === 200) latencies.push(performance.now() - started);
      else failed += 1;
    }
  }));
  const seconds = SECONDS + (performance.now() - until) / 1000;
  const settleStarted = performance.now();
  let running = 0;
  do {
    running = Number((await db.query("SELECT count(*) AS n FROM lease l JOIN tag t ON t.resource_id = l.id AND t.key = 'round' AND t.value = $1 WHERE l.state = 'Running'", [label])).rows[0].n);
  } while (running < latencies.length && performance.now() - settleStarted < 60_000);
  const settledMs = performance.now() - settleStarted;
  const made = latencies.length;
  const perLease = ((await commits(db)) - before) / made;
  latencies.sort((a, b) => a - b);
  const ms = (q: number): string => (latencies[Math.floor(q * (made - 1))] ?? NaN).toFixed(1);
  console.log(`${label.padEnd(12)} ${(made / seconds).toFixed(0).padStart(6)} creates/s  ${made} made, ${failed} refused, ${running} Running ${settledMs.toFixed(0)} ms after the last answer`);
  console.log(`${''.padEnd(12)} answer p50 ${ms(0.5)} ms, p99 ${ms(0.99)} ms; ${perLease.toFixed(2)} writing commits per lease; service CPU ${((service.cpuMs() - cpuBefore) / made).toFixed(2)} ms per lease`);
  client.close();
  if (running < made) process.exitCode = 1;
}

const service = await startBenchService(`[lease]\nmax_per_user = 1000000\n${simulatedNodes(2, 200_000)}`);
const db = await database(service);
try {
  await round(service, db, 'fsync');
  await db.query('ALTER SYSTEM SET commit_delay = 5000');
  await db.query('ALTER SYSTEM SET commit_siblings = 0');
  await db.query('SELECT pg_reload_conf()');
  await round(service, db, 'delay-5ms');
} finally {
  await db.end();
  await service.stop();
}
