/** `nimbus wsrf start`, `shutdown`, `destroy`, `extend`, `done`: of workspaces, groups and ensembles, as the references say. */
import type { Command } from 'commander';
import { parseDuration } from '../../lease/duration.ts';
import { SERVICES } from '../../wsrf/wire/names.ts';
import type { CliDeps } from '../env.ts';
import { UsageError } from '../exit.ts';
import { date, time } from '../format.ts';
import { eachEpr, withCredentials } from './options.ts';
import { called, serviceOf } from './services.ts';

const KINDS: Readonly<Record<string, string>> = {
  normal: 'Normal', pause: 'Pause', reboot: 'Reboot', trash: 'Trash', serialize: 'Serialize', save: 'ReadyForTransport',
};

export function addWsrfChanges(wsrf: Command, deps: CliDeps): void {
  const change = (name: string, description: string, examples: string): Command =>
    withCredentials(wsrf.command(`${name} <eprs...>`)).description(description).addHelpText('after', `\nExamples:\n${examples}\nSeveral references: one after the other; each is reported, and none that fails\nkeeps the rest from being tried.`);

  change('start', 'start, or go on with, workspaces and groups', '  nimbus wsrf start vm.epr\n  nimbus wsrf start node-0 node-1')
    .action((eprs: string[], _o: unknown, command: Command) => eachEpr(command, deps, eprs, async (to, grid) => {
      await grid.call(serviceOf(to), 'start', to, {});
      return `${called(to)} is being started`;
    }));

  change('shutdown', 'shut down, pause, serialize, reboot or save workspaces and groups', '  nimbus wsrf shutdown vm.epr\n  nimbus wsrf shutdown nodes.epr --kind pause\n  nimbus wsrf shutdown vm.epr --kind serialize\n  nimbus wsrf shutdown vm.epr --kind save --target file:///my-image')
    .option('--kind <kind>', `one of ${Object.keys(KINDS).join(', ')}`, 'normal')
    .option('--target <url>', 'with save: where the disk goes; its last part is the image’s name')
    .action((eprs: string[], o: { kind: string; target?: string }, command: Command) => {
      const shutdownType = KINDS[o.kind];
      if (shutdownType === undefined) throw new UsageError(`"${o.kind}" is no kind of shutdown: ${Object.keys(KINDS).join(', ')}`);
      const input = { shutdownType, ...(o.target === undefined ? {} : { PostShutdown: { rootPartitionUnpropagationTarget: o.target } }) };
      return eachEpr(command, deps, eprs, async (to, grid) => {
        await grid.call(serviceOf(to), 'shutdown', to, input);
        return `${called(to)}: ${o.kind} has begun`;
      });
    });

  change('destroy', 'end workspaces, groups, ensembles and subscriptions', '  nimbus wsrf destroy vm.epr\n  nimbus wsrf destroy node-0 node-1 whole.epr')
    .action((eprs: string[], _o: unknown, command: Command) => eachEpr(command, deps, eprs, async (to, grid) => {
      await grid.call(serviceOf(to), 'Destroy', to, {});
      return `${called(to)} is destroyed`;
    }));

  change('extend', 'move the end of workspaces and subscriptions', '  nimbus wsrf extend vm.epr --for 2h\n  nimbus wsrf extend vm.epr --until 2026-12-01T18:00Z')
    .option('--for <duration>', 'counted from now: 90m, 2h, 1d12h')
    .option('--until <date>', 'at this time')
    .action((eprs: string[], o: { for?: string; until?: string }, command: Command) => {
      const end = newEnd(o, deps.clock.now());
      return eachEpr(command, deps, eprs, async (to, grid) => {
        const answer = await grid.call(serviceOf(to), 'SetTerminationTime', to, { RequestedTerminationTime: end });
        return `${called(to)} ends ${time(answer['NewTerminationTime'] as number | null)}`;
      });
    });

  change('done', 'start ensembles, of each all of its workspaces, or none', '  nimbus wsrf done whole.epr')
    .action((eprs: string[], _o: unknown, command: Command) => eachEpr(command, deps, eprs, async (to, grid) => {
      await grid.call(SERVICES.ensemble, 'done', to, {});
      return `${called(to)} is being started`;
    }));
}

function newEnd(o: { for?: string; until?: string }, now: number): number {
  if ((o.for === undefined) === (o.until === undefined)) throw new UsageError('say how long: --for DURATION or --until DATE');
  if (o.until !== undefined) return date(o.until);
  const seconds = parseDuration(o.for ?? '');
  if (seconds === undefined) throw new UsageError(`"${o.for ?? ''}" is no duration; write e.g. 90m, 2h or 1d12h`);
  return now + seconds * 1000;
}
