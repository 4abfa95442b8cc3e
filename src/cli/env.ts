/** What every command gets. */
import type { Command } from 'commander';
import { isFault } from '../lease/faults.ts';
import { ConfigError } from '../platform/config.ts';
import type { Clock } from '../platform/context.ts';
import { StartError } from '../platform/errors.ts';
import { createAdminClient, type AdminClient } from './client.ts';
import { Refused, SomeFailed, Unreachable, UsageError } from './exit.ts';
import { printable, type Io } from './io.ts';
import type { KeyRotation, RotationOptions } from './key-rotation.ts';
import type { NodeInstaller } from './node-installer.ts';
import type { WithoutService } from './without-service.ts';
import { renderTable, type Column } from './table.ts';

export interface ServeOptions {
  readonly config: string | undefined;
  readonly data: string;
  readonly readyFile: string | undefined;
}

export interface CliDeps {
  readonly io: Io;
  readonly clock: Clock;
  /** Times the waiting for the service's answers; the real one unless a test gives its own. */
  readonly connectionClock?: Clock;
  /** Told the version of each service that answers. */
  readonly answered?: (version: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Runs the service until it is told to stop. */
  readonly serve: (options: ServeOptions) => Promise<void>;
  readonly installer: NodeInstaller;
  readonly keyRotation: (options: RotationOptions) => Promise<KeyRotation>;
  /** What commands do themselves where no service runs. */
  readonly withoutService: WithoutService;
}

export interface Env extends CliDeps {
  readonly client: AdminClient;
  readonly dataDir: string;
  readonly json: boolean;
  /** A list: JSON as it came, or a table; `empty` is said where there is nothing. */
  table<Row>(rows: readonly Row[], columns: readonly Column<Row>[], empty: string): void;
  /** A result: JSON as it came, or sentences. */
  say(result: unknown, text: string): void;
}

const DEFAULT_DATA = './nimbus-data';

export function dataDirOf(command: Command, env: CliDeps['env']): string {
  const { data } = command.optsWithGlobals<{ data?: string }>();
  return data ?? (env['NIMBUS_DATA'] || DEFAULT_DATA);
}

export function envOf(command: Command, deps: CliDeps): Env {
  const json = command.optsWithGlobals<{ json?: boolean }>().json === true;
  const dataDir = dataDirOf(command, deps.env);
  const print = (value: unknown): void => deps.io.out(`${JSON.stringify(value, null, 2)}\n`);
  return {
    ...deps, dataDir, json,
    client: createAdminClient(dataDir, deps.connectionClock, deps.answered),
    table: (rows, columns, empty) => {
      if (json) print(rows);
      else deps.io.out(rows.length === 0 ? `${empty}\n` : renderTable(rows, columns, deps.io.width));
    },
    say: (result, text) => {
      if (json) print(result);
      else deps.io.out(text.endsWith('\n') ? text : `${text}\n`);
    },
  };
}

/**
 * One item after the other, each reported, none stopping the rest. Unreachable stops all, as the others would meet the same: what had no
 * answer, and what was not tried, is said.
 */
export async function each<T>(env: Env, items: readonly string[], act: (item: string, place: number) => Promise<T>, done: (result: T, item: string, place: number) => string): Promise<void> {
  const report: object[] = [];
  let failed = 0;
  for (const [place, item] of items.entries()) {
    try {
      const result = await act(item, place);
      report.push({ item, ok: true, result: result ?? null });
      if (!env.json) env.io.out(`${printable(done(result, item, place))}\n`);
    } catch (e) {
      if (e instanceof Unreachable) {
        sayUntried(env, report, e, items.slice(place));
        throw e;
      }
      failed += 1;
      report.push({ item, ok: false, error: asJson(e) });
      if (!env.json) env.io.err(`${printable(item)}: ${refusal(e)}`);
    }
  }
  if (env.json) env.say(report, '');
  if (failed > 0) throw new SomeFailed(`${failed} of ${items.length} failed`);
}

/** Of one item, or of none that began, the failure says everything. */
function sayUntried(env: Env, report: readonly object[], e: Unreachable, [first = '', ...others]: readonly string[]): void {
  if (report.length === 0 && (e.absent || others.length === 0)) return;
  const untried = e.absent ? [first, ...others] : others;
  if (env.json) {
    const unanswered = e.absent ? [] : [{ item: first, ok: false, error: asJson(e) }];
    env.say([...report, ...unanswered, ...untried.map((item) => ({ item, ok: false, error: NOT_TRIED }))], '');
    return;
  }
  if (!e.absent) env.io.err(`${printable(first)}: no answer; it may be done or not\n`);
  for (const item of untried) env.io.err(`${printable(item)}: not tried\n`);
}

const NOT_TRIED = { code: 'NotTried', message: 'not tried, as the service was out of reach by then', reasons: [] };

/** Codes that no answer of the service has. */
const OF_THE_COMMAND = [[Unreachable, 'Unreachable'], [UsageError, 'Usage'], [ConfigError, 'Config'], [StartError, 'Start']] as const;

export function asJson(e: unknown): { code: string; message: string; reasons: readonly string[] } {
  if (e instanceof Refused || isFault(e)) return { code: e.code, message: e.message, reasons: e.reasons };
  const code = OF_THE_COMMAND.find(([kind]) => e instanceof kind)?.[1] ?? 'Failed';
  return { code, message: e instanceof Error ? e.message : String(e), reasons: [] };
}

/** Sentence and reasons, each on its own line. */
export function refusal(e: unknown): string {
  const { code, message, reasons } = asJson(e);
  const head = e instanceof Refused || isFault(e) ? `${printable(message)} (${code})` : printable(message);
  return `${[head, ...reasons.map((r) => `  ${printable(r)}`)].join('\n')}\n`;
}
