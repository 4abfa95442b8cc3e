/**
 * Runs a program of the node, as an argument vector, to the end of its process. That end is what is waited for: a child
 * that it left behind with its output open keeps nobody. When the time is over it gets SIGTERM, then SIGKILL, with its
 * process group. One that cannot be signalled (sudo runs as root) is left to itself, and `gone` tells its end: until
 * then what it was told may still happen.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import type { Clock, Timer } from '../../../control/agent/clock.ts';

const MAX_OUTPUT = 256 * 1024;
/** After SIGTERM, and once more after SIGKILL. */
const KILL_MS = 500;
/** What is still in the pipe when the process has ended arrives at once. */
const DRAIN_MS = 50;
const MAX_WORDS = 500;
const SYSTEM_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

export class CommandError extends Error {
  override readonly name = 'CommandError';
  /** `gone` is there when the process was still alive as this was thrown. */
  constructor(message: string, readonly gone?: Promise<void>) {
    super(message);
  }
}

export interface CommandOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** For its standard input. */
  readonly input?: string;
}

/** Standard output. @throws CommandError: not started, not 0, or not ended when `signal` fired */
export async function runCommand(argv: readonly string[], { clock, signal, input }: CommandOptions): Promise<string> {
  const [program = '', ...args] = argv;
  if (signal.aborted) throw new CommandError(`${program} was not started: the time was over`);
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'], cwd: '/', env: nodeEnvironment(),
    // A process group of its own: it can be ended with its children, and a signal to the pilot's does not break off a change.
    detached: true,
  });
  const output = collect(child);
  child.stdin?.on('error', () => undefined); // a program that does not read has closed its input; its status says the rest
  child.stdin?.end(input ?? '');
  const ended = endOf(child);
  const how = await untilEndOr(ended, child, clock, signal);
  if (how === null) throw new CommandError(`${program} did not end in time and cannot be ended; it may still take effect`, ended.then(() => undefined));
  await drained(child, clock);
  if (signal.aborted && how.status !== 0) throw new CommandError(`${program} did not end in time and was ended`);
  if (how.error !== null) throw new CommandError(`${program} cannot be run: ${how.error}`);
  if (how.status !== 0) throw new CommandError(`${describe(argv)} ended with ${how.signal ?? `status ${how.status}`}: ${lastWords(output)}`);
  return output.stdout;
}

interface End {
  readonly status: number | null;
  readonly signal: string | null;
  readonly error: string | null;
}

function endOf(child: ChildProcess): Promise<End> {
  return new Promise((resolve) => {
    child.once('exit', (status, signal) => resolve({ status, signal, error: null }));
    child.once('error', (e: NodeJS.ErrnoException) => resolve({ status: null, signal: null, error: e.code ?? e.message }));
  });
}

/** null when the process outlived `signal` and what followed it. */
async function untilEndOr(ended: Promise<End>, child: ChildProcess, clock: Clock, signal: AbortSignal): Promise<End | null> {
  let timer: Timer | undefined;
  let onAbort = (): void => undefined;
  const givenUp = new Promise<null>((resolve) => {
    onAbort = () => {
      signalGroup(child, 'SIGTERM');
      timer = clock.after(KILL_MS, () => {
        signalGroup(child, 'SIGKILL');
        timer = clock.after(KILL_MS, () => resolve(null));
      });
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([ended, givenUp]);
  } finally {
    timer?.cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Gone, or another user's: whoever waits sees which.
  }
}

function collect(child: ChildProcess): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      if (output[name].length < MAX_OUTPUT) output[name] = (output[name] + text).slice(0, MAX_OUTPUT);
    });
  }
  return output;
}

/** A grandchild may hold the pipes: they are closed on this side, and it is left alone. */
async function drained(child: ChildProcess, clock: Clock): Promise<void> {
  const streams = [child.stdout, child.stderr].filter((s) => s !== null);
  await new Promise<void>((resolve) => {
    const timer = clock.after(DRAIN_MS, resolve);
    let open = streams.filter((s) => !s.closed).length;
    const closed = (): void => {
      open -= 1;
      if (open > 0) return;
      timer.cancel();
      resolve();
    };
    if (open === 0) return closed();
    for (const stream of streams) if (!stream.closed) stream.once('close', closed);
  });
  for (const stream of streams) stream.destroy();
}

/** What programs of the node get of this process's own. */
export function nodeEnvironment(): NodeJS.ProcessEnv {
  const home = process.env['HOME'];
  return { PATH: searchPath().join(delimiter), LC_ALL: 'C', ...(home === undefined ? {} : { HOME: home }) };
}

const searchPath = (): string[] => [...new Set([...(process.env['PATH'] ?? '').split(delimiter).filter(isAbsolute), ...SYSTEM_PATH])];

/** The path of a program that can be run, or undefined. */
export function findProgram(program: string): string | undefined {
  const candidates = program.includes('/') ? [program] : searchPath().map((dir) => join(dir, program));
  return candidates.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** What a program said last, on one line. */
export function lastWords({ stdout, stderr }: { stdout: string; stderr: string }): string {
  const words = (stderr.trim() || stdout.trim()).slice(-MAX_WORDS).replace(/\s*\n\s*/g, '; ').replace(/[\x00-\x1f\x7f]/g, ' ');
  return words === '' ? 'it said nothing' : words;
}

const describe = (argv: readonly string[]): string => argv.join(' ').slice(0, MAX_WORDS);
