import type { Command } from 'commander';
import { parseDuration } from '../../lease/duration.ts';
import type { KilledSlot, SlotChoice } from '../../manager/admin-types.ts';
import type { JobOutcome } from '../../manager/admin/kill-all-jobs.ts';
import type { SlotView } from '../../manager/slots/types.ts';
import { sleep } from '../../platform/deadline.ts';
import { dataDirOf, envOf, type CliDeps, type Env } from '../env.ts';
import { Refused, SomeFailed, Unreachable, UsageError } from '../exit.ts';
import { printable } from '../io.ts';
import { isLeft, outcomes, type NodeOutcome } from '../kill-report.ts';
import type { Place } from '../without-service.ts';

const LOOK_MS = 1_000;
const WHY = 'all slots ended by an administrator';

interface Options {
  readonly node?: string;
  readonly user?: string;
  readonly partition?: string;
  readonly yes?: boolean;
  readonly wait: string;
  readonly why?: string;
  readonly config?: string;
  readonly fromBatchSystem?: boolean;
}

export function addKillAllCommand(program: Command, deps: CliDeps): void {
  program.command('kill-all')
    .description('give every borrowed node back now: end VMs and leases, restore memory, cancel jobs')
    .option('--node <host>', 'only slots that have this node, as the batch system calls it')
    .option('--user <user>', 'only slots of this user')
    .option('--partition <name>', 'only slots in this partition or queue')
    .option('--yes', 'do not ask')
    .option('--wait <duration>', 'how long to wait for nodes', '2m')
    .option('--why <text>', 'for the record of the leases')
    .option('--config <file>', 'configuration to use while no service runs')
    .option('--from-batch-system', 'there is no database: cancel every job of this account that is named like a slot')
    .addHelpText('after', `
Examples:
  nimbus kill-all --yes
  nimbus kill-all --node n17 --wait 5m
  nimbus kill-all --config /etc/nimbus.toml --data /var/lib/nimbus --yes
  nimbus kill-all --from-batch-system --config /etc/nimbus.toml

Without a running service the command does it itself, with database and batch
system of the configuration. Exit code 1 when something is left, or not known
to be gone. On a node without any service: workspace-pilot --killnine`)
    .action((o: Options, command: Command) => killAll(envOf(command, deps), { config: o.config, data: dataDirOf(command, deps.env) }, o));
}

async function killAll(env: Env, place: Place, o: Options): Promise<void> {
  const waitS = parseDuration(o.wait);
  if (waitS === undefined) throw new UsageError(`"${o.wait}" is no duration; write e.g. 90s or 5m`);
  if (o.yes !== true && env.json) throw new UsageError('with --json nobody is asked: add --yes');
  const choice: SlotChoice = { node: o.node, user: o.user, partition: o.partition };
  if (o.fromBatchSystem === true) return killJobs(env, place, o, waitS * 1000);
  const way = await wayToSite(env, place, choice);
  try {
    await confirm(env, o, question(way.slots));
    report(env, ...(await way.kill(o.why ?? WHY, waitS * 1000)));
  } finally {
    await way.close();
  }
}

/** Through the service, or around it. */
interface Way {
  readonly slots: readonly SlotView[];
  kill(why: string, waitMs: number): Promise<[readonly KilledSlot[], readonly SlotView[]]>;
  close(): Promise<void>;
}

async function wayToSite(env: Env, place: Place, choice: SlotChoice): Promise<Way> {
  try {
    return await throughService(env, choice);
  } catch (e) {
    if (!(e instanceof Unreachable && e.absent)) throw e;
    env.io.err('no service answers: working on its database and the batch system instead\n');
    return withoutService(env, place, choice);
  }
}

const query = (choice: SlotChoice, live: boolean): Record<string, string | undefined> => ({ node: choice.node, user: choice.user, partition: choice.partition, live: String(live) });

