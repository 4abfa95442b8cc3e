/** The programs of the node that the driver runs. */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { AgentFault } from '../../fault.ts';

export interface Programs {
  readonly qemu: string;
  readonly qemuImg: string;
  readonly ip: string;
  /** util-linux: sets the limits of a process. */
  readonly prlimit: string;
  /** coreutils: has signals ignored or blocked. */
  readonly env: string;
  /** util-linux: has a process end with its parent. */
  readonly setpriv: string;
}

/** Where distributions keep them; the agent's own PATH, which SSH may leave empty, is not asked. */
const DIRECTORIES = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/libexec'];
const NAMES: { readonly [P in keyof Programs]: readonly string[] } = {
  qemu: ['qemu-system-x86_64', 'qemu-kvm'],
  qemuImg: ['qemu-img'],
  ip: ['ip'],
  prlimit: ['prlimit'],
  env: ['env'],
  setpriv: ['setpriv'],
};
const MAX_OUTPUT = 64 * 1024;

/** Paths given by the administrator, and for the rest the ones found; a program that is nowhere keeps its bare name. */
export function findPrograms(given: Partial<Programs>): Programs {
  const find = (names: readonly string[]): string =>
    DIRECTORIES.flatMap((dir) => names.map((name) => join(dir, name))).find(isExecutable) ?? names[0] ?? '';
  return {
    qemu: given.qemu ?? find(NAMES.qemu),
    qemuImg: given.qemuImg ?? find(NAMES.qemuImg),
    ip: given.ip ?? find(NAMES.ip),
    prlimit: given.prlimit ?? find(NAMES.prlimit),
    env: given.env ?? find(NAMES.env),
    setpriv: given.setpriv ?? find(NAMES.setpriv),
  };
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export interface RunOptions {
  readonly ms: number;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
}

/** Runs a program to its end; its standard output. Rejects with AgentFault, whose message ends with what the program said. */
export function run(program: string, args: readonly string[], { ms, cwd, signal }: RunOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: ms, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT, ...(cwd === undefined ? {} : { cwd }), ...(signal === undefined ? {} : { signal }) } as const;
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const why = error.killed === true ? `did not end within ${ms} ms` : lastWords(stderr) || error.message;
      reject(new AgentFault(/No space left|quota/i.test(stderr) ? 'DiskFull' : 'DriverFailed', `${program}: ${why}`, { cause: error }));
    });
  });
}

/** The end of what a program said, in one line. */
export const lastWords = (stderr: string): string => stderr.trim().slice(-500).replace(/\s*\n\s*/g, '; ');
