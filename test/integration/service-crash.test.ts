/**
 * A real service is killed with SIGKILL before and after statements of a life of two leases on a real node: QEMU behind sshd
 * and on a bridge where the machine has them. In the process every statement has its kill (`test/manager/crash.test.ts`); here about one in ten has it
 * (each with `npm run test:every-moment`), and the agent is killed, and once its VMs with it. Then: a token that was answered is answered so again,
 * what was answered is there, node, tables and usage agree, and nothing runs that no lease knows.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSignedClient, type SignedClient } from '../../bench/support/signed.ts';
import { statement } from '../../src/store/db.ts';
import { sshdSet, type SshdSet } from '../fixtures/sshd.ts';
import { hasPart } from '../parts.ts';
import { addWire, openBridge, type Bridge } from '../support/bridge.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectTablesAgree } from '../support/invariants.ts';
import { deadline, oneIn } from '../support/moments.ts';
import { startPgProxy, type PgProxy } from '../support/pg-proxy.ts';
import { processesWith, signal } from '../support/processes.ts';
import { startServe, type Serve } from '../support/serve.ts';
import { groupsByToken, untilAnswered } from '../support/services.ts';

const real = hasPart('sshd') && hasPart('qemu') && hasPart('root');

const stateOf = statement<{ state: string }>('service-crash-state', 'SELECT state FROM lease WHERE id = ANY($1::text[]) ORDER BY state');
const live = statement<{ id: string }>('service-crash-live', 'SELECT id FROM lease WHERE NOT final');
const taken = statement<{ n: number }>('service-crash-taken', 'SELECT count(*)::int AS n FROM network_address WHERE lease_id IS NOT NULL');
const openUsage = statement<{ n: number }>('service-crash-usage', 'SELECT count(*)::int AS n FROM usage_record WHERE closed_at IS NULL');

let root: string;
let database: TestDatabase;
let proxy: PgProxy;
let set: SshdSet | undefined;
let serve: Serve;
let keys: { accessKey: string; secretKey: string };
let client: SignedClient;
let bridge: Bridge | undefined;
let nodeHome: string;
let tokens = 0;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'service-crash-'));
  mkdirSync(join(root, 'service'));
  database = await openTestDatabase();
  proxy = await startPgProxy(database.address);
  await start();
  // As the service makes it by itself it has no pool.
  await serve.admin('network', 'remove', 'wire');
  await addWire(serve);
  keys = await serve.user('ada');
  client = createSignedClient(serve.ec2, keys, 4);
  nodeHome = join(serve.dataDir, 'nodes', 'n1');
  if (real) {
    set = sshdSet();
    bridge = await openBridge({ reachable: true });
    const admin = set.key('admin');
    const sshd = await set.make({ host: bridge.host, port: 2222, within: bridge.within });
    writeFileSync(sshd.authorizedKeys, `${admin.publicLine}\n`, { mode: 0o600 });
    await serve.admin('node', 'add', sshd.host, '--name', 'far', '--user', sshd.user, '--port', String(sshd.port), '--host-key', sshd.hostKey,
      '--install-key', admin.privateFile, '--memory', '1024', '--cores', '8');
    nodeHome = sshd.home;
  }
}, 360_000);
afterAll(async () => {
  client.close();
  await serve.stop({ keep: true });
  await proxy.close();
  await database.close();
  await set?.close();
  await bridge?.close();
  rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
});

async function start(): Promise<void> {
  const nodes = real ? 'local_nodes = []\n' : '';
  const local = real ? '' : '[[local_nodes]]\nname = "n1"\ndriver = "simulated"\nmemory_mb = 1024\ncores = 8\n';
  serve = await startServe(`${nodes}[database]\nurl = "${proxy.url}"\n[lease]\ndefault_network = "wire"\n[control]\nreconnect_max_ms = 500\n${local}`, join(root, 'service'));
}

/** Whoever looks after the service starts it again when it has been killed. */
async function alive(): Promise<void> {
  if (serve.process.exitCode === null && serve.process.signalCode === null) return;
  await start();
  client.close();
  client = createSignedClient(serve.ec2, keys, 4);
}

async function ask(request: Record<string, string>): Promise<string> {
  const { answer } = await untilAnswered(() => ({
    close: () => undefined,
    call: async (p, ms) => {
      await alive();
      return client.call(p, ms);
    },
  }), request);
  return answer.body;
}

async function untilState(ids: readonly string[], state: string, what: string): Promise<void> {
  await expect.poll(async () => {
    await alive();
    return (await database.db.query(stateOf, [ids])).map((l) => l.state);
  }, { timeout: 120_000, interval: 20, message: what }).toEqual(ids.map(() => state));
}

const vmProcesses = (id: string) => processesWith(id).filter((p) => p.argv.includes('qemu'));
const endAgents = (): void => { for (const p of processesWith(nodeHome)) if (p.argv.includes('serve') && !p.argv.includes('qemu-system')) signal(p.pid, 'SIGKILL'); };

