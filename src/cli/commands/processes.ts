import type { Command } from 'commander';
import { formatDuration } from '../../lease/duration.ts';
import type { ProcessView } from '../../manager/processes.ts';
import { envOf, type CliDeps } from '../env.ts';
import { time } from '../format.ts';
import { renderTable } from '../table.ts';

/** Clocks further apart than this make leases end early or late. */
const CLOCK_MS = 1_000;

export function addProcessesCommand(program: Command, deps: CliDeps): void {
  program.command('processes')
    .description('the services that share the database: which live, what each has claimed')
    .addHelpText('after', '\nExamples:\n  nimbus processes\n  nimbus processes --json')
    .action(async (_o: unknown, command: Command) => {
      const env = envOf(command, deps);
      const all = await env.client.get<ProcessView[]>('/v1/processes');
      env.table(all, [
        { title: 'ID', value: (p) => p.id },
        { title: 'STATE', value: (p) => (p.self ? `${p.state}, this` : p.state) },
        { title: 'HEARD', value: heard },
        { title: 'VERSION', value: (p) => p.version },
        { title: 'HOST', value: (p) => p.host, shrinks: true },
        { title: 'PID', value: (p) => p.pid },
        { title: 'NODES', value: (p) => p.nodes },
        { title: 'WORK', value: (p) => p.intents },
        { title: 'DUTIES', value: (p) => p.duties.join(', ') || '-' },
      ], 'No service is on the database.');
      // In one table, a terminal of 80 columns left six letters to an address.
      if (!env.json && all.length > 0) {
        env.io.out(`\n${renderTable(all, [
          { title: 'ID', value: (p) => p.id },
          { title: 'EC2', value: (p) => p.ec2 ?? '-', shrinks: true },
          { title: 'DATA', value: (p) => p.dataDir, shrinks: true },
        ], env.io.width)}`);
      }
      for (const p of all) {
        if (p.endedAt === null && Math.abs(p.clockOffsetMs) > CLOCK_MS) env.io.err(`the clock of process ${p.id} on ${p.host} is ${(p.clockOffsetMs / 1000).toFixed(1)} s off the database's\n`);
      }
    });
}

function heard(p: ProcessView): string {
  if (p.endedAt !== null) return time(p.endedAt);
  return p.silentMs < 1_000 ? 'now' : `${formatDuration(Math.floor(p.silentMs / 1000))} ago`;
}
