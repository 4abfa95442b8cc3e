/** `nimbus wsrf start`, `shutdown`, `destroy`, `extend`, `done`: of a workspace, a group or an ensemble, as the reference says. */
import type { Command } from 'commander';
import { parseDuration } from '../../lease/duration.ts';
import type { SoapObject } from '../../soap/schema/codec.ts';
import { SERVICES } from '../../wsrf/wire/names.ts';
import type { CliDeps } from '../env.ts';
import { UsageError } from '../exit.ts';
import { date, time } from '../format.ts';
import { open, withCredentials } from './options.ts';
import { called, readEpr, serviceOf } from './services.ts';

const KINDS: Readonly<Record<string, string>> = {
  normal: 'Normal', pause: 'Pause', reboot: 'Reboot', trash: 'Trash', serialize: 'Serialize', save: 'ReadyForTransport',
};

export function addWsrfChanges(wsrf: Command, deps: CliDeps): void {
  const change = (name: string, description: string, examples: string): Command =>
    withCredentials(wsrf.command(`${name} <epr>`)).description(description).addHelpText('after', `\nExamples:\n${examples}`);

  change('start', 'start, or go on with, a workspace or a group', '  nimbus wsrf start vm.epr').action(async (epr: string, _o: unknown, command: Command) => {
    const { env, grid } = open(command, deps);
    const to = readEpr(epr);
    await grid.call(serviceOf(to), 'start', to, {});
    env.say({ started: called(to) }, `${called(to)} is being started`);
  });

  change('shutdown', 'shut down, pause, reboot or save a workspace or a group', '  nimbus wsrf shutdown vm.epr\n  nimbus wsrf shutdown nodes.epr --kind pause\n  nimbus wsrf shutdown vm.epr --kind save --target file:///my-image')
    .option('--kind <kind>', `one of ${Object.keys(KINDS).join(', ')}`, 'normal')
    .option('--target <url>', 'with save: where the disk goes; its last part is the image’s name')
    .action(async (epr: string, o: { kind: string; target?: string }, command: Command) => {
      const { env, grid } = open(command, deps);
      const to = readEpr(epr);
      const shutdownType = KINDS[o.kind];
      if (shutdownType === undefined) throw new UsageError(`"${o.kind}" is no kind of shutdown: ${Object.keys(KINDS).join(', ')}`);
      await grid.call(serviceOf(to), 'shutdown', to, { shutdownType, ...(o.target === undefined ? {} : { PostShutdown: { rootPartitionUnpropagationTarget: o.target } }) });
      env.say({ shutdown: called(to), kind: o.kind }, `${called(to)}: ${o.kind} has begun`);
    });

  change('destroy', 'end a workspace, a group, an ensemble or a subscription', '  nimbus wsrf destroy vm.epr').action(async (epr: string, _o: unknown, command: Command) => {
    const { env, grid } = open(command, deps);
    const to = readEpr(epr);
    await grid.call(serviceOf(to), 'Destroy', to, {});
    env.say({ destroyed: called(to) }, `${called(to)} is destroyed`);
  });

  change('extend', 'move the end of a workspace or a subscription', '  nimbus wsrf extend vm.epr --for 2h\n  nimbus wsrf extend vm.epr --until 2026-12-01T18:00Z')
    .option('--for <duration>', 'counted from now: 90m, 2h, 1d12h')
    .option('--until <date>', 'at this time')
    .action(async (epr: string, o: { for?: string; until?: string }, command: Command) => {
      const { env, grid } = open(command, deps);
      const to = readEpr(epr);
      const answer = await grid.call(serviceOf(to), 'SetTerminationTime', to, { RequestedTerminationTime: newEnd(o, env.clock.now()) });
      const end = answer['NewTerminationTime'] as number | null;
      env.say({ what: called(to), endsAt: end }, `${called(to)} ends ${time(end)}`);
    });

  change('done', 'start an ensemble: all of its workspaces, or none', '  nimbus wsrf done whole.epr').action(async (epr: string, _o: unknown, command: Command) => {
    const { env, grid } = open(command, deps);
    const to = readEpr(epr);
    await grid.call(SERVICES.ensemble, 'done', to, {} satisfies SoapObject);
    env.say({ done: called(to) }, `${called(to)} is being started`);
  });
}

function newEnd(o: { for?: string; until?: string }, now: number): number {
  if ((o.for === undefined) === (o.until === undefined)) throw new UsageError('say how long: --for DURATION or --until DATE');
  if (o.until !== undefined) return date(o.until);
  const seconds = parseDuration(o.for ?? '');
  if (seconds === undefined) throw new UsageError(`"${o.for ?? ''}" is no duration; write e.g. 90m, 2h or 1d12h`);
  return now + seconds * 1000;
}
