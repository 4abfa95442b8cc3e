/** Runs a client command to its end, with bounds of time and output. */
import { spawn } from 'node:child_process';
import { errorCode } from '../../platform/errors.ts';
import type { Ran } from './types.ts';

const DEADLINE_MS = 60_000;
const MOST_OUTPUT = 16 * 1024 * 1024;

/** This process's environment without what Slurm's commands take for options (`SQUEUE_FORMAT`, `SLURM_JOB_ID` …). */
export function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(SLURM|SBATCH|SALLOC|SRUN|SQUEUE|SINFO|SCANCEL|SCONTROL|PBS)/.test(name)));
}

export function run(argv: readonly string[], env: NodeJS.ProcessEnv, cwd: string, input = ''): Promise<Ran> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, stdio: 'pipe', timeout: DEADLINE_MS, killSignal: 'SIGKILL' });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let bytes = 0;
    const keep = (to: Buffer[]) => (data: Buffer): void => {
      bytes += data.length;
      if (bytes > MOST_OUTPUT) child.kill('SIGKILL');
      else to.push(data);
    };
    child.stdout.on('data', keep(out));
    child.stderr.on('data', keep(err));
    // A command may end without having read its input.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    child.once('error', (e) => reject(new Error(`${program} cannot be run: ${errorCode(e) ?? e.message}`, { cause: e })));
    child.once('close', (code) => {
      if (bytes > MOST_OUTPUT) reject(new Error(`${program} said more than ${MOST_OUTPUT} bytes`));
      else if (child.killed) reject(new Error(`${program} did not end within ${DEADLINE_MS} ms: ${Buffer.concat(err).toString().trim()}`));
      else resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
  });
}
