/** What runs on this machine, from /proc: tests assert that nothing of theirs is left. */
import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessLine {
  readonly pid: number;
  readonly argv: string;
}

/** Processes whose command line mentions `text`, this one apart. */
export function processesWith(text: string): ProcessLine[] {
  return readdirSync('/proc').filter((d) => /^\d+$/.test(d) && Number(d) !== process.pid).flatMap((d) => {
    try {
      const argv = readFileSync(`/proc/${d}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return argv.includes(text) ? [{ pid: Number(d), argv }] : [];
    } catch {
      return []; // It ended meanwhile.
    }
  });
}

/** For processes that were found and come and go by themselves: one that has ended meanwhile is past it. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ESRCH') throw e;
  }
}
