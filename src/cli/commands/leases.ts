import type { Command } from 'commander';
import { GROUP_ID } from '../../lease/ids.ts';
import { breakdown } from '../../lease/phases.ts';
import { ec2State, isPastReason } from '../../lease/states.ts';
import type { BreakdownView, WorkView } from '../../manager/admin-types.ts';
import type { EventView, LeaseChange, LeaseView } from '../../manager/types.ts';
import { graceLeftS, waitingText } from '../../manager/waiting.ts';
import { breakdownText, stepsTable } from '../breakdown.ts';
import { path } from '../client.ts';
import { each, envOf, type CliDeps, type Env } from '../env.ts';
import { UsageError } from '../exit.ts';
import { counted, date, left, moment, time } from '../format.ts';
import { printable } from '../io.ts';
import { allLeases } from '../leases.ts';
import { renderTable } from '../table.ts';

/** Leases of which a list says what they wait for; more of them would hide the list. */
const MOST_EXPLAINED = 20;

export function addLeaseCommands(program: Command, deps: CliDeps): void {
  const lease = program.command('lease').description('VMs of all users');
  listCommand(lease, deps);
  showCommand(lease, deps);
  extendCommand(lease, deps);
  destroyCommand(lease, deps);
  consoleCommand(lease, deps);
}

function listCommand(lease: Command, deps: CliDeps): void {
  lease.command('list')
    .description('live leases')
    .option('--user <user>', 'of this user only')
    .option('--all', 'also those that ended lately')
    .addHelpText('after', '\nExamples:\n  nimbus lease list\n  nimbus lease list --user alice --all --json')
    .action(async (o: { user?: string; all?: boolean }, command: Command) => {
      const env = envOf(command, deps);
      const now = env.clock.now();
      const leases = await allLeases(env, o);
      env.table(leases, [
        { title: 'LEASE', value: (l) => l.id },
        { title: 'USER', value: (l) => l.accountName, shrinks: true },
        { title: 'STATE', value: (l) => l.state },
        { title: 'NODE', value: (l) => l.node ?? '-', shrinks: true },
        { title: 'ADDRESS', value: (l) => reachText(l), shrinks: true },
        { title: 'TYPE', value: (l) => l.type, shrinks: true },
        { title: 'LEFT', value: (l) => (l.endedAt === null ? left(l.endsAt, now) : 'ended') },
      ], 'There are no leases.');
      if (!env.json) explain(env, leases, now);
    });
}

/** Below the list: what leases wait for, and which of them the batch system is about to end. */
function explain(env: Env, leases: readonly LeaseView[], now: number): void {
  const lines = leases.flatMap((l) => {
    const text = standing(l, now);
    return text === null ? [] : [`${l.id}: ${text}`];
  });
  if (lines.length === 0) return;
  const more = lines.length > MOST_EXPLAINED ? [`and ${lines.length - MOST_EXPLAINED} more: nimbus slot list`] : [];
  env.io.out(`\n${[...lines.slice(0, MOST_EXPLAINED), ...more].map((t) => `${printable(t)}\n`).join('')}`);
}

function standing(l: LeaseView, now: number): string | null {
  const grace = graceLeftS(l, now);
  if (grace !== null) return `in grace: ${grace} s left`;
  return l.waiting === null ? null : waitingText(l.waiting);
}

/** Where the guest answers, and nothing else. */
function reachText(l: LeaseView): string {
  if (l.reach === null) return '-';
  return l.reach.forwarded ? `${l.reach.host}:${l.reach.sshPort}` : l.reach.host;
}

function showCommand(lease: Command, deps: CliDeps): void {
  lease.command('show <id>')
    .description('one lease and everything that happened to it')
    .option('--breakdown', 'where its time went, step by step; also of a group (r-…)')
    .addHelpText('after', `
Examples:
  nimbus lease show i-0123456789abcdef0
  nimbus lease show i-0123456789abcdef0 --breakdown
  nimbus lease show r-0123456789abcdef0 --breakdown --json`)
    .action(async (id: string, o: { breakdown?: boolean }, command: Command) => {
      const env = envOf(command, deps);
      if (o.breakdown === true) {
        const view = await env.client.get<BreakdownView>(path`/v1/breakdown/${id}`);
        env.say(view, breakdownText(view, env.io.width));
        return;
      }
      if (GROUP_ID.test(id)) throw new UsageError(`${id} is a group; its times are shown with --breakdown, its leases by: nimbus lease list`);
      const l = await env.client.get<Shown>(path`/v1/leases/${id}`);
      env.say({ ...l, breakdown: breakdown(l.phases) }, describe(env, l));
    });
}

type Shown = LeaseView & { readonly events: readonly EventView[]; readonly work?: WorkView | null };

