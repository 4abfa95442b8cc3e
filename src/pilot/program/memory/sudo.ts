/**
 * How a program that needs root is run: as it is, or through `sudo -n`, which never asks for a password. `become` is what
 * stands before the program. Root that gives back what a user's pilot took goes the user's way: it can do no more than
 * sudo lets that user do, whatever a file of the user's says.
 */
import type { Clock } from '../../../control/agent/clock.ts';
import { withDeadline } from '../deadline.ts';
import { EXIT } from '../stages.ts';
import { PilotError } from '../types.ts';
import type { Finding } from '../types.ts';
import { findProgram, runCommand } from './command.ts';

const CHECK_MS = 10_000;

/** @throws PilotError actionFailed: `owner` has no way to change the memory of the host */
export function becomeRoot(sudo: string | null, uid: number, owner: number): readonly string[] {
  if (uid === owner) return uid === 0 || sudo === null ? [] : [sudo, '-n'];
  if (sudo !== null) return [sudo, '-n', '-u', `#${owner}`, '--', sudo, '-n'];
  throw new PilotError(EXIT.actionFailed, `user ${owner} cannot have changed the memory of this host without sudo, and xmsudo is off`);
}

/** Whether each command may be run; `sudo -l COMMAND` (sudo(8)) answers without running it. */
export async function checkPrograms(clock: Clock, become: readonly string[], commands: readonly (readonly string[])[]): Promise<readonly Finding[]> {
  const programs = [...new Set([...become.slice(0, 1), ...commands.map(([program = '']) => program)])];
  const present = programs.map(checkPresent);
  if (become.length === 0 || present.some((f) => !f.ok)) return present;
  return [...present, ...(await Promise.all(commands.map((argv) => checkRule(clock, become, argv))))];
}

function checkPresent(program: string): Finding {
  const ok = findProgram(program) !== undefined;
  return ok ? { ok, what: `${program} can be run` } : { ok, what: `${program} cannot be run`, mend: 'install it, or correct its path in the configuration' };
}

async function checkRule(clock: Clock, become: readonly string[], argv: readonly string[]): Promise<Finding> {
  const command = argv.join(' ');
  try {
    await withDeadline(clock, CHECK_MS, (signal) => runCommand([...become, '-l', ...argv], { clock, signal }));
    return { ok: true, what: `sudo allows "${command}"` };
  } catch {
    return {
      ok: false, what: `sudo does not allow "${command}" without a password`,
      mend: `as root, run visudo and add: ACCOUNT ALL=(root) NOPASSWD: ${argv[0] ?? ''}, with the account that pilots run under`,
    };
  }
}
