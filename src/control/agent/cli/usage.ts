/** The command line: commands, options, help. */
import { parseArgs } from 'node:util';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { DRIVER_CHOICES } from '../drivers/index.ts';
import type { DriverChoice } from '../drivers/index.ts';
import { EXIT, Exit } from '../exit.ts';

export const COMMANDS = [
  'serve', 'create', 'propagate', 'unpropagate', 'remove', 'info', 'list', 'pause', 'unpause', 'reboot', 'console', 'status',
] as const;
export type Command = (typeof COMMANDS)[number];
export type ByHandCommand = Exclude<Command, 'serve'>;

export const HELP = `workspace-control: runs virtual machines on this node

  workspace-control serve [--driver auto|qemu|simulated] [--config FILE.json]
      speaks the agent protocol on standard input and output, until its end
  workspace-control create --name NAME --memory MB --image FILE
                           [--cores N] [--disk MB] [--format raw|qcow2] [--hostname NAME]
                           [--user-data FILE] [--public-key FILE]... [--network user|none|bridge:BRIDGE,MAC,IP/PREFIX[,GATEWAY[,DNS]]]...
  workspace-control propagate (options of create)       make the disk, start nothing
  workspace-control unpropagate NAME                    remove the disk of a VM that does not run
  workspace-control remove NAME                         end the VM, remove everything of it
  workspace-control info|pause|unpause|reboot NAME
  workspace-control console NAME [--bytes N]            the end of its serial console
  workspace-control list
  workspace-control status                              what the node has and what it lacks
  workspace-control version
  workspace-control helper                              what needs root, for sudo: one JSON request on standard input

Everywhere:
  --state DIR       state directory (default $NIMBUS_CONTROL_STATE, else ~/.nimbus/control)
  --json            print JSON
  --generation N    the lease's generation; lower ones than the node has seen are refused
                    (default: create one more than seen, else what was seen)
  --timeout SECONDS how long the operation may take (default 120)
  --driver, --config count when no agent serves the directory yet

Exit codes: 0 done, 1 arguments, 2 configuration, 3 environment, 4 operation failed, 42 internal.

Examples:
  workspace-control create --name web --memory 256 --image /srv/images/debian.qcow2 --public-key ~/.ssh/id_ed25519.pub
  workspace-control list --json
  workspace-control remove web
`;

const OPTIONS = {
  state: { type: 'string' },
  driver: { type: 'string' },
  config: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
  name: { type: 'string', short: 'n' },
  memory: { type: 'string', short: 'm' },
  cores: { type: 'string' },
  disk: { type: 'string' },
  image: { type: 'string', short: 'i' },
  format: { type: 'string' },
  hostname: { type: 'string' },
  'user-data': { type: 'string' },
  'public-key': { type: 'string', multiple: true },
  network: { type: 'string', multiple: true },
  generation: { type: 'string' },
  timeout: { type: 'string' },
  bytes: { type: 'string' },
} as const;

export type Values = ReturnType<typeof parse>['values'];

export interface Invocation {
  readonly command: Command | 'help' | 'version';
  readonly values: Values;
  /** From `--name` or the word after the command. */
  readonly name: string | undefined;
  readonly stateDir: string;
  readonly driver: DriverChoice;
}

function parse(args: string[]): { values: ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>['values']; positionals: string[] } {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (e) {
    throw new Exit(EXIT.arguments, (e as Error).message);
  }
}

/** @throws Exit with code 1 */
export function readArguments(args: string[], environment: NodeJS.ProcessEnv): Invocation {
  const { values, positionals } = parse(args);
  const [word, name, ...rest] = positionals;
  const stateDir = resolve(values.state ?? environment['NIMBUS_CONTROL_STATE'] ?? join(homedir(), '.nimbus', 'control'));
  const driver = DRIVER_CHOICES.find((d) => d === (values.driver ?? 'auto'));
  if (driver === undefined) throw new Exit(EXIT.arguments, `--driver must be one of ${DRIVER_CHOICES.join(', ')}`);
  const common = { values, stateDir, driver, name: values.name ?? name };
  if (values.help === true || word === 'help') return { ...common, command: 'help' };
  if (values.version === true || word === 'version') return { ...common, command: 'version' };
  const command = COMMANDS.find((c) => c === word);
  if (command === undefined) throw new Exit(EXIT.arguments, word === undefined ? 'which command? see workspace-control help' : `unknown command ${word}; see workspace-control help`);
  if (rest.length > 0 || (values.name !== undefined && name !== undefined)) throw new Exit(EXIT.arguments, `${command} takes one name`);
  return { ...common, command };
}

export function wholeNumber(option: string, value: string | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  if (!/^\d{1,15}$/.test(value)) throw new Exit(EXIT.arguments, `--${option} must be a whole number`);
  return Number(value);
}

export function needed(option: string, value: string | undefined): string {
  if (value === undefined || value === '') throw new Exit(EXIT.arguments, `--${option} is needed`);
  return value;
}
