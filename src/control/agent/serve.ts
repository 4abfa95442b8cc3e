/** `workspace-control serve`: hold the state directory, or pass the stream on to the agent that does. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { VERSION } from '../../platform/version.ts';
import { sleep } from './clock.ts';
import type { Clock } from './clock.ts';
import type { AgentConfig } from './config.ts';
import type { Peer } from './connection.ts';
import type { Driver } from './driver.ts';
import { chooseDriver, createDriver } from './drivers/index.ts';
import type { DriverChoice } from './drivers/index.ts';
import { EXIT, Exit } from './exit.ts';
import { AgentFault } from './fault.ts';
import { tryLock } from './lock.ts';
import type { Lock } from './lock.ts';
import { fileLog } from './log.ts';
import type { Log } from './log.ts';
import { Master } from './master.ts';
import { Records } from './records.ts';
import { readGreeting, relay, takeOver } from './relay.ts';
import { connectTo } from './socket.ts';
import { isNewer } from './versions.ts';

/** An older agent finishes what runs before it goes; one that was just killed may hold its socket a moment longer. */
const TAKE_OVER_MS = 120_000;
const RETRY_MS = 20;

export interface ServeOptions {
  readonly stateDir: string;
  readonly driver: DriverChoice;
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly peer: Peer;
  /** Called with how to end it, when this process holds the directory. */
  readonly onMaster?: (stop: (why: string) => Promise<void>) => void;
}

export async function serve(options: ServeOptions): Promise<void> {
  const { stateDir, clock, peer } = options;
  openStateDir(stateDir);
  const deadline = clock.monotonic() + TAKE_OVER_MS;
  for (;;) {
    const lock = await tryLock(stateDir, () => randomBytes(16).toString('hex'));
    if (lock !== undefined) return hold(options, lock);
    const socket = await connectTo(stateDir);
    const left = deadline - clock.monotonic();
    if (left <= 0) throw new Exit(EXIT.environment, `the agent that holds ${stateDir} does not answer`);
    if (socket !== undefined) {
      const greeting = await readGreeting(clock, socket);
      if (greeting.version === undefined) socket.destroy();
      else if (isNewer(VERSION, greeting.version)) await takeOver(clock, socket, VERSION, greeting.version, left);
      else return relay(socket, greeting, peer);
    }
    await sleep(clock, RETRY_MS);
  }
}

async function hold(options: ServeOptions, lock: Lock): Promise<void> {
  const { stateDir, config, clock, peer, onMaster } = options;
  const log = fileLog(join(stateDir, 'agent.log'), clock);
  let master: Master;
  try {
    const records = new Records(join(stateDir, 'leases.journal'), clock, log);
    master = new Master({ stateDir, config, driver: driverFor(options, records, log), records, lock, clock, log });
    await master.start();
  } catch (e) {
    await lock.release();
    throw e;
  }
  onMaster?.((why) => master.stop(why));
  master.serve(peer);
  await master.over;
}

function driverFor({ stateDir, driver: choice, config, clock }: ServeOptions, records: Records, log: Log): Driver {
  const recorded = records.live().find((r) => r.driver !== null)?.driver ?? undefined;
  const name = chooseDriver(choice, recorded);
  if (recorded !== undefined && recorded !== name) {
    throw new Exit(EXIT.environment, `${stateDir} holds VMs of the driver ${recorded}; start with --driver ${recorded}, or remove them first`);
  }
  try {
    return createDriver(name, { clock, log, config, stateDir });
  } catch (e) {
    throw e instanceof AgentFault && e.code === 'BadRequest' ? new Exit(EXIT.configuration, e.message) : e;
  }
}

/** The directory is the agent's alone: who can write in it can make VMs do anything. */
function openStateDir(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (e) {
    throw new Exit(EXIT.environment, `${dir} cannot be made: ${(e as Error).message}`);
  }
  const { uid, mode } = statSync(dir);
  if (uid !== process.getuid?.()) throw new Exit(EXIT.environment, `${dir} belongs to user ${uid}, this program runs as ${String(process.getuid?.())}`);
  if ((mode & 0o022) !== 0) throw new Exit(EXIT.environment, `${dir} can be written by others; run: chmod go-w ${dir}`);
}
