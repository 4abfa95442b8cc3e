/**
 * Two services on one database, as a site runs them, under load: both at work, one killed, one stopped and continued, either of them or an
 * agent at random, both replaced one after the other. What was answered stands, and nothing is given twice.
 */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { statement } from '../../src/store/db.ts';
import { hasPart } from '../parts.ts';
import { expectTablesAgree } from '../support/invariants.ts';
import { signal } from '../support/processes.ts';
import { groupsByToken, runUntilAnswered, startServices, untilAnswered, type Service, type Services } from '../support/services.ts';

let services: Services;
let opened: Services | undefined;
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});

async function open(options: Parameters<typeof startServices>[0] = {}): Promise<void> {
  services = opened = await startServices(options);
}

const CLIENTS = 8;
const POOL = 40;
/** Leases that stay are among the first ones: a long trouble fills no node. */
const MOST_KEPT = 400;
const PAUSES = 6;

const openIntents = statement<{ n: number }>('two-open', "SELECT count(*)::int AS n FROM intent WHERE state = 'open'");
const notRunning = statement<{ id: string }>('two-not-running', "SELECT id FROM lease WHERE NOT final AND state <> 'Running'");
const running = statement<{ id: string }>('two-running', "SELECT id FROM lease WHERE state = 'Running' ORDER BY id");
const live = statement<{ id: string }>('two-live', 'SELECT id FROM lease WHERE NOT final ORDER BY id');
const doubled = statement<{ id: string }>('two-attempts', 'SELECT id FROM intent WHERE attempts > 0');
const twoLeasesOneAddress = statement<{ ip: string }>('two-addresses', `
  SELECT n->>'ip' AS ip FROM lease l, jsonb_array_elements(l.nics) n WHERE l.holding AND n->>'ip' <> '' AND n->>'network' = 'lan' GROUP BY 1 HAVING count(*) > 1`);
const takenAddresses = statement<{ n: number }>('two-taken', 'SELECT count(*)::int AS n FROM network_address WHERE lease_id IS NOT NULL');
const claims = statement<{ process_id: number; n: number }>('two-claims', 'SELECT process_id, count(*)::int AS n FROM intent WHERE process_id IS NOT NULL GROUP BY process_id ORDER BY process_id');

const lives = statement<{ id: number; over: boolean; lost: boolean; taken_over: boolean }>('two-lives', 'SELECT id, ended_at IS NOT NULL AS over, lost, taken_over FROM process ORDER BY id');
/** It may not have begun another one since the last pause. */
const livesOf = statement<{ id: number }>('two-lives-of', 'SELECT id FROM process WHERE pid = $1 AND ended_at IS NULL');
const claimedBy = statement<{ id: string }>('two-claimed', "SELECT id FROM intent WHERE state = 'open' AND process_id = $1 ORDER BY id");
const whoDid = statement<{ id: string; state: string; process_id: number }>('two-who', 'SELECT id, state, process_id FROM intent WHERE id = ANY($1::text[]) ORDER BY id');

interface Made { readonly token: string; readonly ids: readonly string[]; readonly ended: boolean }

/**
 * Clients that ask until they are answered, each request of any service, and end most of what they got; they go on for
 * `least` answers and until `trouble` is over, which begins when the first twenty are answered. `named`: how its tokens begin.
 */
async function load(least: number, trouble: (made: readonly Made[]) => Promise<void> = () => Promise.resolve(), named = 't'): Promise<Made[]> {
  const made: Made[] = [];
  const after: { trouble?: Promise<void>; over: boolean } = { over: false };
  let next = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (next < least || !after.over) {
      const n = next;
      next += 1;
      const [token, ask] = [`${named}-${n}`, (attempt: number) => (services.all[(n + attempt) % services.all.length] as Service).client];
      const { ids, answer } = await runUntilAnswered(ask, token);
      expect(answer.status, answer.body).toBe(200);
      const ended = n % 8 !== 0 || n > MOST_KEPT;
      if (ended) expect((await untilAnswered(ask, { Action: 'TerminateInstances', 'InstanceId.1': ids[0] ?? '' })).answer.status).toBe(200);
      made.push({ token, ids, ended });
      if (made.length >= 20) after.trouble ??= trouble(made).finally(() => { after.over = true; });
    }
  }));
  await after.trouble;
  return made;
}