function describe(env: Env, l: Shown): string {
  const now = env.clock.now();
  const waits = standing(l, now);
  const facts: Array<[string, string]> = [
    ['lease', `${l.id} (group ${l.groupId}, index ${l.launchIndex})`],
    ['user', l.accountName],
    ['state', `${l.state}${l.reason === null || isPastReason(l.reasonCode, ec2State(l.state, l.runningAt !== null)) ? '' : `: ${l.reason}`}`],
    ...(waits === null ? [] : [[l.waiting === null ? 'grace' : 'waits', waits] as [string, string]]),
    ...(l.work === null || l.work === undefined ? [] : [['work', workText(l.work)] as [string, string]]),
    ...(l.slot === null ? [] : [['slot', l.slot] as [string, string]]),
    ['image', `${l.imageName} (${l.imageId})`],
    ['type', `${l.type}: ${l.memoryMb} MiB, ${counted(l.cores, 'core')}`],
    ['node', `${l.node ?? '-'} in zone ${l.zone}`],
    ...l.nics.map((n): [string, string] => ['network', `${n.network}: ${n.ip}/${n.prefix} ${n.mac} ${n.hostname}`]),
    ['ssh', l.reach === null ? 'cannot be reached' : `ssh -p ${l.reach.sshPort} USER@${l.reach.host}`],
    ['key pair', l.keyName ?? '-'],
    ['created', moment(l.createdAt)],
    ['running', time(l.runningAt)],
    endOf(l, now),
    ...Object.entries(l.tags).map(([k, v]): [string, string] => ['tag', `${k} = ${v}`]),
  ];
  const steps = breakdown(l.phases);
  const head = facts.map(([k, v]) => `${k.padEnd(9)} ${printable(v)}`).join('\n');
  return [head, events(env, l).trimEnd(), ...(steps.length === 0 ? [] : [stepsTable(steps, env.io.width).trimEnd()])].join('\n\n');
}

/** What its node is to do, and why it has not. */
function workText({ operation, since, askedAgain, error }: WorkView): string {
  const again = askedAgain === 0 ? '' : `, asked for again ${counted(askedAgain, 'time')}`;
  return `${operation} since ${time(since)}${again}${error === null ? '' : `: ${error}`}`;
}

function endOf(l: LeaseView, now: number): [string, string] {
  if (l.endedAt !== null) return ['ended', time(l.endedAt)];
  // Nobody's time runs while he waits in a queue.
  return ['ends', l.endsAt === null ? 'its time begins when its node is ready' : `${time(l.endsAt)} (in ${left(l.endsAt, now)})`];
}

function events(env: Env, l: { createdAt: number; events: readonly EventView[] }): string {
  return renderTable(l.events, [
    { title: 'AFTER s', value: (e) => ((e.at - l.createdAt) / 1000).toFixed(3).padStart(7) },
    { title: 'STATE', value: (e) => e.to },
    { title: 'EVENT', value: (e) => e.trigger },
    { title: 'WHO', value: (e) => e.who, shrinks: true },
    { title: 'WHY', value: (e) => e.why, wraps: true },
  ], env.io.width);
}

function extendCommand(lease: Command, deps: CliDeps): void {
  lease.command('extend <ids...>')
    .description('move the end of leases, later or sooner')
    .option('--for <duration>', 'counted from now: 90m, 2h, 1d12h')
    .option('--until <date>', 'at this time: 2026-12-01T18:00Z')
    .addHelpText('after', '\nExamples:\n  nimbus lease extend i-0123456789abcdef0 --for 2d\n  nimbus lease extend i-0123456789abcdef0 --until 2026-12-01T18:00Z')
    .action(async (ids: string[], o: { for?: string; until?: string }, command: Command) => {
      const env = envOf(command, deps);
      if ((o.for === undefined) === (o.until === undefined)) throw new UsageError('say how long: --for DURATION or --until DATE');
      const body = o.for !== undefined ? { duration: o.for } : { endsAt: date(o.until ?? '') };
      await each(env, ids, (id) => env.client.put<LeaseView>(path`/v1/leases/${id}/end`, body), (l) => `${l.id} ends ${time(l.endsAt)}`);
    });
}

function destroyCommand(lease: Command, deps: CliDeps): void {
  lease.command('destroy <ids...>')
    .description('end leases and their VMs')
    .option('--why <text>', 'for the record of the lease')
    .option('--forget', 'their node will never answer again: give their room back without it')
    .addHelpText('after', '\nExamples:\n  nimbus lease destroy i-0123456789abcdef0 --why "repair of rack 2"\n  nimbus lease destroy --forget i-0123456789abcdef0')
    .action(async (ids: string[], o: { why?: string; forget?: boolean }, command: Command) => {
      const env = envOf(command, deps);
      const verb = o.forget === true ? 'forget' : 'destroy';
      await each(env, ids, (id) => env.client.post<LeaseChange>(`${path`/v1/leases/${id}/`}${verb}`, o.why === undefined ? {} : { why: o.why }),
        (c) => (c.before === c.after ? `${c.id} is ${c.after} already` : `${c.id} is ${c.after}, was ${c.before}`));
    });
}

function consoleCommand(lease: Command, deps: CliDeps): void {
  lease.command('console <id>')
    .description("the end of a VM's serial console")
    .addHelpText('after', '\nExample:\n  nimbus lease console i-0123456789abcdef0')
    .action(async (id: string, _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      const answer = await env.client.get<{ output: string; at: number }>(path`/v1/leases/${id}/console`);
      const text = Buffer.from(answer.output, 'base64').toString();
      env.say({ ...answer, output: text }, text.split('\n').map(printable).join('\n'));
    });
}
