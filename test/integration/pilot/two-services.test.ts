/**
 * Two services in pilot mode on one database and one batch system, with real pilots: one submits and asks for the list at a time,
 * either takes any request, and what one of them leaves behind the other brings to its end.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { statement } from '../../../src/store/db.ts';
import { fakeSlurmCommands } from '../../support/fake-lrm.ts';
import { expectTablesAgree } from '../../support/invariants.ts';
import { processesWith, signal } from '../../support/processes.ts';
import { runUntilAnswered, startServices, untilAnswered, type Service, type Services } from '../../support/services.ts';
import { PILOT } from './cluster.ts';
import type { FakeJobFile } from './phases-site.ts';

const NODES = ['a', 'b', 'c', 'd', 'e', 'f'];
const dutyHolder = statement<{ pid: number }>('two-pilot-duty', "SELECT p.pid FROM duty d JOIN process p ON p.id = d.process_id WHERE d.name = 'batch-system' AND p.ended_at IS NULL");
const lostLives = statement<{ n: number }>('two-pilot-lost', 'SELECT count(*)::int AS n FROM process WHERE lost');
const heard = statement<{ all: boolean }>('two-pilot-heard', 'SELECT bool_and(heartbeat > $1) AS all FROM process WHERE ended_at IS NULL');
const toldPilots = statement<{ all: boolean }>('two-pilot-told', "SELECT coalesce(bool_and(last_heard > $1), true) AS all FROM slot_node WHERE state = 'Reserved'");
const databaseClock = statement<{ now: number }>('two-pilot-clock', "SELECT clock_timestamp() + interval '1 ms' AS now");
const states = statement<{ id: string; state: string; slot: string; slot_state: string; node_state: string }>('two-pilot-states', `
  SELECT l.id, l.state, s.id AS slot, s.state AS slot_state, n.state AS node_state FROM lease l JOIN slot_node n ON n.id = l.slot_node_id JOIN slot s ON s.id = n.slot_id ORDER BY l.seq`);

const dir = mkdtempSync(join(tmpdir(), 'two-pilot-'));
let services: Services | undefined;
afterEach(async () => {
  await services?.close();
  for (const { pid } of processesWith(`${dir}/`)) signal(pid, 'SIGKILL');
  rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
});

async function open(): Promise<Services> {
  const { settings } = fakeSlurmCommands(dir, { nodes: NODES, killWaitS: 20, epilog: '/etc/epilog' });
  mkdirSync(join(dir, 'logs'));
  const conf = join(dir, 'pilot.conf');
  writeFileSync(conf, `[logging]\nlogfiledir: ${dir}/logs\n[memory]\nmechanism: none\n[other]\nearlywaitratio: 0.5\nlockfile: ${dir}/lock-%h\nstatedir: ${dir}/pilots\ndriver: simulated\nheartbeat: 2\n`);
  const commands = Object.entries(settings).map(([verb, file]) => `${verb} = "${file}"\n`).join('');
  return services = await startServices({
    nodes: 0,
    toml: `[scheduler]\nmode = "pilot"\n[pilot]\nprogram = ["${process.execPath}", "${PILOT}"]\nconfig_path = "${conf}"\npoll = "1s"\nsilence = "60s"\nlisten = "127.0.0.1:0"\n[slurm]\n${commands}`,
  });
}

const jobs = (): FakeJobFile[] => {
  const at = join(dir, 'state/jobs');
  return readdirSync(at).filter((f) => f.endsWith('.json')).map((f) => JSON.parse(readFileSync(join(at, f), 'utf8')) as FakeJobFile);
};
/** Of pilots, and of the agents in them. */
const onNodes = (): string[] => processesWith(PILOT).map((p) => p.argv).filter((argv) => argv.includes(conf()));
const conf = (): string => join(dir, 'pilot.conf');

