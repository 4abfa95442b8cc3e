/** Commands that must succeed, for what an adapter asks once. */
import { printable } from './outside.ts';
import type { CommandResult, CommandRunner } from './types.ts';

/** What went wrong, in the command's own words. */
export function complaint(program: string, ran: CommandResult): string {
  if (ran.failure !== null) return ran.failure;
  const words = printable(ran.stderr) ?? printable(ran.stdout);
  return `${program} ended with code ${ran.code ?? 'none'}${words === null ? ' and said nothing' : `: ${words}`}`;
}

/** What it printed. @throws Error with a sentence */
export async function ask(runner: CommandRunner, argv: readonly string[], timeoutMs: number): Promise<string> {
  const ran = await runner.run(argv, { timeoutMs });
  if (ran.code !== 0) throw new Error(complaint(argv[0] ?? '', ran));
  return ran.stdout;
}

/** The answer is asked for once and kept; a failure is not kept. */
export function once<T>(work: () => Promise<T>): () => Promise<T> {
  let kept: Promise<T> | undefined;
  return () => {
    if (kept !== undefined) return kept;
    const asked = work();
    kept = asked;
    asked.catch(() => { kept = undefined; });
    return asked;
  };
}
