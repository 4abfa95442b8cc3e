/**
 * An agent in this process: holds a state directory and serves whoever is brought to it. `workspace-control serve` is one
 * (serve.ts), a pilot that has borrowed a node contains one.
 */
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory } from '../../platform/make-directory.ts';
import type { Agent, AgentOptions } from './agent.ts';
import type { Driver } from './driver.ts';
import { chooseDriver, createDriver } from './drivers/index.ts';
import { EXIT, Exit } from './exit.ts';
import { AgentFault } from './fault.ts';
import { noteHolder } from './holder.ts';
import { tryLock } from './lock.ts';
import type { Lock } from './lock.ts';
import { fileLog } from './log.ts';
import type { Log } from './log.ts';
import { Master } from './master.ts';
import { Records } from './records.ts';
import { openSharedDir } from './shared-images.ts';

export type { Agent, AgentOptions } from './agent.ts';

/** @throws Exit when the directory cannot be used, another process holds it, or the configuration is wrong for the driver */
export async function openAgent(options: AgentOptions): Promise<Agent> {
  const agent = await tryOpenAgent(options);
  if (agent === undefined) throw new Exit(EXIT.environment, `another agent holds ${options.stateDir}; end it first`);
  return agent;
}

/** undefined when another process holds the directory. */
export async function tryOpenAgent(options: AgentOptions): Promise<Agent | undefined> {
  const { stateDir } = options;
  openStateDir(stateDir);
  const lock = await tryLock(stateDir, () => randomBytes(16).toString('hex'));
  return lock === undefined ? undefined : hold(options, lock);
}

async function hold(options: AgentOptions, lock: Lock): Promise<Agent> {
  const { stateDir, config, clock, persistent, onRelease } = options;
  noteHolder(stateDir, options.inJob === true);
  try {
    const log = options.log ?? fileLog(join(stateDir, 'agent.log'), clock);
    const records = new Records(join(stateDir, 'leases.journal'), clock, log);
    const sharedDir = options.sharedDir === undefined ? undefined : openSharedDir(options.sharedDir, log);
    const master = new Master({
      stateDir, config, driver: driverFor(options, records, log, sharedDir), sharedDir, records, lock, clock, log,
      persistent: persistent === true, ...(onRelease === undefined ? {} : { onRelease }),
    });
    await master.start();
    return master;
  } catch (e) {
    await lock.release();
    throw e;
  }
}

function driverFor({ stateDir, driver: choice, config, clock, inJob }: AgentOptions, records: Records, log: Log, sharedDir: string | undefined): Driver {
  const recorded = records.live().find((r) => r.driver !== null)?.driver ?? undefined;
  const name = chooseDriver(choice, recorded);
  if (recorded !== undefined && recorded !== name) {
    throw new Exit(EXIT.environment, `${stateDir} holds VMs of the driver ${recorded}; start with --driver ${recorded}, or remove them first`);
  }
  try {
    return createDriver(name, { clock, log, config, stateDir, sharedDir, inJob: inJob === true });
  } catch (e) {
    throw e instanceof AgentFault && e.code === 'BadRequest' ? new Exit(EXIT.configuration, e.message) : e;
  }
}

/** The directory is the agent's alone: who can write in it can make VMs do anything. */
function openStateDir(dir: string): void {
  try {
    makeDirectory(dir, 0o700);
  } catch (e) {
    throw new Exit(EXIT.environment, `${dir} cannot be made: ${(e as Error).message}`);
  }
  const { uid, mode } = statSync(dir);
  if (uid !== process.getuid?.()) throw new Exit(EXIT.environment, `${dir} belongs to user ${uid}, this program runs as ${String(process.getuid?.())}`);
  if ((mode & 0o022) !== 0) throw new Exit(EXIT.environment, `${dir} can be written by others; run: chmod go-w ${dir}`);
}
