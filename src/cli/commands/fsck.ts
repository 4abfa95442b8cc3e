import type { Command } from 'commander';
import type { FsckOptions, FsckReport, Problem } from '../../fsck/types.ts';
import { dataDirOf, envOf, type CliDeps, type Env } from '../env.ts';
import { SomeFailed, Unreachable } from '../exit.ts';
import { counted, wrapped } from '../format.ts';
import { printable } from '../io.ts';
import type { Place } from '../without-service.ts';

interface Options {
  readonly repair?: boolean;
  readonly deep?: boolean;
  readonly config?: string;
}

export function addFsckCommand(program: Command, deps: CliDeps): void {
  program.command('fsck')
    .description('hold the database against its rules, the VMs on the nodes and the image files')
    .option('--repair', 'mend what has one right answer')
    .option('--deep', 'compute the digests of image files anew')
    .option('--config <file>', 'configuration to use while no service runs')
    .addHelpText('after', `
Examples:
  nimbus fsck
  nimbus fsck --repair
  nimbus fsck --deep --json
  nimbus fsck --config /etc/nimbus.toml --data /var/lib/nimbus

A running service looks at itself. Without one the command opens the database
and asks the agents on this machine and over SSH. Without --repair nothing is
changed. Exit code 1 when something is wrong and was not mended.`)
    .action(async (o: Options, command: Command) => {
      const env = envOf(command, deps);
      const report = await run(env, { config: o.config, data: dataDirOf(command, deps.env) }, { repair: o.repair === true, deep: o.deep === true });
      env.say(report, text(report, env.io.watched ? env.io.width : undefined));
      if (report.problems.length > 0) throw new SomeFailed(`${report.problems.length} problems`);
    });
}

async function run(env: Env, place: Place, options: FsckOptions): Promise<FsckReport> {
  if (env.io.watched) env.io.err(options.deep ? 'reading tables, nodes and image files\n' : 'reading tables and nodes\n');
  try {
    if (options.repair) return await env.client.post<FsckReport>('/v1/fsck', { deep: options.deep }, { long: true });
    return await env.client.get<FsckReport>('/v1/fsck', { deep: String(options.deep) }, { long: true });
  } catch (e) {
    if (!(e instanceof Unreachable && e.absent)) throw e;
    if (env.io.watched) env.io.err('no service answers: working on its database instead\n');
    return env.withoutService.fsck(place, options);
  }
}

const INDENT = '        ';

/** @param width of the terminal; programs and files get each sentence on a line of its own */
function text({ looked, problems, mended, notes }: FsckReport, width: number | undefined): string {
  const lines = [
    ...mended.flatMap((p) => [`mended  ${p.what}`, `        ${p.mend}`]),
    ...problems.flatMap((p) => [`WRONG   ${p.what}`, `        ${way(p)}`]),
    ...notes.map((n) => `note    ${n}`),
  ];
  const saw = `${counted(looked.leases, 'lease')}, ${counted(looked.slots, 'slot')}, ${counted(looked.images, 'image')}, and the VMs of ${looked.asked} of ${counted(looked.nodes, 'node')}`;
  return [...lines, ...(lines.length > 0 ? [''] : []), `${saw}: ${total(problems, mended)}`].flatMap((l) => fitted(printable(l), width)).map((l) => `${l}\n`).join('');
}

/** What does not fit goes on below the sentence, not below the word before it. */
function fitted(line: string, width: number | undefined): string[] {
  if (width === undefined || [...line].length <= width) return [line];
  const mark = /^(WRONG {3}|mended {2}|note {4}| {8})/.exec(line)?.[0] ?? '';
  const [first = '', ...rest] = wrapped(line.slice(mark.length), width - INDENT.length);
  return [mark + first, ...rest.map((l) => (mark === '' ? l : INDENT + l))];
}

const way = (p: Problem): string => (p.repairs ? `nimbus fsck --repair ${p.mend}` : p.mend);

function total(problems: readonly Problem[], mended: readonly Problem[]): string {
  const done = mended.length === 0 ? '' : `${mended.length} mended, `;
  if (problems.length === 0) return `${done}nothing ${mended.length === 0 ? 'is wrong' : 'is left'}`;
  const can = problems.filter((p) => p.repairs).length;
  return `${done}${problems.length} wrong, of which --repair can mend ${can}`;
}
