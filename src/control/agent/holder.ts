/** Which process holds a state directory: written by the agent that has got the lock, read by who waits for it in vain. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT, Exit } from './exit.ts';

const NAME = 'agent.pid';

/**
 * For people only: the lock is what counts, and an agent on a full disk goes on without the note.
 * @param inJob part of a pilot, with which its VMs end
 */
export function noteHolder(stateDir: string, inJob: boolean): void {
  try {
    writeFileSync(join(stateDir, NAME), `${process.pid}${inJob ? ' pilot' : ''}\n`, { mode: 0o600 });
  } catch {
    // The sentence will not name a process.
  }
}

/** @param how it fails to answer, as a clause */
export function hangs(stateDir: string, how: string): string {
  const { pid, pilot } = holder(stateDir);
  const who = `the ${pilot ? 'pilot' : 'agent'} that holds ${stateDir}${pid === undefined ? '' : ` (pid ${pid})`}`;
  return `${who} ${how}; if it hangs, ${pilot ? 'end its job' : `end it, VMs run on: kill -9 ${pid ?? 'its process'}`}`;
}

export const hangsExit = (stateDir: string, how: string): Exit => new Exit(EXIT.environment, hangs(stateDir, how));

function holder(stateDir: string): { readonly pid: string | undefined; readonly pilot: boolean } {
  try {
    const [, pid, pilot] = /^([1-9][0-9]{0,9})( pilot)?$/.exec(readFileSync(join(stateDir, NAME), 'utf8').trim()) ?? [];
    return { pid, pilot: pilot !== undefined };
  } catch {
    return { pid: undefined, pilot: false };
  }
}
