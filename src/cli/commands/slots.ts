import type { Command } from 'commander';
import type { SlotChange, SlotDetails } from '../../manager/admin-types.ts';
import type { SlotNodeView, SlotView } from '../../manager/slots/types.ts';
import { stepsTable } from '../breakdown.ts';
import { path } from '../client.ts';
import { each, envOf, type CliDeps, type Env } from '../env.ts';
import { left, moment, time } from '../format.ts';
import { printable } from '../io.ts';
import { renderTable } from '../table.ts';

export function addSlotCommands(program: Command, deps: CliDeps): void {
  const slot = program.command('slot').description('jobs of the batch system that lend nodes to leases');
  listCommand(slot, deps);
  showCommand(slot, deps);
  killCommand(slot, deps);
}

function listCommand(slot: Command, deps: CliDeps): void {
  slot.command('list')
    .description('live slots')
    .option('--user <user>', 'of this user only')
    .option('--node <host>', 'that have this node, as the batch system calls it')
    .option('--all', 'also those that have ended')
    .addHelpText('after', '\nExamples:\n  nimbus slot list\n  nimbus slot list --user alice --all --json')
    .action(async (o: { user?: string; node?: string; all?: boolean }, command: Command) => {
      const env = envOf(command, deps);
      const slots = await env.client.get<SlotView[]>('/v1/slots', { user: o.user, node: o.node, live: String(o.all !== true) });
      env.table(slots, [
        { title: 'SLOT', value: (s) => s.id },
        { title: 'USER', value: (s) => s.user, shrinks: true },
        { title: 'STATE', value: (s) => s.state },
        { title: 'JOB', value: (s) => s.jobId ?? '-', shrinks: true },
        { title: 'READY', value: (s) => `${s.nodes.filter((n) => n.state === 'Reserved').length}/${s.nodes.length}` },
        { title: 'NODES, OR WHY NOT', value: standing, shrinks: true },
      ], 'There are no slots. Leases make them, where scheduler.mode is "pilot".');
    });
}

function standing(s: SlotView): string {
  if (s.state === 'Ended') return s.reason ?? 'ended';
  const hosts = s.nodes.flatMap((n) => n.host ?? []);
  if (hosts.length > 0) return hosts.join(',');
  const place = s.position === null ? '' : `place ${s.position}`;
  return [place, s.waitsFor ?? s.nativeState ?? ''].filter((t) => t !== '').join(': ') || (s.jobId === null ? 'not submitted yet' : '-');
}

function showCommand(slot: Command, deps: CliDeps): void {
  slot.command('show <id>')
    .description('one slot: its job, its nodes, what their pilots said')
    .addHelpText('after', '\nExample:\n  nimbus slot show sl-0123456789ab')
    .action(async (id: string, _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      const s = await env.client.get<SlotDetails>(path`/v1/slots/${id}`);
      env.say(s, describe(env, s));
    });
}

function describe(env: Env, s: SlotDetails): string {
  const facts: Array<[string, string | null]> = [
    ['slot', s.id],
    ['user', s.user],
    ['state', `${s.state}${s.reason === null ? '' : `: ${s.reason}${s.reasonCode === null ? '' : ` (${s.reasonCode})`}`}`],
    ['job', `${s.jobId ?? 'none yet'} of ${s.lrm}${s.nativeState === null ? '' : `, which says ${s.nativeState}`}${s.preemptible ? '; preemptible' : ''}`],
    ['place', s.position === null ? null : `${s.position} of the queue`],
    ['waits for', s.waitsFor],
    ['start', s.expectedStart === null ? null : `${time(s.expectedStart)} expected (in ${left(s.expectedStart, env.clock.now())})`],
    ['walltime', `${s.walltimeS} s, with ${s.durationS} s for leases and ${s.graceS} s of grace`],
    ['created', moment(s.createdAt)],
    ['submitted', time(s.submittedAt)],
    ['ready', time(s.readyAt)],
    ['ended', s.endedAt === null ? null : time(s.endedAt)],
  ];
  const head = facts.flatMap(([k, v]) => (v === null ? [] : [`${k.padEnd(9)} ${printable(v)}`])).join('\n');
  return [head, nodes(env, s), ...s.nodes.flatMap((n) => steps(env, n)), ...messages(env, s)].join('\n\n');
}