/** Everything that was answered is there, once, and runs; tables, nodes and answers agree. */
async function comesToRest(made: readonly Made[], what: string): Promise<void> {
  await expect.poll(async () => (await services.db.query(openIntents))[0]?.n, { timeout: 120_000, interval: 100 }).toBe(0);
  expect(await services.db.query(notRunning), what).toEqual([]);
  const groups = new Map((await services.db.query(groupsByToken)).map((g) => [g.token, g]));
  for (const { token, ids, ended } of made) expect(groups.get(token), `${token} ${what}`).toEqual({ token, groups: 1, leases: 1, ids, live: ended ? 0 : 1 });
  await expectTablesAgree(services.db, what);
  const ids = (await services.db.query(running)).map((l) => l.id);
  expect(await services.vms(), `VMs on the nodes ${what}`).toEqual(ids);
}

const LAN = '[types."m1.small"]\nmemory_mb = 128\ncores = 1\nnetworks = ["lan"]\n';
/** The network of `LAN`, whose pool has these addresses. */
async function addLan(addresses: string, netmask: string): Promise<void> {
  const { admin } = (services.all[0] as Service).serve;
  await admin('network', 'add', 'lan', '--bridge', 'br0', '--netmask', netmask);
  await admin('network', 'address', 'add', 'lan', addresses);
}

async function endAll(): Promise<void> {
  const ids = (await services.db.query(live)).map((l) => l.id);
  const both = services.all.map((s) => s.serve.admin);
  await Promise.all(both.map((admin, i) => admin('lease', 'destroy', ...ids.filter((_, n) => n % both.length === i))));
  await expect.poll(() => services.vms(), { timeout: 60_000, interval: 100 }).toEqual([]);
  await expect.poll(async () => (await services.db.query(openIntents))[0]?.n, { timeout: 60_000, interval: 100 }).toBe(0);
  await expectTablesAgree(services.db, 'after the end of all');
}

