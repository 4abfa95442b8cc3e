import type { Command } from 'commander';
import type { EventPage, SiteEvent } from '../../manager/admin-types.ts';
import { sleep } from '../../platform/deadline.ts';
import { envOf, type CliDeps, type Env } from '../env.ts';
import { wholeNumber } from '../format.ts';
import { printable } from '../io.ts';
import { patiently } from '../patience.ts';

/** Without --follow. */
const MOST_AT_ONCE = 10_000;
const LOOK_MS = 1_000;
const NO_CURSOR = 'an event’s cursor, from --json';

interface Options {
  readonly follow?: boolean;
  readonly lease?: string;
  readonly user?: string;
  readonly node?: string;
  readonly last: number;
  readonly after?: string;
}

export function addEventsCommand(program: Command, deps: CliDeps): void {
  program.command('events')
    .description('what happened to leases: the newest, or what happens from now on')
    .option('--follow', 'go on until Ctrl-C; with --json one object a line')
    .option('--lease <id>', 'of this lease only')
    .option('--user <user>', 'of leases of this user only')
    .option('--node <node>', 'of leases on this node, and what this node reported')
    .option('--last <n>', 'begin with so many of the past', wholeNumber, 50)
    .option('--after <cursor>', `go on behind ${NO_CURSOR}`)
    .addHelpText('after', `
Examples:
  nimbus events
  nimbus events --follow --user alice
  nimbus events --follow --json --after 7312.4711 >> events.jsonl

Events come in the order in which they were written for good: none is missed,
none comes twice, also across a restart of the service. Who follows them from
a program keeps the cursor of the last one that he has dealt with.`)
    .action((o: Options, command: Command) => events(envOf(command, deps), o));
}

const ask = (env: Env, o: Options, after: string | undefined): Promise<EventPage> =>
  env.client.get<EventPage>('/v1/events', { lease: o.lease, user: o.user, node: o.node, ...(after === undefined ? { last: String(o.last) } : { after }) });

async function events(env: Env, o: Options): Promise<void> {
  let page = await ask(env, o, o.after);
  if (o.follow !== true) {
    const all = [...page.events];
    // Pages on the way may be empty.
    while (page.more && all.length < MOST_AT_ONCE) {
      page = await ask(env, o, page.cursor);
      all.push(...page.events);
    }
    if (env.json) env.say(all, '');
    else env.io.out(all.length === 0 ? 'Nothing has happened.\n' : heading(env) + all.map((e) => line(env, e)).join(''));
    if (page.more) env.io.err(`There is more: add --after ${page.cursor}\n`);
    return;
  }
  if (!env.json) env.io.out(heading(env));
  for (;;) {
    for (const e of page.events) env.io.out(env.json ? `${JSON.stringify(e)}\n` : line(env, e));
    if (env.io.gone?.() === true) return;
    if (!page.more) await sleep(env.clock, LOOK_MS);
    const { cursor } = page;
    page = await patiently(env, () => ask(env, o, cursor), `to go on where this ended, add --after ${cursor}`);
  }
}

const STATE = 13;
const EVENT = 15;
const heading = (env: Env): string => row(env, 'TIME UTC', 'LEASE', 'STATE', 'EVENT', 'WHO: WHY');

function line(env: Env, e: SiteEvent): string {
  const time = new Date(e.at).toISOString().slice(5, 19).replace('T', ' ');
  return row(env, time, e.lease, e.to, e.trigger, e.why === '' ? e.who : `${e.who}: ${e.why}`);
}

/** Columns of one width whatever comes: what has been printed cannot be moved any more. */
function row({ io: { width } }: Env, time: string, lease: string, state: string, event: string, rest: string): string {
  const text = [...printable(`${time.padEnd(14)} ${lease.padEnd(19)} ${state.padEnd(STATE)} ${event.padEnd(EVENT)} ${rest}`)];
  return `${(text.length <= width ? text : [...text.slice(0, width - 1), '…']).join('').trimEnd()}\n`;
}
