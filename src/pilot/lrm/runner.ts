/** Runs a batch system's commands on this machine. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Clock } from '../../platform/context.ts';
import { errorCode, reasonText } from '../../platform/errors.ts';
import { LONGEST_OUTPUT, outputOf, type Output } from './output.ts';
import type { CommandResult, CommandRunner } from './types.ts';

/** From SIGTERM to SIGKILL of a command that is out of time; then what it left behind is no longer waited for. */
const TERM_MS = 1_000;
const KILL_MS = 1_000;

/** What the commands and the site's wrappers of them need; nothing else of the service's environment reaches them, or jobs. */
const KEPT = /^(?:PATH|HOME|USER|LOGNAME|SHELL|KRB5CCNAME|SLURM_CONF|PBS_(?:CONF_FILE|DEFAULT|EXEC|HOME|SERVER)|LD_LIBRARY_PATH|TZ)$/;

export function commandEnvironment(from: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  // What the commands say is parsed: no translations.
  return { ...Object.fromEntries(Object.entries(from).filter(([name]) => KEPT.test(name))), LC_ALL: 'C' };
}

/** @param env taken from this process's own, by `commandEnvironment` */
export function localRunner(clock: Clock, env: NodeJS.ProcessEnv): CommandRunner {
  return { run: (argv, options) => runHere(clock, env, argv, options) };
}

function runHere(clock: Clock, env: NodeJS.ProcessEnv, argv: readonly string[], options: { readonly input?: string; readonly timeoutMs: number }): Promise<CommandResult> {
  const [program = '', ...args] = argv;
  const started = clock.monotonic();
  return new Promise((resolve) => {
    const out = outputOf(LONGEST_OUTPUT);
    let failure: string | undefined;
    const done = (code: number | null, why: string | null): void => {
      for (const timer of timers) timer.cancel();
      resolve({ code, ...out.texts(), failure: code === null ? why : null, tookMs: clock.monotonic() - started });
    };
    const timers = [clock.after(options.timeoutMs, () => give(`${program} did not end within ${options.timeoutMs} ms`))];
    let child: ChildProcess;
    try {
      // A group of its own: a wrapper script's children end with it.
      child = spawn(program, args, { env, stdio: 'pipe', detached: true, cwd: '/' });
    } catch (e) {
      return done(null, `${program} cannot be run: ${reasonText(e)}`);
    }
    const give = (why: string): void => {
      if (failure !== undefined) return;
      failure = why;
      end(clock, child, timers, () => done(null, why));
    };
    collect(child, out, () => give(`${program} said more than ${LONGEST_OUTPUT / 1024 / 1024} MiB`));
    child.stdin?.end(options.input ?? '');
    child.once('error', (e) => done(null, `${program} cannot be run: ${errorCode(e) === 'ENOENT' ? 'there is no such program' : reasonText(e)}`));
    // Somebody it started may hold its output open: what was said by then has to do.
    child.once('exit', () => timers.push(clock.after(KILL_MS, () => { signal(child, 'SIGKILL'); child.stdout?.destroy(); child.stderr?.destroy(); })));
    child.once('close', (code, by) => done(failure === undefined ? code : null, failure ?? `${program} was ended by ${by ?? 'a signal'}`));
  });
}

function collect(child: ChildProcess, out: Output, tooMuch: () => void): void {
  child.stdout?.on('data', (data: Buffer) => { if (!out.stdout(data)) tooMuch(); });
  child.stderr?.on('data', (data: Buffer) => out.stderr(data));
  // A command may end without having read its input.
  child.stdin?.on('error', () => undefined);
}

function end(clock: Clock, child: ChildProcess, timers: Array<{ cancel(): void }>, givenUp: () => void): void {
  signal(child, 'SIGTERM');
  timers.push(clock.after(TERM_MS, () => {
    signal(child, 'SIGKILL');
    child.stdout?.destroy();
    child.stderr?.destroy();
    // Not even SIGKILL ends a process that hangs in the kernel, on a dead file server.
    timers.push(clock.after(KILL_MS, () => { child.unref(); givenUp(); }));
  }));
}

function signal(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, name);
  } catch {
    // Gone, or another account's, as what sudo runs is: then it is given up when the time for its end is over.
  }
}
