/** What people and the batch system's epilogue do to a node: `--evaluate`, `--recover`, `--killnine`. Each says what it found and did. */
import { dirname } from 'node:path';
import type { PilotConfig } from './config.ts';
import { withDeadline } from './deadline.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';
import type { ProgramContext } from './types.ts';

/** Batch systems give an epilogue a time of their own; Slurm's default is a minute (slurm.conf(5), PrologEpilogTimeout). */
const LIMIT_MS = 120_000;

export interface CommandParts extends ProgramContext {
  readonly config: PilotConfig;
  readonly print: (line: string) => void;
}

interface Report {
  readonly done: readonly string[];
  readonly failures: readonly string[];
}

/** Resolves with the exit code. */
export async function recover(parts: CommandParts, slot: string | undefined, env: NodeJS.ProcessEnv): Promise<number> {
  const { clock, log, config } = parts;
  const { recoverNode, scopeOfEnvironment } = await import('./recover.ts');
  const scope = { ...scopeOfEnvironment(env, config.node.host), ...(slot === undefined ? {} : { slot }) };
  const options = { ctx: { clock, log }, settings: config.node, scope, everyone: process.getuid?.() === 0, endThroughHelper: helperOf(parts) };
  return say(parts, await withDeadline(clock, LIMIT_MS, (signal) => recoverNode(options, signal)), 'no slot to recover');
}

/** VMs on bridges have accounts of their own: the agent's driver ends them, by the helper of the agent's configuration. */
function helperOf({ clock, log, config }: CommandParts): (vm: { readonly lease: string; readonly dir: string }) => Promise<void> {
  return async (vm) => {
    const [{ createDriver }, { readAgentConfig }] = await Promise.all([import('../../control/agent/drivers/index.ts'), import('../../control/agent/config.ts')]);
    const stateDir = dirname(dirname(vm.dir));
    await createDriver('qemu', { clock, log, config: readAgentConfig(config.agentConfig ?? undefined), stateDir, inJob: true }).end(vm);
  };
}

/** Resolves with the exit code. */
export async function killNine(parts: CommandParts): Promise<number> {
  const { clock, log, config } = parts;
  const [{ killNine: run }, { createMechanism }] = await Promise.all([import('./killnine.ts'), import('./memory/index.ts')]);
  const ctx = { clock, log };
  const options = { ctx, settings: config.node, mechanism: createMechanism(config.node, ctx) };
  return say(parts, await withDeadline(clock, LIMIT_MS, (signal) => run(options, signal)), 'nothing to do');
}

/** Resolves with the exit code. `contact` sends a test message; null = nobody is to be told. */
export async function evaluate(parts: CommandParts, memoryMb: number, service: URL | null, contact: ((signal: AbortSignal) => Promise<void>) | null): Promise<number> {
  const { clock, log, config, print } = parts;
  const [{ evaluate: run, describe }, { createMechanism }] = await Promise.all([import('./evaluate.ts'), import('./memory/index.ts')]);
  const ctx = { clock, log };
  const qemu = await qemuOf(config);
  const { findings, exit } = await run({ ctx, settings: config.node, mechanism: createMechanism(config.node, ctx), memoryMb, driver: config.driver, qemu, guestAddress: config.guestAddress, service, contact });
  print(describe(findings));
  return exit;
}

/** @throws PilotError badConfig when the agent's configuration is wrong */
async function qemuOf({ agentConfig }: PilotConfig): Promise<string> {
  const [{ readAgentConfig }, { qemuProgram }] = await Promise.all([import('../../control/agent/config.ts'), import('../../control/agent/drivers/qemu/index.ts')]);
  try {
    return qemuProgram(readAgentConfig(agentConfig ?? undefined).qemu);
  } catch (e) {
    throw new PilotError(EXIT.badConfig, (e as Error).message);
  }
}

function say({ print, log }: CommandParts, { done, failures }: Report, nothing: string): number {
  for (const line of done) log.info(line);
  for (const line of failures) log.error(line);
  for (const line of [...done, ...failures.map((f) => `FAILED: ${f}`)]) print(line);
  if (done.length + failures.length === 0) print(nothing);
  return failures.length === 0 ? EXIT.ok : EXIT.actionFailed;
}
