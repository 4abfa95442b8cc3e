/** One daemon of a private Slurm, as a child in the foreground: started, ended in order or killed, and its last words. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import type { Clock } from '../../platform/context.ts';
import { DeadlineExceeded, withDeadline } from '../../platform/deadline.ts';
import { errorCode, StartError } from '../../platform/errors.ts';
import { findProgram, type Program } from './programs.ts';

const STOP_MS = 10_000;
const KILLED_MS = 10_000;
const TAIL_BYTES = 1_500;

export interface DaemonPlan {
  /** For messages: `slurmctld`, `munged` or the node. */
  readonly name: string;
  readonly program: Program;
  readonly args: readonly string[];
  /** What it says from its first moment on, before it has read where its log is. */
  readonly output: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

export interface Daemon {
  readonly name: string;
  /** How it ended; null while it runs. */
  ended(): string | null;
  /** SIGTERM, and SIGKILL when that takes too long. Resolves when it has ended. */
  stop(): Promise<void>;
  kill(): Promise<void>;
  /** The end of its output. */
  lastWords(): string;
}

/**
 * In a session of its own, so that Ctrl-C does not reach it first. `setpriv` asks the kernel to end it when this process
 * dies without having stopped it (prctl(2), PR_SET_PDEATHSIG), then becomes the daemon.
 */
export async function startDaemon(clock: Clock, plan: DaemonPlan): Promise<Daemon> {
  const output = openSync(plan.output, 'a', 0o600);
  const child = spawn(findProgram('setpriv'), ['--pdeathsig', 'KILL', findProgram(plan.program), ...plan.args], {
    cwd: plan.cwd, env: plan.env, detached: true, stdio: ['ignore', output, output],
  });
  closeSync(output);
  const exit = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (e) => reject(new StartError(`${plan.program} cannot be run: ${errorCode(e) ?? e.message}`, { cause: e })));
  });
  // By itself it is no reason for this process to stay.
  child.unref();
  const kill = (): Promise<void> => {
    signalGroup(child, 'SIGKILL');
    return withDeadline(clock, KILLED_MS, `the end of ${plan.name}`, exit);
  };
  return {
    name: plan.name,
    ended: () => child.signalCode ?? (child.exitCode === null ? null : `exit code ${child.exitCode}`),
    lastWords: () => tail(plan.output),
    kill,
    async stop() {
      signalGroup(child, 'SIGTERM');
      try {
        await withDeadline(clock, STOP_MS, `the stop of ${plan.name}`, exit);
      } catch (e) {
        if (!(e instanceof DeadlineExceeded)) throw e;
        await kill();
      }
    },
  };
}

/** The group holds the daemon's helpers (slurmctld's slurmscriptd), but no step of a job: those have their own. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch (e) {
    if (errorCode(e) !== 'ESRCH') throw e;
  }
}

function tail(file: string): string {
  if (!existsSync(file)) return '';
  const fd = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(TAIL_BYTES);
    const read = readSync(fd, buffer, 0, TAIL_BYTES, Math.max(0, fstatSync(fd).size - TAIL_BYTES));
    return buffer.toString('utf8', 0, read).trim();
  } finally {
    closeSync(fd);
  }
}