function nodes(env: Env, s: SlotDetails): string {
  const now = env.clock.now();
  const table = renderTable(s.nodes, [
    { title: 'NODE', value: (n) => n.host ?? `#${n.ordinal}`, shrinks: true },
    { title: 'STATE', value: (n) => n.state },
    { title: 'MEMORY MiB', value: (n) => n.memoryMb },
    { title: 'CORES', value: (n) => n.cores },
    { title: 'HEARD', value: (n) => (n.lastHeard === null ? '-' : `${Math.max(0, Math.round((now - n.lastHeard) / 1000))}s ago`) },
    { title: 'LEFT', value: (n) => nodeLeft(n, now) },
    { title: 'LEASES', value: (n) => n.leases.join(' ') || '-', shrinks: true },
  ], env.io.width).trimEnd();
  const why = s.nodes.flatMap((n) => (n.reason === null ? [] : [printable(`${nodeName(n)}: ${n.reason}`)]));
  return [table, ...why].join('\n');
}

const nodeName = (n: SlotNodeView): string => n.host ?? `node #${n.ordinal}`;

function nodeLeft(n: SlotNodeView, now: number): string {
  if (n.state !== 'Reserved' && n.state !== 'Preempted') return '-';
  return n.graceEnds === null ? left(n.until, now) : `grace ${left(n.graceEnds, now)}`;
}

function steps(env: Env, n: SlotDetails['nodes'][number]): string[] {
  return n.breakdown.length === 0 ? [] : [`${printable(nodeName(n))}:\n${stepsTable(n.breakdown, env.io.width).trimEnd()}`];
}

function messages(env: Env, s: SlotDetails): string[] {
  if (s.messages.length === 0) return ['No pilot was heard.'];
  return [renderTable(s.messages, [
    { title: 'AFTER s', value: (m) => ((m.receivedAt - s.createdAt) / 1000).toFixed(3).padStart(7) },
    { title: 'NODE', value: (m) => m.host, shrinks: true },
    { title: 'NO', value: (m) => m.seq },
    { title: 'SAID', value: (m) => `${m.state}${m.code === 0 ? '' : ` (code ${m.code})`}${m.applied ? '' : ', not applied yet'}` },
    { title: 'TEXT', value: (m) => m.text ?? '', wraps: true },
  ], env.io.width)];
}

function killCommand(slot: Command, deps: CliDeps): void {
  slot.command('kill <ids...>')
    .description('end slots before their time: their leases, then their jobs')
    .option('--why <text>', 'for the record of the leases')
    .addHelpText('after', `
Example:
  nimbus slot kill sl-0123456789ab --why "node repair"

Pilots get a while to give their nodes back; killing a slot that goes already
cancels its job at once. To end all: nimbus kill-all`)
    .action(async (ids: string[], o: { why?: string }, command: Command) => {
      const env = envOf(command, deps);
      await each(env, ids, (id) => env.client.post<SlotChange>(path`/v1/slots/${id}/kill`, o.why === undefined ? {} : { why: o.why }), changeText);
    });
}

function changeText(c: SlotChange): string {
  if (c.before === 'Ended') return `${c.id} has ended already`;
  const leases = c.leases.length === 0 ? '' : `, ${c.leases.length} ${c.leases.length === 1 ? 'lease' : 'leases'} with it`;
  return `${c.id} is ${c.after}, was ${c.before}${c.jobId === null ? '' : ` (job ${c.jobId})`}${leases}`;
}
