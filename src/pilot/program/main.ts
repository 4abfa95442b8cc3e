/** workspace-pilot: borrows a node of a batch system. Bundled into one file that needs nothing but Node. */
import { realClock } from '../../control/agent/clock.ts';
import type { Clock } from '../../control/agent/clock.ts';
import type { Log } from '../../control/agent/log.ts';
import { VERSION } from '../../platform/version.ts';
import { readArguments } from './args.ts';
import type { Arguments, Common, ReserveArgs } from './args.ts';
import { readConfig } from './config.ts';
import type { ReadConfig } from './config.ts';
import { Ending, exitOf } from './ending.ts';
import { HELP } from './help.ts';
import { nodeName } from './host.ts';
import { openLog } from './log.ts';
import { runReserve } from './run-reserve.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
const clock: Clock = realClock;
const ending = new Ending(clock);
let log: Log | undefined;

async function run(args: Arguments): Promise<number> {
  switch (args.action) {
    case 'help':
      process.stdout.write(HELP);
      return EXIT.ok;
    case 'version':
      process.stdout.write(`${VERSION}\n`);
      return EXIT.ok;
    case 'control': {
      const { control } = await import('./control.ts');
      return control(args.stateDir, args.configPath, clock);
    }
    case 'reserve':
      return reserveNode(args);
    case 'killnine':
    case 'recover': {
      const { config } = prepare(args, args.action === 'recover' ? args.slot ?? 'otherlogs' : 'otherlogs');
      const { killNine, recover } = await import('./node-commands.ts');
      const parts = { ...context(), config, print };
      return args.action === 'killnine' ? killNine(parts) : recover(parts, args.slot, process.env);
    }
  }
}

function reserveNode(args: ReserveArgs): Promise<number> {
  return runReserve({
    args, ending, clock, stdin: process.stdin, print, host: nodeName(process.env),
    prepare: () => {
      const { config, host } = prepare(args, args.slot);
      return { config, host, log: context().log };
    },
  });
}

/**
 * What changes nothing ends with the first signal; what changes the node goes on to its end (`--reserveslot` sees the signal
 * itself, `--killnine` and `--recover` are the end). A mistake ends all but the pilot's own way, which gives the node back.
 */
async function outside(args: Arguments): Promise<number> {
  const reason = await ending.reason;
  const goesOn = (args.action === 'reserve' && !args.evaluate) || ((args.action === 'killnine' || args.action === 'recover') && reason.kind === 'signal');
  return goesOn ? new Promise<never>(() => undefined) : exitOf(reason, false);
}

/** Configuration and log. @throws PilotError */
function prepare(args: Common, name: string): ReadConfig {
  const read = readConfig(args.configPath, { uid: process.getuid?.() ?? 0, host: nodeName(process.env) });
  const out = args.stdoutLog ? (line: string): void => { process.stdout.write(line); } : null;
  log = openLog({ clock, level: args.level, logging: read.config.logging, name, host: read.host, out, complain });
  for (const warning of read.warnings) log.warn(warning);
  return read;
}

const context = (): { clock: Clock; log: Log } => {
  if (log === undefined) throw new PilotError(EXIT.internal, 'there is no log yet');
  return { clock, log };
};
const print = (line: string): void => { process.stdout.write(`${line}\n`); };
const complain = (sentence: string): void => { process.stderr.write(`workspace-pilot: ${sentence}\n`); };

function fail(e: unknown): number {
  const known = e instanceof PilotError;
  const text = known ? e.message : e instanceof Error ? e.stack ?? e.message : String(e);
  complain(text);
  log?.error('ends', { why: text });
  return known ? e.exit : EXIT.internal;
}

// A reader of our output that has gone is no reason to end.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
for (const signal of SIGNALS) process.on(signal, () => ending.tell({ kind: 'signal', why: `ended by ${signal}` }));
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (e: unknown) => {
    fail(e);
    ending.tell({ kind: 'fault', why: String(e) });
  });
}
async function main(): Promise<number> {
  const args = readArguments(process.argv.slice(2));
  return Promise.race([run(args), outside(args)]);
}
main().catch(fail).then((code) => process.exit(code), () => process.exit(EXIT.internal));
