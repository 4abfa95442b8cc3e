/** workspace-control: the agent of a VMM node, and its commands by hand. Bundled into one file that needs nothing but Node. */
import { isSea } from 'node:sea';
import { VERSION } from '../../platform/version.ts';
import { runByHand } from './cli/by-hand.ts';
import type { OwnCommand } from './cli/client.ts';
import { HELP, readArguments } from './cli/usage.ts';
import type { Invocation } from './cli/usage.ts';
import { realClock } from './clock.ts';
import { readAgentConfig } from './config.ts';
import type { AgentConfig } from './config.ts';
import { EXIT, Exit } from './exit.ts';
import { AgentFault } from './fault.ts';
import { runHelper } from './helper/main.ts';
import { serve } from './serve.ts';

/** How long a process that was told to end waits for what runs. */
const STOP_MS = 10_000;
/** A handle that nobody closed must not keep an ended program. */
const LINGER_MS = 1_000;

async function main(): Promise<void> {
  if (process.argv[2] === 'helper') {
    process.exitCode = await runHelper({ uid: process.getuid?.() ?? -1, env: process.env, input: process.stdin, write: (line) => { process.stdout.write(line); } });
    return;
  }
  const invocation = readArguments(process.argv.slice(2), process.env);
  switch (invocation.command) {
    case 'help':
      process.stdout.write(HELP);
      return;
    case 'version':
      process.stdout.write(`${VERSION}\n`);
      return;
    case 'serve':
      // sshd's forced command leaves what the client asked for in this variable (sshd_config(5), ForceCommand).
      if (process.env['SSH_ORIGINAL_COMMAND'] === 'version') process.stdout.write(`${VERSION}\n`);
      else await serveStdio(invocation);
      return;
    default:
      await runByHand(invocation.command, invocation, {
        clock: realClock,
        own: ownCommand(),
        out: (text) => { process.stdout.write(text); },
        onPhase: process.stderr.isTTY ? (phase) => { process.stderr.write(`${phase}\n`); } : undefined,
      });
  }
}

async function serveStdio(invocation: Invocation): Promise<void> {
  await serve({
    stateDir: invocation.stateDir,
    driver: invocation.driver,
    config: configOf(invocation),
    clock: realClock,
    peer: { input: process.stdin, output: process.stdout, name: 'stdio' },
    onWait: (why) => { process.stderr.write(`workspace-control: ${why}\n`); },
    onMaster: (stop) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        process.once(signal, () => {
          realClock.after(STOP_MS, () => process.exit(EXIT.failed), true);
          void stop(`ended by ${signal}`);
        });
      }
    },
  });
}

function configOf(invocation: Invocation): AgentConfig {
  try {
    return readAgentConfig(invocation.values.config);
  } catch (e) {
    throw e instanceof AgentFault ? new Exit(EXIT.configuration, e.message) : e;
  }
}

function ownCommand(): OwnCommand {
  const script = process.argv[1];
  return isSea() || script === undefined ? [process.execPath] : [process.execPath, script];
}

function fail(e: unknown): void {
  process.exitCode = e instanceof Exit ? e.code : EXIT.internal;
  const text = e instanceof Exit || e instanceof AgentFault ? e.message : e instanceof Error ? (e.stack ?? e.message) : String(e);
  process.stderr.write(`workspace-control: ${text}\n`);
}

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (e: unknown) => {
    fail(e);
    process.exit();
  });
}
main().catch(fail).finally(() => realClock.after(LINGER_MS, () => process.exit(), true));
