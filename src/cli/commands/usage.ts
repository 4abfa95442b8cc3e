import type { Command } from 'commander';
import type { UsageSinkView, UsageView } from '../../manager/admin-types.ts';
import { csv } from '../csv.ts';
import { envOf, type CliDeps } from '../env.ts';
import { UsageError } from '../exit.ts';
import { counted, left, since, time } from '../format.ts';
import { printable } from '../io.ts';

export function addUsageCommand(program: Command, deps: CliDeps): void {
  const usage = program.command('usage')
    .description('usage records: what leases used and are charged for')
    .option('--user <user>', 'of this user only')
    .option('--since <when>', 'leases that lived at or after: 7d (ago) or 2026-12-01')
    .option('--csv', 'comma-separated, one line a lease')
    .addHelpText('after', '\nExamples:\n  nimbus usage --user alice --since 30d\n  nimbus usage --since 2026-11-01 --csv > november.csv')
    .action(async (o: { user?: string; since?: string; csv?: boolean }, command: Command) => {
      const env = envOf(command, deps);
      if (o.csv === true && env.json) throw new UsageError('choose --json or --csv');
      const from = o.since === undefined ? undefined : String(since(o.since, env.clock.now()));
      const records = await env.client.get<UsageView[]>('/v1/usage', { user: o.user, since: from });
      if (o.csv === true) {
        env.io.out(usageCsv(records));
        return;
      }
      env.table(records, [
        { title: 'LEASE', value: (r) => r.lease },
        { title: 'USER', value: (r) => r.user, shrinks: true },
        { title: 'CREATED', value: (r) => time(r.createdAt) },
        { title: 'ENDED', value: (r) => time(r.endedAt) },
        { title: 'RESERVED', value: (r) => r.reservedMinutes },
        { title: 'CHARGED', value: (r) => r.chargedMinutes },
      ], 'There are no usage records.');
      if (!env.json && records.length > 0) env.io.out(totals(records));
    });
  sinksCommand(usage, deps);
}

function sinksCommand(usage: Command, deps: CliDeps): void {
  usage.command('sinks')
    .description('where usage events go: what waits, and what went wrong')
    .addHelpText('after', '\nExample:\n  nimbus usage sinks')
    .action(async (_o: unknown, command: Command) => {
      const env = envOf(command, deps);
      const sinks = await env.client.get<UsageSinkView[]>('/v1/usage/sinks');
      const now = env.clock.now();
      env.table(sinks, [
        { title: 'SINK', value: (s) => s.name, shrinks: true },
        { title: 'STATE', value: (s) => (!s.active ? 'not configured' : s.attempts > 0 ? `failing (${s.attempts})` : 'ok') },
        { title: 'WAITING', value: (s) => s.backlog },
        { title: 'DELIVERED', value: (s) => s.delivered },
        { title: 'DROPPED', value: (s) => s.dropped },
        { title: 'LAST', value: (s) => time(s.lastDeliveredAt) },
        { title: 'AGAIN IN', value: (s) => (s.attempts > 0 && s.active ? left(s.nextAt, now) : '-') },
      ], 'There are no accounting sinks. docs/policies.md says how to make one.');
      if (!env.json) for (const s of sinks) if (s.lastError !== null) env.io.err(`${printable(s.name)}: ${time(s.lastErrorAt)} ${printable(s.lastError)}\n`);
    });
}

function totals(records: readonly UsageView[]): string {
  const sum = (of: (r: UsageView) => number): number => records.reduce((n, r) => n + of(r), 0);
  return `\n${counted(records.length, 'lease')}, ${counted(sum((r) => r.chargedMinutes), 'minute')} charged, ${sum((r) => r.reservedMinutes)} reserved\n`;
}

const iso = (ms: number | null): string => (ms === null ? '' : new Date(ms).toISOString());

function usageCsv(records: readonly UsageView[]): string {
  return csv(
    ['lease', 'user', 'created_at', 'ended_at', 'nodes', 'memory_mb', 'cores', 'used_from', 'used_until', 'reserved_minutes', 'charged_minutes'],
    records.map((r) => {
      const [first, last] = [r.intervals[0], r.intervals.at(-1)];
      return [
        r.lease, r.user, iso(r.createdAt), iso(r.endedAt), [...new Set(r.intervals.map((i) => i.node))].join(' '),
        String(last?.memoryMb ?? ''), String(last?.cores ?? ''), iso(first?.start ?? null), iso(last?.stop ?? null),
        String(r.reservedMinutes), String(r.chargedMinutes),
      ];
    }),
  );
}
