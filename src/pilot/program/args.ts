/**
 * The command line. Options and their meanings are those of the original (Nimbus 2.10.1); `--credentials`, `--part`,
 * `--recover` and `control` are new. As there, a wrong combination is exit 1 and an unknown option exit 2.
 */
import { parseArgs } from 'node:util';
import { ANY_SLOT_ID } from '../protocol.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';

export type Level = 'error' | 'info' | 'debug' | 'trace';

export interface Common {
  readonly configPath: string | undefined;
  readonly level: Level;
  readonly stdoutLog: boolean;
}
export interface ReserveArgs extends Common {
  readonly action: 'reserve';
  readonly memoryMb: number;
  readonly durationS: number;
  readonly graceS: number;
  readonly slot: string;
  readonly contact: string | undefined;
  /** A file, or `-` for standard input. */
  readonly credentials: string | undefined;
  readonly part: number;
  readonly evaluate: boolean;
}
export interface KillNineArgs extends Common { readonly action: 'killnine' }
export interface RecoverArgs extends Common { readonly action: 'recover'; readonly slot: string | undefined }
/** `stateDir` undefined: the client of sshd says it (control.ts). */
export interface ControlArgs extends Common { readonly action: 'control'; readonly stateDir: string | undefined }
export type Arguments = ReserveArgs | KillNineArgs | RecoverArgs | ControlArgs | { readonly action: 'help' | 'version' };

const OPTIONS = {
  reserveslot: { type: 'boolean', short: 'r' },
  killnine: { type: 'boolean', short: 'k' },
  recover: { type: 'boolean' },
  memory: { type: 'string', short: 'm' },
  duration: { type: 'string', short: 'd' },
  graceperiod: { type: 'string', short: 'g' },
  slotid: { type: 'string', short: 'i' },
  contact: { type: 'string', short: 'c' },
  credentials: { type: 'string' },
  part: { type: 'string' },
  configpath: { type: 'string', short: 'p' },
  evaluate: { type: 'boolean', short: 'e' },
  stdoutlog: { type: 'boolean', short: 's' },
  quiet: { type: 'boolean', short: 'q' },
  verbose: { type: 'boolean', short: 'v' },
  trace: { type: 'boolean', short: 't' },
  state: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parse>['values'];
const MAX_SECONDS = 10 * 365 * 86_400;
const MAX_MB = 2 ** 30;
const MAX_PART = 1023;

function parse(args: readonly string[]): ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>> {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (e) {
    throw new PilotError(EXIT.badConfig, `${(e as Error).message}; see workspace-pilot --help`);
  }
}

/** @throws PilotError badArguments, or badConfig for options that there are not */
export function readArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parse(args);
  const [word, ...rest] = positionals;
  if (values.help === true || word === 'help') return { action: 'help' };
  if (values.version === true || word === 'version') return { action: 'version' };
  const common = { configPath: values.configpath, level: levelOf(values), stdoutLog: values.stdoutlog === true };
  if (word === 'control' && rest.length === 0) return { action: 'control', ...common, stateDir: values.state };
  if (word !== undefined) throw bad([`what is ${JSON.stringify(word)}?`]);
  const actions = [values.reserveslot, values.killnine, values.recover].filter((a) => a === true).length;
  if (actions !== 1) throw bad([actions === 0 ? 'one of --reserveslot, --killnine, --recover is needed' : '--reserveslot, --killnine and --recover exclude each other']);
  if (values.killnine === true) return { action: 'killnine', ...common };
  if (values.recover === true) {
    if (values.slotid !== undefined && !ANY_SLOT_ID.test(values.slotid)) throw bad(['--slotid must be letters, digits and hyphens, 64 at most']);
    return { action: 'recover', ...common, slot: values.slotid };
  }
  return { ...reserveArgs(values), ...common };
}

function reserveArgs(values: Values): Omit<ReserveArgs, keyof Common> {
  const wrong: string[] = [];
  const number = (option: 'memory' | 'duration' | 'graceperiod', least: number, most: number): number => {
    const given = values[option];
    if (given === undefined) wrong.push(`--reserveslot needs --${option}`);
    else if (!/^\d{1,12}$/.test(given) || Number(given) < least || Number(given) > most) wrong.push(`--${option} must be a whole number from ${least} to ${most}`);
    return Number(given);
  };
  const slot = values.slotid;
  if (slot === undefined) wrong.push('--reserveslot needs --slotid');
  else if (!ANY_SLOT_ID.test(slot)) wrong.push('--slotid must be letters, digits and hyphens, 64 at most');
  if (values.contact !== undefined && values.credentials !== undefined) wrong.push('--contact and --credentials exclude each other');
  const part = values.part ?? '0';
  if (!/^\d{1,4}$/.test(part) || Number(part) > MAX_PART) wrong.push(`--part must be a whole number from 0 to ${MAX_PART}`);
  const out = {
    action: 'reserve', memoryMb: number('memory', 1, MAX_MB), durationS: number('duration', 1, MAX_SECONDS),
    graceS: number('graceperiod', 0, MAX_SECONDS), slot: slot ?? '', contact: values.contact, credentials: values.credentials,
    part: Number(part), evaluate: values.evaluate === true,
  } as const;
  if (wrong.length > 0) throw bad(wrong);
  return out;
}

function levelOf(values: Values): Level {
  if (values.trace === true) return 'trace';
  if (values.verbose === true) return 'debug';
  return values.quiet === true ? 'error' : 'info';
}

const bad = (sentences: readonly string[]): PilotError => new PilotError(EXIT.badArguments, `${sentences.join('\n  ')}\nsee workspace-pilot --help`);
