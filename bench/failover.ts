/**
 * Two services on one database, one of them killed with SIGKILL every two seconds (and started again), during 5,000 creates
 * from 16 clients that go to the other service when one does not answer. Nothing may be lost or doubled, and the p99 of
 * answered requests is to be at most 2 s. The same load without a kill stands beside it.
 */
import { statement } from '../src/store/db.ts';
import { groupsByToken, runUntilAnswered, startServices, type Service, type Services } from '../test/support/services.ts';

const CLIENTS = 16;
const CREATES = Number(process.argv[2] ?? 5000);
const KILL_EVERY_MS = 2_000;
const SETTLE_MS = 60_000;

const openIntents = statement<{ n: number }>('failover-open', "SELECT count(*)::int AS n FROM intent WHERE state = 'open'");
const running = statement<{ id: string }>('failover-running', "SELECT id FROM lease WHERE state = 'Running' ORDER BY id");
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Kills a service that is up while the other is up, until told to stop; resolves with how often. */
async function killNowAndThen(services: Services, goOn: () => boolean): Promise<number> {
  const down = new Set<number>();
  const starting: Array<Promise<void>> = [];
  let kills = 0;
  while (goOn()) {
    await sleep(KILL_EVERY_MS);
    if (down.size > 0 || !goOn()) continue;
    const victim = services.all[kills % services.all.length] as Service;
    kills += 1;
    down.add(victim.index);
    await victim.serve.kill();
    starting.push(services.startAgain(victim.index).then(() => void down.delete(victim.index)));
  }
  await Promise.all(starting);
  return kills;
}

async function round(label: string, killing: boolean): Promise<void> {
  const services = await startServices({ nodes: 4, memoryMb: 2 * CREATES, toml: '[types."m1.small"]\nmemory_mb = 1\ncores = 1\n' });
  try {
    const [answered, whole]: [number[], number[]] = [[], []];
    const ids = new Map<string, string>();
    let [next, refused, retried] = [0, 0, 0];
    const begun = performance.now();
    const clients = Promise.all(Array.from({ length: CLIENTS }, async () => {
      while (next < CREATES) {
        const n = next;
        next += 1;
        const first = performance.now();
        const a = await runUntilAnswered((attempt) => (services.all[(n + attempt) % 2] as Service).client, `t-${n}`);
        answered.push(a.ms);
        whole.push(performance.now() - first);
        if (a.attempts > 1) retried += 1;
        if (a.answer.status === 200) ids.set(`t-${n}`, a.ids[0] ?? '');
        else refused += 1;
      }
    }));
    let over = false;
    const kills = killing ? killNowAndThen(services, () => !over) : Promise.resolve(0);
    await clients;
    over = true;
    const seconds = (performance.now() - begun) / 1000;
    const killed = await kills;
    const settled = performance.now();
    while ((await services.db.query(openIntents))[0]?.n !== 0 && performance.now() - settled < SETTLE_MS) await sleep(50);
    const groups = await services.db.query(groupsByToken);
    const runs = (await services.db.query(running)).map((l) => l.id);
    const vms = await services.vms();
    const lost = [...ids].filter(([token, id]) => !groups.some((g) => g.token === token && g.ids.includes(id))).length;
    const doubled = groups.filter((g) => g.groups !== 1 || g.leases !== 1).length + (runs.length - new Set(runs).size);
    const astray = vms.filter((v) => !runs.includes(v)).length + runs.filter((r) => !vms.includes(r)).length;
    const ms = (of: number[], q: number): string => (of.sort((x, y) => x - y)[Math.floor(q * (of.length - 1))] ?? NaN).toFixed(0);
    console.log(`${label.padEnd(10)} ${CREATES} creates from ${CLIENTS} clients in ${seconds.toFixed(1)} s, ${killed} kills; ${lost} lost, ${doubled} doubled, ${refused} refused, ${astray} VMs that leases and nodes do not agree on`);
    console.log(`${''.padEnd(10)} answered requests p50 ${ms(answered, 0.5)} ms, p99 ${ms(answered, 0.99)} ms, longest ${ms(answered, 1)} ms; with ${retried} repeated elsewhere p99 ${ms(whole, 0.99)} ms, longest ${ms(whole, 1)} ms`);
    if (lost + doubled + refused + astray > 0) process.exitCode = 1;
  } finally {
    await services.close();
  }
}

await round('undisturbed', false);
await round('killed', true);
