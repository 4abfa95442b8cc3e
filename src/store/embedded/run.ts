/** Runs one of PostgreSQL's programs to its end. */
import { spawn } from 'node:child_process';
import { errorCode } from '../../platform/errors.ts';
import type { Identity } from './identity.ts';

/** What is kept of a program's output, from its end. */
const KEPT = 8192;

export interface RunOptions {
  readonly identity: Identity | null;
  readonly deadlineMs: number;
  /** Open directories, which the program finds as `/proc/self/fd/3` and up. */
  readonly descriptors?: readonly number[];
}

/** Nothing of the service's own environment (PGDATA, PGHOST, LC_ALL …) reaches PostgreSQL. */
export const PROGRAM_ENV = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' } as const;

/** The program's last output. Rejects when it cannot be run, fails or takes too long. */
export function run(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], {
      cwd: '/',
      env: PROGRAM_ENV,
      stdio: ['ignore', 'pipe', 'pipe', ...(options.descriptors ?? [])],
      timeout: options.deadlineMs,
      killSignal: 'SIGKILL',
      ...options.identity,
    });
    let output = '';
    const keep = (data: Buffer): void => { output = (output + data.toString()).slice(-KEPT); };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    child.once('error', (e) => reject(new Error(`${program} cannot be run: ${errorCode(e) ?? e.message}`, { cause: e })));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${program} ${signal === null ? `failed with exit code ${code}` : `was ended by ${signal}`}: ${output.trim()}`));
    });
  });
}