/** Each service has heard of the others, and then each pilot was told of them. */
async function knowEachOther(site: Services): Promise<void> {
  for (const since of [heard, toldPilots]) {
    const [clock] = await site.db.query(databaseClock);
    await expect.poll(async () => (await site.db.query(since, [new Date(clock?.now ?? 0)]))[0]?.all, { timeout: 60_000, interval: 100 }).toBe(true);
  }
}

it('either is killed or stopped, and the other goes on; every node is given back', { timeout: 600_000 }, async () => {
  const site = await open();
  const [first, second] = site.all as [Service, Service];
  const run = async (service: Service, token: string): Promise<string> => {
    const { ids, answer } = await runUntilAnswered(() => service.client, token, 20_000);
    expect(answer.status, answer.body).toBe(200);
    return ids[0] ?? '';
  };
  const inState = (ids: readonly string[], state: string): Promise<void> =>
    expect.poll(async () => (await site.db.query(states)).filter((l) => ids.includes(l.id)).map((l) => l.state), { timeout: 120_000, interval: 200 }).toEqual(ids.map(() => state));
  const holder = async (): Promise<Service | undefined> => {
    const [duty] = await site.db.query(dutyHolder);
    return site.all.find((s) => s.serve.pid === duty?.pid);
  };
  const end = async (service: Service, id: string): Promise<void> => {
    expect((await untilAnswered(() => service.client, { Action: 'TerminateInstances', 'InstanceId.1': id }, 20_000)).answer.status).toBe(200);
  };

  await knowEachOther(site);
  const before = [await run(first, 'a'), await run(second, 'b'), await run(first, 'c')];
  await inState(before, 'Running');

  // The one that asks the batch system is killed; pilots find the other, and so does everything else.
  const killed = await holder() as Service;
  const other = killed === first ? second : first;
  await killed.serve.kill();
  await expect.poll(holder, { timeout: 60_000, interval: 100 }).toBe(other);
  await inState(before, 'Running');
  const meanwhile = await run(other, 'd');
  await inState([meanwhile], 'Running');
  await end(other, before[0] ?? '');
  await inState([before[0] ?? ''], 'Terminated');
  await site.startAgain(killed.index);
  await knowEachOther(site);

  // Now the other is stopped for longer than a dead one is silent, in the midst of what it has begun, and comes back.
  const late = await run(other, 'e');
  other.serve.process.kill('SIGSTOP');
  await expect.poll(async () => (await site.db.query(lostLives))[0]?.n, { timeout: 60_000, interval: 50 }).toBe(2);
  const next = await run(killed, 'f');
  await inState([...before.slice(1), meanwhile, late, next], 'Running');
  other.serve.process.kill('SIGCONT');
  await expect.poll(() => other.serve.log(), { timeout: 60_000, interval: 100 }).toContain('it goes on as another');
  await inState([...before.slice(1), meanwhile, late, next], 'Running');

  for (const [i, id] of [...before.slice(1), meanwhile, late, next].entries()) await end(i % 2 === 0 ? killed : other, id);
  await inState([...before, meanwhile, late, next], 'Terminated');
  await expect.poll(async () => (await site.db.query(states)).map((l) => `${l.slot_state} ${l.node_state}`), { timeout: 120_000, interval: 200 }).toEqual(Array<string>(6).fill('Ended Returned'));
  await expect.poll(onNodes, { timeout: 60_000, interval: 200 }).toEqual([]);
  const slots = (await site.db.query(states)).map((l) => l.slot);
  expect(new Set(jobs().map((j) => j.name))).toEqual(new Set(slots));
  // What a stopped service had begun to submit may be submitted after all when it comes back: that job is cancelled.
  expect(jobs().length).toBeLessThanOrEqual(slots.length + 1);
  expect(jobs().filter((j) => ['PENDING', 'RUNNING', 'COMPLETING'].includes(j.state))).toEqual([]);
  await expectTablesAgree(site.db, 'after the end of all');
});