/** Two VMs under a token; a node that is not heard of yet has no room, and is asked again. */
async function runTwo(token: string): Promise<string[]> {
  const run = { Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '2', MaxCount: '2', ClientToken: token };
  let ids: string[] = [];
  await expect.poll(async () => {
    const body = await ask(run);
    ids = [...body.matchAll(/<instanceId>(i-[0-9a-f]+)</g)].map((m) => m[1] ?? '');
    return ids.length === 2 ? '' : body;
  }, { timeout: 120_000, interval: 50 }).toBe('');
  return ids;
}

async function live2(what: string, disturb: (ids: readonly string[]) => void = () => undefined): Promise<void> {
  const token = `crash-${tokens += 1}`;
  const ids = await runTwo(token);
  await untilState(ids, 'Running', what);
  await ask({ Action: 'CreateTags', 'ResourceId.1': ids[0] ?? '', 'Tag.1.Key': 'nimbus:duration', 'Tag.1.Value': '2h' });
  disturb(ids);
  await ask({ Action: 'RebootInstances', 'InstanceId.1': ids[0] ?? '' });
  await untilState(ids, 'Running', what);
  expect(await runTwo(token), `the token ${what}`).toEqual(ids);
  expect(await database.db.query(taken), what).toEqual([{ n: 2 }]);
  if (real) for (const id of ids) expect(vmProcesses(id), `the VM of ${id} ${what}`).toHaveLength(1);
  expect(bridge?.taps() ?? ids, what).toHaveLength(2);
  await ask({ Action: 'TerminateInstances', 'InstanceId.1': ids[0] ?? '', 'InstanceId.2': ids[1] ?? '' });
  await untilState(ids, 'Terminated', what);
  await alive();
  for (const id of ids) expect(vmProcesses(id), `what is left of ${id} ${what}`).toEqual([]);
  expect(bridge?.taps() ?? [], what).toEqual([]);
  const [group] = (await database.db.query(groupsByToken)).filter((g) => g.token === token);
  expect(group, what).toMatchObject({ groups: 1, leases: 2, live: 0 });
  expect(await database.db.query(live), what).toEqual([]);
  expect(await database.db.query(openUsage), what).toEqual([{ n: 0 }]);
  await expectTablesAgree(database.db, what);
}

function killAt(n: number, when: 'before' | 'after'): void {
  const { pid } = serve;
  const at = proxy.count + n;
  proxy[when] = (count) => {
    if (count !== at) return;
    signal(pid, 'SIGKILL');
  };
}
const killNoMore = (): void => { proxy.before = proxy.after = () => undefined; };

describe(`a service with ${real ? 'QEMU behind sshd' : 'simulated VMs'}`, () => {
  it('may be killed at statements of a life', { timeout: deadline(900_000) }, async () => {
    // The first one has the image copied, and what the service says by itself in that time.
    await live2('with a new image');
    let begun = proxy.count;
    await live2('without a kill');
    let statements = proxy.count - begun;
    expect(statements).toBeGreaterThan(20);
    // Two moments each, before and after it. The last may be none of the next life's: what a service does by itself is different each time.
    // An odd step takes both by turns.
    let [lives, kills] = [0, 0];
    for (let moment = 2; moment < 2 * (statements + 1); moment += oneIn(21)) {
      const [n, when] = [Math.floor(moment / 2), moment % 2 === 0 ? 'before' as const : 'after' as const];
      const { pid } = serve;
      begun = proxy.count;
      killAt(n, when);
      await live2(`after a kill ${when} statement ${n} of ${statements}`);
      lives += 1;
      if (serve.pid !== pid) kills += 1;
      // Shorter than the one that was counted, on a machine that was busier then: the rest of the moments are none of a life's.
      else statements = Math.min(statements, proxy.count - begun);
      killNoMore();
    }
    expect(kills).toBeGreaterThan(Math.max(5, lives / 2));
  });

  it('and an agent that is killed find its VMs again', { timeout: 360_000 }, async () => {
    await live2('after the agent was killed', () => endAgents());
  });

  it.skipIf(!real)('ends leases whose VMs have vanished with their node', { timeout: 360_000 }, async () => {
    const ids = await runTwo('vanishing');
    await untilState(ids, 'Running', 'before the node vanished');
    // As a machine that loses its power: the agent and every VM at once, while nobody looks.
    await serve.kill();
    endAgents();
    for (const id of ids) for (const p of vmProcesses(id)) signal(p.pid, 'SIGKILL');
    await untilState(ids, 'Terminated', 'after the node vanished');
    expect(await database.db.query(openUsage)).toEqual([{ n: 0 }]);
    await expectTablesAgree(database.db, 'after the node vanished');
  });
});
