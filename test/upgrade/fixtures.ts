/** What a release leaves for the next one: its statements, and databases full of leases in both modes. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Statement } from '../../src/store/db.ts';

export const FIXTURES = fileURLToPath(new URL('../fixtures/upgrade/', import.meta.url));
export const STATEMENTS = join(FIXTURES, 'statements.json');
export const DATABASES = { greedy: join(FIXTURES, 'greedy.backup'), pilot: join(FIXTURES, 'pilot.backup') };
/** What the release said to its database after the backup was made: leases from their creation to their end. */
export const TRACES = { greedy: join(FIXTURES, 'greedy.trace.json'), pilot: join(FIXTURES, 'pilot.trace.json') };

export interface ReleaseStatements {
  readonly version: string;
  /** Migrations that the release knows. */
  readonly schema: readonly string[];
  readonly statements: ReadonlyArray<{ readonly name: string; readonly text: string }>;
}

export const STORE = fileURLToPath(new URL('../../src/store/', import.meta.url));

/** Every prepared statement of the store, by name. */
export async function statementsNow(): Promise<ReleaseStatements['statements']> {
  const found = new Map<string, string>();
  for (const file of readdirSync(STORE).filter((f) => f.endsWith('.ts')).sort()) {
    for (const value of Object.values(await import(join(STORE, file)) as Record<string, unknown>)) if (isStatement(value)) found.set(value.name, value.text);
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, text]) => ({ name, text }));
}

const isStatement = (value: unknown): value is Statement<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as Statement<unknown>).name === 'string' && typeof (value as Statement<unknown>).text === 'string';
