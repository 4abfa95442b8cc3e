/** `npm run sim`: runs seeds and says what they found. */
import { parseArgs } from 'node:util';
import { Postgres } from './world/postgres.ts';
import { watchdog } from './watchdog.ts';
import { runSeed, type Outcome, type SeedOptions } from './world/seed.ts';

const HELP = `Usage: npm run sim -- [options]

Runs whole sites in one process on virtual time: service, database, agents, nodes, network, in pilot mode
a batch system and its pilots, and what goes wrong with them. A seed is always the same site.

  --seed S         run this seed only
  --seeds A-B      run these seeds                             (default 1-20)
  --steps N        things that users and fate do in a seed     (default 40)
  --hours H        instead: the load of H hours, a fault each
  --hourly         with --hours: count rows, sizes and memory after each hour
  --nodes N        VMM nodes                                   (default 4)
  --pilot          pilot mode: nodes are borrowed
  --more           with policies, accounting, saved disks, leases that are stopped and started
  --no-faults      nothing goes wrong
  --no-leap        make the polls too that would find nothing
  --trace          print everything that happens
  --json           one JSON object for each seed
  --stop-at-first  end with the first seed that breaks a rule
  --cpu S          seconds of CPU after which a seed is broken (default 120, for each hour of --hours 60)
  --mutate NAME    plant a mistake first                       (test/sim/mutations.json)
  -h, --help       this text

Exit code: 0 every rule held, 1 one was broken, 2 the command line is wrong.

Examples:
  npm run sim                             twenty seeds
  npm run sim -- --seed 4711              one seed, as it was
  npm run sim -- --seed 4711 --trace      with every message and statement
  npm run sim -- --hours 24 --nodes 16    days of a site, and how fast they pass
`;

interface Settings {
  readonly from: number;
  readonly to: number;
  readonly base: Omit<SeedOptions, 'seed'>;
  readonly json: boolean;
  readonly stopAtFirst: boolean;
  readonly cpuS: number;
}

const OPTIONS = {
  seed: { type: 'string' }, seeds: { type: 'string', default: '1-20' }, steps: { type: 'string', default: '40' }, hours: { type: 'string' }, nodes: { type: 'string', default: '4' },
  pilot: { type: 'boolean', default: false }, more: { type: 'boolean', default: false }, 'no-faults': { type: 'boolean', default: false }, 'no-leap': { type: 'boolean', default: false }, trace: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false }, 'stop-at-first': { type: 'boolean', default: false }, hourly: { type: 'boolean', default: false }, cpu: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false },
} as const;

function whole(option: string, text: string, least: number, most: number): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || n < least || n > most) throw new Error(`--${option} must be a whole number from ${least} to ${most}, not ${JSON.stringify(text)}`);
  return n;
}

/** null: help was asked for. @throws Error with what is wrong */
function settings(): Settings | null {
  const { values: v } = parseArgs({ options: OPTIONS });
  if (v.help) return null;
  const [first = '', last = first, ...rest] = (v.seed ?? v.seeds).split('-');
  if (rest.length > 0) throw new Error('--seeds must be A-B');
  const from = whole('seeds', first, 0, 2 ** 31);
  const hours = v.hours === undefined ? null : whole('hours', v.hours, 1, 10_000);
  return {
    from, to: whole('seeds', last, from, 2 ** 31), json: v.json, stopAtFirst: v['stop-at-first'], cpuS: v.cpu === undefined ? (hours === null ? 120 : hours * 60) : whole('cpu', v.cpu, 1, 1_000_000),
    base: {
      steps: whole('steps', v.steps, 0, 100_000), hours, nodes: whole('nodes', v.nodes, 1, 200),
      pilot: v.pilot, more: v.more, faults: !v['no-faults'], leap: !v['no-leap'], hourly: v.hourly, show: v.trace ? (line) => process.stdout.write(`${line.replaceAll('\n', ' ').slice(0, 400)}\n`) : undefined,
    },
  };
}

async function run({ from, to, base, json, stopAtFirst, cpuS }: Settings): Promise<number> {
  const postgres = await Postgres.open();
  const watch = watchdog(cpuS * 1000, unended(base, cpuS, json));
  let simulatedMs = 0;
  let cpuMs = 0;
  let failed = 0;
  let seed = from;
  for (; seed <= to && !(stopAtFirst && failed > 0); seed += 1) {
    const begun = process.cpuUsage();
    watch.begin(seed);
    const outcome = await runSeed(postgres, { ...base, seed });
    watch.end();
    const { user, system } = process.cpuUsage(begun);
    simulatedMs += outcome.simulatedMs;
    cpuMs += (user + system) / 1000;
    if (outcome.violations.length > 0) failed += 1;
    report({ ...base, seed }, outcome, (user + system) / 1000, json);
  }
  await postgres.close();
  const days = simulatedMs / 86_400_000;
  if (!json) console.log(`${seed - from} seeds, ${failed} failed; ${days.toFixed(2)} site-days in ${(cpuMs / 1000).toFixed(1)} s of CPU: ${(days / (cpuMs / 60_000)).toFixed(1)} site-days per CPU-minute at ${base.nodes} nodes`);
  return failed > 0 ? 1 : 0;
}

/** What is said of a seed that does not end. */
function unended(base: Settings['base'], cpuS: number, json: boolean): string {
  const violation = { says: 'a seed comes to an end', of: `it has not after ${cpuS} s of CPU` };
  const how = again({ ...base, seed: 'SEED' });
  return json ? JSON.stringify({ seed: 'SEED', violations: [violation], again: how }).replace('"SEED"', 'SEED') : `seed SEED\n  BROKEN: ${violation.says}\n          ${violation.of}\n  again: ${how}`;
}

/** The command line that makes a seed again. */
function again(o: Settings['base'] & { readonly seed: number | string }): string {
  const how = o.hours === null ? `--steps ${o.steps}` : `--hours ${o.hours}`;
  return ['npm run sim -- --seed', o.seed, how, '--nodes', o.nodes, ...(o.pilot ? ['--pilot'] : []), ...(o.more ? ['--more'] : []), ...(o.faults ? [] : ['--no-faults']), ...(o.leap ? [] : ['--no-leap'])].join(' ');
}

function report(o: SeedOptions, r: Outcome, cpuMs: number, json: boolean): void {
  if (json) return console.log(JSON.stringify({ seed: o.seed, ...r, cpuMs: Math.round(cpuMs), again: again(o) }));
  console.log(`seed ${o.seed}  ${r.digest}  ${(r.simulatedMs / 60_000).toFixed(1)} min  ${r.events} events  ${r.statements} statements  ${r.messages} messages  ${r.faults} faults  ${r.answered} answered, ${r.refused} refused  ${cpuMs.toFixed(0)} ms`);
  r.hourly.forEach(({ rows, tablesMb, memoryMb }, hour) => console.log(`  after ${String(hour + 1).padStart(3)} h: ${memoryMb} MiB, tables ${tablesMb} MiB  ${Object.entries(rows).map(([table, n]) => `${table} ${n}`).join('  ')}`));
  for (const v of r.violations) console.log(`  BROKEN: ${v.says}\n          ${v.of}`);
  if (r.violations.length > 0) console.log(`  again: ${again(o)}`);
}

try {
  const asked = settings();
  if (asked === null) process.stdout.write(HELP);
  else process.exitCode = await run(asked);
} catch (e) {
  process.stderr.write(`sim: ${e instanceof TypeError || e instanceof Error ? e.message : String(e)}\nsee npm run sim -- --help\n`);
  process.exitCode = 2;
}