describe('two services on one database', () => {
  it('take any request, share the work, and never claim an intent twice', { timeout: 360_000 }, async () => {
    await open();
    const made = await load(120);
    await comesToRest(made, 'after load on both');
    expect(await services.db.query(doubled)).toEqual([]);
    expect(await services.db.query(claims)).toHaveLength(2);
    const [one, two] = services.all.map((s) => s.serve.pid);
    await expect.poll(async () => (await (services.all[1] as Service).serve.admin<Array<{ state: string; nodes: number; self: boolean; pid: number }>>('processes')).map((p) => [p.pid, p.state, p.nodes, p.self]), { timeout: 60_000 })
      .toEqual([[one, 'up', 4, false], [two, 'up', 4, true]]);
    await endAll();
  });

  it('give no address, no room and no token twice, when both are asked for the last of each', { timeout: 360_000 }, async () => {
    await open({ nodes: 2, memoryMb: POOL / 2 * 128, toml: LAN });
    await addLan(`10.9.0.1-10.9.0.${POOL}`, '24');
    const answers = await Promise.all(Array.from({ length: POOL * 2 }, (_, n) => Promise.all(services.all.map((s) => runUntilAnswered(() => s.client, `t-${n}`, 30_000)))));
    // Both services are asked with each token at the same moment: one lease, or none, for both.
    for (const [a, b] of answers) expect(b?.ids).toEqual(a?.ids);
    const placed = answers.filter(([a]) => a?.answer.status === 200);
    expect(placed).toHaveLength(POOL);
    expect(await services.db.query(twoLeasesOneAddress)).toEqual([]);
    expect(await services.db.query(takenAddresses)).toEqual([{ n: POOL }]);
    await comesToRest(placed.map((p) => ({ token: `t-${answers.indexOf(p)}`, ids: p[0]?.ids ?? [], ended: false })), 'after a run on the last');
    await endAll();
    expect(await services.db.query(takenAddresses)).toEqual([{ n: 0 }]);
  });

  it.skipIf(!hasPart('root'))('reach through each other the nodes that only one of them has', { timeout: 360_000 }, async () => {
    await open({ apart: true });
    const [first, second] = services.all as [Service, Service];
    const listed = (): Promise<Array<{ host: string; nodes: number; self: boolean }>> => second.serve.admin('processes');
    await expect.poll(async () => (await listed()).map((p) => [p.nodes, p.self]), { timeout: 60_000 }).toEqual([[4, false], [0, true]]);
    expect(new Set((await listed()).map((p) => p.host)).size).toBe(2);
    const made = await Promise.all(Array.from({ length: 20 }, (_, n) => runUntilAnswered(() => second.client, `t-${n}`)));
    await comesToRest(made.map(({ ids }, n) => ({ token: `t-${n}`, ids, ended: false })), 'after requests to the service without nodes');
    const [id = ''] = made[0]?.ids ?? [];
    const { answer } = await untilAnswered(() => second.client, { Action: 'GetConsoleOutput', InstanceId: id });
    const output = /<output>([^<]*)<\/output>/.exec(answer.body)?.[1] ?? '';
    expect(Buffer.from(output, 'base64').toString()).toContain(`guest ${id} is up`);
    expect((await untilAnswered(() => second.client, { Action: 'TerminateInstances', 'InstanceId.1': id })).answer.status).toBe(200);
    await expect.poll(() => services.vms(), { timeout: 60_000 }).not.toContain(id);
    // Without the service that has the nodes, nothing can be placed, and that is said.
    await first.serve.kill();
    await expect.poll(async () => (await second.serve.admin<Array<{ reachable: boolean }>>('node', 'list')).some((n) => n.reachable), { timeout: 60_000, interval: 100 }).toBe(false);
    const refused = await runUntilAnswered(() => second.client, 'nowhere');
    expect(refused.answer.body).toContain('InsufficientInstanceCapacity');
    await services.startAgain(0);
    await expect.poll(async () => (await runUntilAnswered(() => second.client, 'again')).answer.status, { timeout: 60_000, interval: 200 }).toBe(200);
    await endAll();
  });

  it.each([0, 1])('have the other finish what service %i had under way when it was killed, which does not come back', { timeout: 360_000 }, async (index) => {
    // Long enough for what is under way to be so still when its service is killed, however slowly that comes.
    await open({ startMs: 15_000 });
    const [victim, heir] = [services.all[index], services.all[1 - index]] as [Service, Service];
    const ids = new Map((await heir.serve.admin<Array<{ id: number; self: boolean }>>('processes')).map((p) => [p.self, p.id]));
    const [dead, self] = [ids.get(false), ids.get(true)];
    const made = await Promise.all(Array.from({ length: 12 }, (_, n) => runUntilAnswered(() => victim.client, `t-${n}`)));
    await victim.serve.kill();
    const left = await services.db.query(claimedBy, [dead]);
    expect(left.length).toBeGreaterThan(0);
    // A claim passes on when its holder is buried; nobody else takes it, whenever it is due.
    await expect.poll(() => services.db.query(whoDid, [left.map((i) => i.id)]), { timeout: 120_000, interval: 100 }).toEqual(left.map(({ id }) => ({ id, state: 'done', process_id: self })));
    await expect.poll(() => services.db.query(lives), { timeout: 60_000, interval: 100 })
      .toEqual([{ id: dead, over: true, lost: true, taken_over: true }, { id: self, over: false, lost: false, taken_over: false }].sort((a, b) => (a.id ?? 0) - (b.id ?? 0)));
    await expect.poll(() => heir.serve.log(), { timeout: 60_000 }).toContain('another service is silent; its work is taken over');
    await comesToRest(made.map((m, n) => ({ token: `t-${n}`, ids: m.ids, ended: false })), 'after the other took over');
    await services.startAgain(index);
    await endAll();
  });

  it('lose nothing when one is killed and comes back at once', { timeout: 480_000 }, async () => {
    await open();
    const made = await load(100, async () => {
      for (const victim of [0, 1, 0]) {
        await (services.all[victim] as Service).serve.kill();
        await services.startAgain(victim);
      }
    });
    await comesToRest(made, 'after kills');
    await endAll();
  });

  it('are not harmed by one that is stopped for longer than it takes to be taken for dead', { timeout: 480_000 }, async () => {
    await open();
    const [first, second] = services.all as [Service, Service];
    const made = await load(100, async () => {
      for (const { serve } of [first, second]) {
        serve.process.kill('SIGSTOP');
        await expect.poll(() => services.db.query(livesOf, [serve.pid]), { timeout: 60_000, interval: 50 }).toEqual([]);
        serve.process.kill('SIGCONT');
        await expect.poll(() => serve.log(), { timeout: 60_000, interval: 100 }).toContain('it goes on as another');
      }
    });
    await comesToRest(made, 'after pauses');
    await endAll();
  });

  it('and their nodes are not harmed by pauses at random, long and short, of a service or of an agent', { timeout: 600_000 }, async () => {
    const seed = Number(process.env['NIMBUS_SEED'] ?? Date.now() % 2 ** 31);
    console.log(`two services: pauses by NIMBUS_SEED=${seed}`);
    const [who, agent, answers] = [fc.constantFrom('service', 'agent'), fc.nat(3), fc.integer({ min: 1, max: 60 })];
    const plan = fc.sample(fc.record({ who, index: fc.nat(1), agent, answers, lost: fc.boolean() }), { seed, numRuns: PAUSES });
    await open({ memoryMb: 65_536, toml: LAN });
    await addLan('10.9.0.1-10.9.3.250', '22');
    const made = await load(100, async (answered) => {
      for (const { who, index, agent, answers, lost } of plan) {
        const { serve } = services.all[index] as Service;
        const agents = services.agents();
        const pid = who === 'service' ? serve.pid : agents[agent % agents.length] ?? expect.fail('no agent runs');
        const until = answered.length + answers;
        signal(pid, 'SIGSTOP');
        if (who === 'service' && lost) await expect.poll(() => services.db.query(livesOf, [pid]), { timeout: 120_000, interval: 50 }).toEqual([]);
        else await expect.poll(() => answered.length, { timeout: 120_000, interval: 5 }).toBeGreaterThanOrEqual(until);
        signal(pid, 'SIGCONT');
      }
    });
    await comesToRest(made, `after pauses by seed ${seed}`);
    expect(await services.db.query(twoLeasesOneAddress), `seed ${seed}`).toEqual([]);
    await endAll();
    expect(await services.db.query(takenAddresses), `seed ${seed}`).toEqual([{ n: 0 }]);
  });

  it('are not harmed by one that comes back after a minute, when the other has done all of its work', { timeout: 600_000 }, async () => {
    await open();
    const [first] = services.all as [Service, Service];
    const silent = statement<{ s: number }>('two-silent', 'SELECT extract(epoch FROM clock_timestamp() - heartbeat)::int AS s FROM process WHERE pid = $1 AND lost');
    const before = await load(100, async () => {
      first.serve.process.kill('SIGSTOP');
      await expect.poll(async () => (await services.db.query(silent, [first.serve.pid])).length, { timeout: 60_000, interval: 50 }).toBe(1);
    }, 'before');
    await expect.poll(async () => (await services.db.query(silent, [first.serve.pid]))[0]?.s, { timeout: 180_000, interval: 500 }).toBeGreaterThanOrEqual(60);
    const after = await load(100, async () => {
      first.serve.process.kill('SIGCONT');
      await expect.poll(() => first.serve.log(), { timeout: 60_000, interval: 100 }).toContain('it goes on as another');
    }, 'after');
    await comesToRest([...before, ...after], 'after a pause of a minute');
    await endAll();
  });

  it('are replaced one after the other under load, and no answered request is lost', { timeout: 480_000 }, async () => {
    await open();
    const made = await load(100, async () => {
      for (const index of [0, 1]) {
        expect(await (services.all[index] as Service).serve.stop({ keep: true })).toBe(0);
        await services.startAgain(index);
      }
    });
    await comesToRest(made, 'after a rolling restart');
    await endAll();
  });
});
