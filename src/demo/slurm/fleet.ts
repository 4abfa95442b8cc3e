/** The daemons of one private Slurm: munged, slurmctld, a slurmd for each node. */
import { join } from 'node:path';
import type { Clock } from '../../platform/context.ts';
import { sleep } from '../../platform/deadline.ts';
import { StartError } from '../../platform/errors.ts';
import { startDaemon, type Daemon, type DaemonPlan } from './daemon.ts';
import { processesOf } from './processes.ts';

export const CONTROLLER = 'slurmctld';
const MUNGED = 'munged';
const POLL_MS = 50;
const END_MS = 20_000;
/** How slurmctld and slurmd say that their port was taken. */
const TAKEN = /Address already in use/;

/** A daemon could not have the port that was free a moment ago. */
export class PortTaken extends StartError {}

export interface FleetPlan {
  readonly dir: string;
  readonly cluster: string;
  readonly nodes: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

export interface Fleet {
  /** munged has its socket when this resolves; the others may not answer yet. */
  start(names: readonly string[]): Promise<void>;
  stop(name: string): Promise<void>;
  kill(name: string): Promise<void>;
  /** Polls until `ready`. @throws StartError with its last words as soon as a daemon has ended, or at the deadline */
  until(what: string, deadlineMs: number, ready: () => Promise<string | true>): Promise<void>;
  /** Daemons, steps and jobs, all by SIGKILL. Resolves when none is left. */
  end(): Promise<void>;
}

export function createFleet(clock: Clock, plan: FleetPlan): Fleet {
  const daemons = new Map<string, Daemon>();
  const known = [MUNGED, CONTROLLER, ...plan.nodes];

  function find(name: string): Daemon {
    const daemon = daemons.get(name);
    if (daemon === undefined) throw new Error(known.includes(name) ? `${name} does not run` : `this Slurm has no daemon ${name}; it has ${known.join(', ')}`);
    return daemon;
  }

  async function start(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (!known.includes(name)) find(name);
      if (daemons.has(name)) throw new Error(`${name} runs already`);
    }
    await Promise.all(names.map(async (name) => void daemons.set(name, await startDaemon(clock, daemonPlan(plan, name)))));
  }

  async function remove(name: string, how: (daemon: Daemon) => Promise<void>): Promise<void> {
    await how(find(name));
    daemons.delete(name);
  }

  /** Said by whoever has ended without having been asked. */
  function failure(): StartError | undefined {
    const [ended] = [...daemons.values()].filter((d) => d.ended() !== null);
    if (ended === undefined) return undefined;
    const words = ended.lastWords();
    const text = `${ended.name} of the private Slurm ended (${ended.ended() ?? ''}) and said: ${words}`;
    return TAKEN.test(words) ? new PortTaken(text) : new StartError(text);
  }

  async function until(what: string, deadlineMs: number, ready: () => Promise<string | true>): Promise<void> {
    const deadline = clock.monotonic() + deadlineMs;
    for (;;) {
      const state = await ready();
      if (state === true) return;
      const failed = failure();
      if (failed !== undefined) throw failed;
      if (clock.monotonic() > deadline) {
        const words = [...daemons.values()].slice(0, 3).map((d) => `${d.name}: ${d.lastWords()}`).join('\n');
        throw new StartError(`${what} did not happen within ${deadlineMs} ms (${state}); the last words of the daemons:\n${words}`);
      }
      await sleep(clock, POLL_MS);
    }
  }

  async function end(): Promise<void> {
    // Who starts processes goes first; munged last, as the others complain loudly without it.
    for (const batch of [[CONTROLLER, ...plan.nodes], [MUNGED]]) {
      await Promise.all(batch.filter((name) => daemons.has(name)).map((name) => remove(name, (d) => d.kill())));
    }
    const deadline = clock.monotonic() + END_MS;
    for (let left = processesOf(plan); left.length > 0; left = processesOf(plan)) {
      if (clock.monotonic() > deadline) throw new Error(`processes ${left.join(', ')} of the private Slurm in ${plan.dir} cannot be ended`);
      left.forEach(killProcess);
      await sleep(clock, POLL_MS);
    }
  }

  return { start, stop: (name) => remove(name, (d) => d.stop()), kill: (name) => remove(name, (d) => d.kill()), until, end };
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile; whoever cannot be killed is found again by the next look.
  }
}

function daemonPlan({ dir, env }: FleetPlan, name: string): DaemonPlan {
  const common = { name, output: join(dir, 'log', `${name}.out`), cwd: dir, env };
  const conf = join(dir, 'slurm.conf');
  if (name === CONTROLLER) return { ...common, program: 'slurmctld', args: ['-D', '-f', conf] };
  if (name !== MUNGED) return { ...common, program: 'slurmd', args: ['-D', '-N', name, '-f', conf] };
  const run = join(dir, 'run');
  return {
    ...common,
    program: 'munged',
    args: [
      // --force: directories above may be writable by others, as in a test's temporary directory.
      '--foreground', '--force', '--num-threads=2', `--key-file=${join(dir, 'munge.key')}`, `--socket=${join(run, 'munge.socket')}`,
      `--pid-file=${join(run, 'munged.pid')}`, `--seed-file=${join(run, 'munge.seed')}`, `--log-file=${join(dir, 'log', 'munged.log')}`,
    ],
  };
}
