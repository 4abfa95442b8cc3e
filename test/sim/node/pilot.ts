/** A pilot on a simulated machine: the product's own program, with its signals; and the batch system's epilogue. */
import { Readable } from 'node:stream';
import type { Process } from '../world/process.ts';
import type { Site } from '../world/site.ts';
import { UID } from './disk.ts';
import type { Machine } from './machine.ts';

export interface PilotRun {
  readonly process: Process;
  readonly machine: Machine;
  readonly slot: string;
  /** SIGTERM */
  signal(): void;
}

export const PILOT_STATE = '/var/pilot';
/** No other timer of a pilot has this time: it is known by it. */
export const HEARTBEAT_S = 9;
const CONFIG = `[xen]
xmsudo: no
minmem: 64
[memory]
mechanism: hugepages
[hugepages]
sizekb: 2048
sysdir: /sys/kernel/mm/hugepages
[other]
earlywaitratio: 0.5
lockfile: /tmp/pilot.lock
statedir: ${PILOT_STATE}
reservewait: 60
pilots_per_node: 1
driver: simulated
heartbeat: ${HEARTBEAT_S}
`;

/** @param argv of the job's script: the program's own name first */
export function startPilot(site: Site, machine: Machine, argv: readonly string[], credentials: string): PilotRun {
  const { process, program } = machine.run('pilot', (p) => site.web.of(p));
  const args = program.readArguments(argv.slice(site.config.pilot.program.length));
  if (args.action !== 'reserve') throw new Error(`the job runs ${JSON.stringify(argv)}`);
  const clock = site.options.leap ? process.leapingClock(site.idle.ofPilots(args.slot)) : process.clock;
  const ending = new program.Ending(clock);
  const log = site.trace.logOf(process);
  // Its VMs are its children: whatever ends it ends them.
  process.atEnd(() => { for (const journal of machine.journals(`${PILOT_STATE}/${args.slot}.${machine.name}`)) machine.endVms(journal); });
  const { config } = program.parseConfig(CONFIG, 'pilot.conf', { uid: UID, host: machine.name });
  void program.runReserve({
    args, ending, clock, stdin: Readable.from([Buffer.from(`${credentials}\n`)]), print: () => undefined, host: machine.name,
    prepare: () => ({ config, host: machine.name, log }),
  }).then((code) => {
    log.info('pilot exits', { code });
    process.kill();
  }, (e: unknown) => {
    log.error('a pilot made a mistake', { why: String(e) });
    process.kill();
  });
  return { process, machine, slot: args.slot, signal: () => { if (process.alive) ending.tell({ kind: 'signal', why: 'ended by SIGTERM' }); } };
}

export function runEpilogue(site: Site, machine: Machine, slot: string): void {
  const { process, program } = machine.run('epilogue', (p) => site.web.of(p));
  const log = site.trace.logOf(process);
  const { config } = program.parseConfig(CONFIG, 'pilot.conf', { uid: UID, host: machine.name });
  const settings = { ctx: { clock: process.clock, log }, settings: config.node, scope: { slot, host: machine.name }, everyone: false };
  program.recoverNode(settings, new AbortController().signal).then(
    ({ failures }) => { for (const why of failures) log.error('not recovered', { why }); },
    (e: unknown) => log.error('epilogue fails', { why: String(e) }),
  ).finally(() => process.kill());
}
