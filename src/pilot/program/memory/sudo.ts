/** Programs that need root: as they are, or through `sudo -n`, which never asks for a password. */
import type { Clock } from '../../../control/agent/clock.ts';
import { withDeadline } from '../deadline.ts';
import type { Finding } from '../types.ts';
import { findProgram, runCommand } from './command.ts';

const CHECK_MS = 10_000;

export const privileged = (sudo: string | null, argv: readonly string[]): readonly string[] => (sudo === null ? argv : [sudo, '-n', ...argv]);

/** Whether each command may be run; `sudo -l COMMAND` (sudo(8)) answers without running it. */
export async function checkPrograms(clock: Clock, sudo: string | null, commands: readonly (readonly string[])[]): Promise<readonly Finding[]> {
  const programs = [...new Set([...(sudo === null ? [] : [sudo]), ...commands.map(([program = '']) => program)])];
  const present = programs.map(checkPresent);
  if (sudo === null || present.some((f) => !f.ok)) return present;
  return [...present, ...(await Promise.all(commands.map((argv) => checkRule(clock, sudo, argv))))];
}

function checkPresent(program: string): Finding {
  const ok = findProgram(program) !== undefined;
  return ok ? { ok, what: `${program} can be run` } : { ok, what: `${program} cannot be run`, mend: 'install it, or correct its path in the configuration' };
}

async function checkRule(clock: Clock, sudo: string, argv: readonly string[]): Promise<Finding> {
  const command = argv.join(' ');
  try {
    await withDeadline(clock, CHECK_MS, (signal) => runCommand([sudo, '-n', '-l', ...argv], { clock, signal }));
    return { ok: true, what: `sudo allows "${command}"` };
  } catch {
    return {
      ok: false, what: `sudo does not allow "${command}" without a password`,
      mend: `as root, run visudo and add: ACCOUNT ALL=(root) NOPASSWD: ${argv[0] ?? ''}, with the account that pilots run under`,
    };
  }
}