async function throughService(env: Env, choice: SlotChoice): Promise<Way> {
  const list = (live: boolean): Promise<SlotView[]> => env.client.get<SlotView[]>('/v1/slots', query(choice, live));
  return {
    slots: await list(true),
    async kill(why, waitMs) {
      const killed = await env.client.post<KilledSlot[]>('/v1/kill-all', { ...choice, why });
      const ids = new Set(killed.filter((k) => k.ok).map((k) => k.slot));
      const deadline = env.clock.monotonic() + waitMs;
      for (;;) {
        const live = (await list(true)).filter((s) => ids.has(s.id)).length;
        if (live === 0 || env.clock.monotonic() + LOOK_MS > deadline) break;
        if (env.io.watched) env.io.err(`${live} of ${ids.size} slots still go\n`);
        await sleep(env.clock, LOOK_MS);
      }
      return [killed, await list(false)];
    },
    close: () => Promise.resolve(),
  };
}

async function withoutService(env: Env, place: Place, choice: SlotChoice): Promise<Way> {
  const site = await env.withoutService.open(place);
  try {
    return {
      slots: await site.liveSlots(choice),
      async kill(why, waitMs) {
        const killed = await site.killAll(choice, { why, waitMs, trouble: (what) => env.io.err(`${printable(what)}\n`) });
        return [killed, await site.slots(killed.map((k) => k.slot))];
      },
      close: () => site.close(),
    };
  } catch (e) {
    await site.close();
    throw e;
  }
}

function question(slots: readonly SlotView[]): string {
  const leases = slots.reduce((n, s) => n + s.nodes.reduce((m, node) => m + node.leases.length, 0), 0);
  return `This ends ${slots.length} ${slots.length === 1 ? 'slot' : 'slots'} and ${leases} ${leases === 1 ? 'lease' : 'leases'}.`;
}

async function confirm(env: Env, o: Options, what: string): Promise<void> {
  if (o.yes === true) return;
  const answer = await env.io.ask(`${what} Go on? [y/N] `);
  if (answer === null) throw new UsageError('nobody is there to be asked: add --yes');
  if (!/^y(es)?$/i.test(answer.trim())) throw new Refused('NotConfirmed', 'it was not confirmed; nothing was done');
}

function report(env: Env, killed: readonly KilledSlot[], slots: readonly SlotView[]): void {
  const nodes = outcomes(killed, slots);
  env.table(nodes, [
    { title: 'NODE', value: (n) => n.node ?? '-', shrinks: true },
    { title: 'SLOT', value: (n) => n.slot },
    { title: 'JOB', value: (n) => n.job ?? '-', shrinks: true },
    { title: 'BECAME', value: (n) => n.outcome },
  ], 'There are no such slots: nothing is borrowed.');
  const left = nodes.filter(isLeft);
  if (!env.json) for (const n of left) env.io.err(`${printable(`${n.node ?? n.slot}: ${n.outcome}: ${n.reason}`)}\n`);
  fail(nodes, left);
}

function fail(all: readonly NodeOutcome[], left: readonly NodeOutcome[]): void {
  if (left.length > 0) throw new SomeFailed(`${left.length} of ${all.length} nodes are left`);
}

async function killJobs(env: Env, place: Place, o: Options, waitMs: number): Promise<void> {
  if (o.user !== undefined || o.partition !== undefined) throw new UsageError('without a database nobody knows the users of slots: choose with --node only');
  await confirm(env, o, `This cancels ${o.node === undefined ? 'every job' : `every job on ${o.node}`} of this account that is named like a slot.`);
  const jobs = await env.withoutService.killJobs(place, { node: o.node, waitMs });
  env.table(jobs, [
    { title: 'JOB', value: (j) => j.jobId },
    { title: 'SLOT', value: (j) => j.slot },
    { title: 'NODES', value: (j) => j.hosts.join(',') || '-', shrinks: true },
    { title: 'BECAME', value: (j) => (j.gone ? 'gone' : 'still there') },
  ], 'The batch system has no such jobs.');
  const left = jobs.filter((j: JobOutcome) => !j.gone);
  if (!env.json) for (const j of left) env.io.err(`${printable(`job ${j.jobId}: ${j.reason ?? 'still there'}`)}\n`);
  if (left.length > 0) throw new SomeFailed(`${left.length} of ${jobs.length} jobs are left`);
}
