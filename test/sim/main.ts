/** `npm run sim`: runs seeds and says what they found. */
import { parseArgs } from 'node:util';
import { Postgres } from './world/postgres.ts';
import { runSeed, type Outcome, type SeedOptions } from './world/seed.ts';

const HELP = `Usage: npm run sim -- [options]

Runs the whole site in one process on virtual time: service, database, agents, nodes, network, and what goes wrong with them.

  --seed S         run this seed, and say what happened in it
  --seeds A-B      run these seeds                                  (default 1-20)
  --steps N        things that users and fate do in a seed          (default 40)
  --nodes N        VMM nodes                                        (default 4)
  --pilot          pilot mode: nodes are borrowed from a batch system
  --no-faults      nothing goes wrong
  --no-leap        make the polls too that would find nothing
  --trace          print everything that happens, for one seed
  --json           one JSON object for each seed
  --mutate NAME    plant a mistake first (test/sim/mutations.json)

Examples:
  npm run sim                          the first twenty seeds, and figures
  npm run sim -- --seed 4711           one seed, again as it was
  npm run sim -- --seed 4711 --trace   with every message and statement
`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' }, seeds: { type: 'string', default: '1-20' }, steps: { type: 'string', default: '40' }, nodes: { type: 'string', default: '4' },
    pilot: { type: 'boolean', default: false }, 'no-faults': { type: 'boolean', default: false }, 'no-leap': { type: 'boolean', default: false }, trace: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) process.stdout.write(HELP);
else await main();

async function main(): Promise<void> {
  const [from = 1, to = from] = (values.seed ?? values.seeds).split('-').map(Number);
  const postgres = await Postgres.open();
  const begun = process.cpuUsage();
  let simulatedMs = 0;
  let failed = 0;
  for (let seed = from; seed <= to; seed += 1) {
    const options: SeedOptions = {
      seed, steps: Number(values.steps), nodes: Number(values.nodes), pilot: values.pilot, faults: !values['no-faults'], leap: !values['no-leap'],
      show: values.trace ? (line) => process.stdout.write(`${line.replaceAll('\n', ' ').slice(0, 400)}\n`) : undefined,
    };
    const cpu = process.cpuUsage();
    const outcome = await runSeed(postgres, options);
    const used = process.cpuUsage(cpu);
    simulatedMs += outcome.simulatedMs;
    report(options, outcome, (used.user + used.system) / 1000);
    if (outcome.violations.length > 0) failed += 1;
  }
  const { user, system } = process.cpuUsage(begun);
  const days = simulatedMs / 86_400_000;
  const minutes = (user + system) / 60e6;
  console.log(`${to - from + 1} seeds, ${failed} failed; ${days.toFixed(2)} site-days in ${(minutes * 60).toFixed(1)} s of CPU: ${(days / minutes).toFixed(1)} site-days per CPU-minute at ${values.nodes} nodes`);
  await postgres.close();
  process.exitCode = failed > 0 ? 1 : 0;
}

function report(o: SeedOptions, r: Outcome, cpuMs: number): void {
  if (values.json) return console.log(JSON.stringify({ ...r, seed: o.seed, cpuMs: Math.round(cpuMs) }));
  console.log(`seed ${o.seed}  ${r.digest}  ${(r.simulatedMs / 60_000).toFixed(1)} min  ${r.statements} statements  ${r.messages} messages  ${r.events} events  ${r.faults} faults  ${r.answered} answered, ${r.refused} refused  ${cpuMs.toFixed(0)} ms`);
  for (const v of r.violations) console.log(`  BROKEN: ${v.says}\n          ${v.of}`);
  if (r.violations.length > 0) console.log(`  again: npm run sim -- --seed ${o.seed} --steps ${o.steps} --nodes ${o.nodes}${o.pilot ? ' --pilot' : ''}`);
}
