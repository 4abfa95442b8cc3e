/** What tests of the adapters share. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLrm } from '../../../src/pilot/lrm/index.ts';
import type { CommandResult, CommandRunner, JobRequest, Listing, Lrm } from '../../../src/pilot/lrm/types.ts';
import { parseConfig } from '../../../src/platform/config.ts';

export const fixture = (name: string): string => readFileSync(join(import.meta.dirname, '../../fixtures/lrm', name), 'utf8');

export const ran = (stdout: string, code: number | null = 0, stderr = ''): CommandResult => ({ code, stdout, stderr, failure: code === null ? 'it was killed' : null, tookMs: 1 });

export interface Call {
  readonly argv: readonly string[];
  readonly input: string | undefined;
}

/** Commands that answer from a table: the first entry whose words begin the argv (or stand in it, for `env …`). */
export function tableRunner(answers: ReadonlyArray<readonly [string, CommandResult]>): CommandRunner & { readonly calls: Call[] } {
  const calls: Call[] = [];
  return {
    calls,
    run(argv, { input }) {
      calls.push({ argv, input });
      const found = answers.find(([words]) => argv.join(' ').includes(words));
      return Promise.resolve(found?.[1] ?? ran('', 127, `${argv[0] ?? ''}: not found`));
    },
  };
}

export function lrmOf(runner: CommandRunner, toml: string): Lrm {
  return createLrm(parseConfig(toml, 'test.toml'), runner);
}

export const part = (nodes: number, more: Partial<JobRequest['parts'][number]> = {}): JobRequest['parts'][number] =>
  ({ nodes, cores: 2, memoryMb: 256, argv: ['/opt/pilot', '--slotid', 'sl-00000000abcd', '--credentials', '-'], ...more });

export const jobRequest = (more: Partial<JobRequest> = {}): JobRequest =>
  ({ slotId: 'sl-00000000abcd', parts: [part(1)], walltimeS: 3_780, account: null, credentials: '{"secret":"s3cr3t"}', ...more });

export async function listed(lrm: Lrm): Promise<Listing & { kind: 'listing' }> {
  const listing = await lrm.list();
  if (listing.kind !== 'listing') throw new Error(`no listing: ${listing.reason}`);
  return listing;
}
