/**
 * Several services as a site runs them: built programs in processes and data directories of their own, one database of the
 * site, one image directory. Simulated nodes belong to the first; the others reach them on the same machine.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSignedClient, type Answer, type SignedClient } from '../../bench/support/signed.ts';
import { statement, type Db } from '../../src/store/db.ts';
import { runningVms } from './agents.ts';
import { openTestDatabase, type TestDatabase } from './database.ts';
import { processesWith, signal } from './processes.ts';
import { startServe, type Serve } from './serve.ts';

export interface Service {
  readonly index: number;
  /** The process that runs now. */
  serve: Serve;
  client: SignedClient;
}

export interface Services {
  readonly db: Db;
  readonly all: readonly Service[];
  readonly nodes: readonly string[];
  /** Starts the service of this place again, on its data. */
  startAgain(index: number): Promise<void>;
  /** The agents that run, at most one a node. */
  agents(): number[];
  /** Leases whose VM is there, by what the nodes' agents say themselves. */
  vms(): Promise<string[]>;
  close(): Promise<void>;
}

export interface ServicesOptions {
  readonly services?: number;
  readonly nodes?: number;
  readonly memoryMb?: number;
  readonly toml?: string;
  /** How long a simulated VM takes to start. */
  readonly startMs?: number;
  /** All but the first are on machines of other names (needs root): its nodes are out of their reach. */
  readonly apart?: boolean;
}

/** unshare(1): a host name of its own. */
const elsewhere = (index: number): string[] => ['unshare', '--uts', '/bin/sh', '-c', `hostname machine-${index + 1} && exec "$@"`, 'sh'];

/** The site's PostgreSQL, as `database.url` names it. */
export function urlOf({ address }: TestDatabase): string {
  const { user = '', password = '', database = '', host = '', port } = address;
  return `postgres://${user}:${encodeURIComponent(password)}@/${database}?host=${encodeURIComponent(host)}&port=${port}`;
}

export async function startServices(options: ServicesOptions = {}): Promise<Services> {
  const { services = 2, nodes = 4, memoryMb = 16_384, toml = '', startMs = 20, apart = false } = options;
  const root = mkdtempSync(join(tmpdir(), 'services-'));
  const database = await openTestDatabase({ max: 4 });
  const names = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
  const local = names.map((n) => `[[local_nodes]]\nname = "${n}"\ndriver = "simulated"\nmemory_mb = ${memoryMb}\ncores = ${memoryMb}\n`).join('');
  const shared = `[database]\nurl = "${urlOf(database)}"\n[images]\ndirectory = "${join(root, 'images')}"\n[simulated]\nstart_ms = ${startMs}\nstop_ms = 0\n${toml}\n`;
  const config = (index: number): string => (index === 0 ? `${shared}${local}` : `local_nodes = []\n${shared}`);
  const start = (index: number): Promise<Serve> => {
    const place = join(root, `s${index + 1}`);
    mkdirSync(place, { recursive: true });
    return startServe(config(index), place, apart && index > 0 ? elsewhere(index) : []);
  };
  const all: Service[] = [];
  let keys: { accessKey: string; secretKey: string } | undefined;
  const clientOf = (serve: Serve): SignedClient => createSignedClient(serve.ec2, keys ?? { accessKey: '', secretKey: '' }, 64);
  for (let index = 0; index < services; index += 1) {
    const serve = await start(index);
    keys ??= await serve.user('ada');
    all.push({ index, serve, client: clientOf(serve) });
  }
  const nodeDir = (name: string): string => join(root, 's1', 'data', 'nodes', name);
  const agents = (): number[] => names.flatMap((n) => processesWith(`${nodeDir(n)} `).filter((p) => p.argv.includes(' serve ')).map((p) => p.pid));
  return {
    db: database.db, all, nodes: names,
    async startAgain(index) {
      const service = all[index] as Service;
      service.client.close();
      service.serve = await start(index);
      service.client = clientOf(service.serve);
    },
    agents,
    vms: () => runningVms(names.map(nodeDir)),
    async close() {
      for (const pid of agents()) signal(pid, 'SIGCONT');
      for (const { serve, client } of all) {
        client.close();
        if (serve.process.exitCode !== null || serve.process.signalCode !== null) continue;
        serve.process.kill('SIGCONT');
        await serve.stop({ keep: true });
      }
      await database.close();
      rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    },
  };
}

const idsIn = (body: string): string[] => [...body.matchAll(/<instanceId>(i-[0-9a-f]+)<\/instanceId>/g)].map((m) => m[1] ?? '');

export interface Answered {
  readonly answer: Answer;
  /** Of the attempt that was answered. */
  readonly ms: number;
  readonly attempts: number;
}

/** Asks until some service answers: `ask` chooses which, attempt by attempt. What is away or busy is asked again. */
export async function untilAnswered(ask: (attempt: number) => SignedClient, request: Readonly<Record<string, string>>, timeoutMs = 3_000): Promise<Answered> {
  for (let attempts = 1; ; attempts += 1) {
    const begun = performance.now();
    const answer = await ask(attempts - 1).call(request, timeoutMs).catch(() => undefined);
    if (answer !== undefined && answer.status !== 503) return { answer, ms: performance.now() - begun, attempts };
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** One VM under a token: the same request again is one request. */
export async function runUntilAnswered(ask: (attempt: number) => SignedClient, token: string, timeoutMs = 3_000): Promise<Answered & { ids: string[] }> {
  const answered = await untilAnswered(ask, { Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '1', MaxCount: '1', ClientToken: token }, timeoutMs);
  return { ...answered, ids: idsIn(answered.answer.body) };
}

export const groupsByToken = statement<{ token: string; groups: number; leases: number; live: number; ids: string[] }>('services-tokens', `
  SELECT g.client_token AS token, count(DISTINCT g.id)::int AS groups, count(l.id)::int AS leases, count(l.id) FILTER (WHERE NOT l.final)::int AS live, array_agg(l.id ORDER BY l.id) AS ids
    FROM lease_group g JOIN lease l ON l.group_id = g.id GROUP BY g.client_token`);
