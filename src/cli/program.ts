/** The command `nimbus`. It speaks with the service over a Unix socket in the data directory; `serve` is the service. */
import { Command, CommanderError } from 'commander';
import { ConfigError } from '../platform/config.ts';
import { StartError } from '../platform/errors.ts';
import { realClock } from '../platform/real.ts';
import { VERSION } from '../platform/version.ts';
import { sshKeyRotation } from './key-rotation.ts';
import { notUnderstood } from './client.ts';
import { addBackupCommands } from './commands/backup.ts';
import { addCaCommands } from './commands/ca.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addEventsCommand } from './commands/events.ts';
import { addFsckCommand } from './commands/fsck.ts';
import { addImageCommands } from './commands/images.ts';
import { addKeyCommands } from './commands/keys.ts';
import { addKillAllCommand } from './commands/kill-all.ts';
import { addLeaseCommands } from './commands/leases.ts';
import { addNetworkCommands } from './commands/networks.ts';
import { addNodeCommands } from './commands/nodes.ts';
import { addProcessesCommand } from './commands/processes.ts';
import { addPolicyCommands } from './commands/policies.ts';
import { addSiteCommands } from './commands/site.ts';
import { addSlotCommands } from './commands/slots.ts';
import { addUsageCommand } from './commands/usage.ts';
import { addUserCommands } from './commands/users.ts';
import { addWsrfCommands } from './commands/wsrf.ts';
import { asJson, refusal, type CliDeps } from './env.ts';
import { EXIT, SomeFailed, Unreachable, UsageError } from './exit.ts';
import { quiet, sshInstaller } from './ssh-installer.ts';
import { terminal } from './terminal.ts';

export type { CliDeps, ServeOptions } from './env.ts';

export interface Cli {
  /** `argv` as Node has it. Never rejects; resolves to the exit code. */
  run(argv: readonly string[]): Promise<number>;
}

const EXIT_CODES = `
Exit codes:
  0  done
  1  the service refused, or something failed
  2  the command line or the configuration is wrong, or the service cannot start
  3  no service answers at the data directory`;

/** `serve` and `withoutService` compose what the commands cannot know; the rest is the real machine unless a test gives its own. */
export function buildCli(given: Pick<CliDeps, 'serve' | 'withoutService'> & Partial<CliDeps>): Cli {
  const deps: CliDeps = { clock: realClock, env: process.env, installer: sshInstaller, keyRotation: sshKeyRotation(quiet), ...given, io: given.io ?? terminal() };
  return {
    async run(argv) {
      const json = argv.includes('--json');
      let other: string | undefined;
      const answered = (version: string): void => { other = version === VERSION ? undefined : version; };
      try {
        await program({ ...deps, answered }, json).parseAsync([...argv], { from: 'node' });
        return EXIT.ok;
      } catch (e) {
        // An answer that lacks what this version reads of it.
        return ending(deps, e instanceof TypeError && other !== undefined ? new Error(notUnderstood(other), { cause: e }) : e, json);
      }
    },
  };
}

export function program(deps: CliDeps, json = false): Command {
  const root = new Command('nimbus')
    .description('Leases virtual machines on the cluster you already have.')
    .version(VERSION, '-V, --version')
    .option('--data <dir>', 'data directory of the service (default: $NIMBUS_DATA or ./nimbus-data)')
    .option('--json', 'print JSON')
    .showSuggestionAfterError()
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, helpWidth: deps.io.width, minWidthToWrap: 20 })
    .configureOutput({
      writeOut: (text) => deps.io.out(text),
      writeErr: (text) => deps.io.err(text),
      // With --json what stderr has is one JSON document; see `ending`.
      outputError: (text, write) => { if (!json) write(`nimbus: ${mistake(text)}\nAdd --help to see what the command takes.\n`); },
      getOutHelpWidth: () => deps.io.width,
      getErrHelpWidth: () => deps.io.width,
    })
    .addHelpText('after', `
Examples:
  nimbus serve
  nimbus user add alice
  nimbus lease list
${EXIT_CODES}`);
  for (const add of [
    addSiteCommands, addUserCommands, addNodeCommands, addImageCommands, addNetworkCommands, addLeaseCommands, addEventsCommand, addPolicyCommands,
    addUsageCommand, addSlotCommands, addKillAllCommand, addDoctorCommand, addFsckCommand,
    addBackupCommands, addKeyCommands, addProcessesCommand, addCaCommands, addWsrfCommands,
  ]) {
    add(root, deps);
  }
  return root;
}

/** Commander's sentence without what it puts before and behind. */
const mistake = (text: string): string => text.replace(/^error: /, '').trimEnd();

/** Says what is wrong on stderr and what to do next; with --json as JSON. */
function ending(deps: CliDeps, e: unknown, json: boolean): number {
  // Commander has said it already, except in JSON; its code is 0 for help and version.
  if (e instanceof CommanderError) {
    if (json && e.exitCode !== 0) deps.io.err(`${JSON.stringify({ error: asJson(new UsageError(mistake(e.message))) })}\n`);
    return e.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  if (e instanceof SomeFailed) return EXIT.refused;
  const code = e instanceof Unreachable ? EXIT.unreachable
    : e instanceof UsageError || e instanceof ConfigError || e instanceof StartError ? EXIT.usage
    : EXIT.refused;
  if (json) deps.io.err(`${JSON.stringify({ error: asJson(e) })}\n`);
  else deps.io.err(e instanceof ConfigError ? `nimbus: ${e.message}\n` : `nimbus: ${refusal(e)}`);
  return code;
}
