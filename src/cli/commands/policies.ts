import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parse, TomlError } from 'smol-toml';
import { CONFIGURATION, unitOf, valueText } from '../../authorization/decide.ts';
import { boundsToml, KINDS, valueOf } from '../../authorization/settings.ts';
import { formatDuration } from '../../lease/duration.ts';
import type { Explanation, PolicyAssignment, PolicyUse, PolicyView } from '../../manager/admin-types.ts';
import { reasonText } from '../../platform/errors.ts';
import { path } from '../client.ts';
import { each, envOf, type CliDeps, type Env } from '../env.ts';
import { UsageError } from '../exit.ts';
import { counted, list, wholeNumber } from '../format.ts';
import { renderTable } from '../table.ts';

export function addPolicyCommands(program: Command, deps: CliDeps): void {
  const policy = program.command('policy').description('what users may have: bounds, and whose they are');
  setCommand(policy, deps);
  listCommand(policy, deps);
  showCommand(policy, deps);
  removeCommand(policy, deps);
  assignCommands(policy, deps);
  explainCommand(policy, deps);
}

function setCommand(policy: Command, deps: CliDeps): void {
  policy.command('set <name> [bounds...]')
    .description('make a policy, or change some of its bounds: KEY=VALUE, or KEY= to take a bound away')
    .option('--kind <kind>', `${KINDS.join(', ')}: whose leases it counts (default: template)`)
    .option('--file <file>', 'TOML with bounds, kind and description; bounds that it does not name go')
    .option('--description <text>', 'for who reads the list')
    .addHelpText('after', `
Bounds: leases, cores, memory_mb (at once), group_size, duration,
reserved_minutes and used_minutes (over period), may_extend; images, networks,
zones, types (lists of patterns with *). docs/policies.md says what each counts.

Kinds: a template counts each of its users alone, a group all of them together.
The policy "site" counts all users of the site, and the template "default" is
of those who have no other; neither needs to be assigned.

Examples:
  nimbus policy set students leases=4 cores=8 duration=8h
  nimbus policy set physics --kind group cores=64 used_minutes=9000 period=7d
  nimbus policy set site leases=500
  nimbus policy set students 'images=common/debian-*,~/*' leases=
  nimbus policy set students --file students.toml`)
    .action(async (name: string, bounds: string[], o: { kind?: string; file?: string; description?: string }, command: Command) => {
      const env = envOf(command, deps);
      if (o.file !== undefined && bounds.length > 0) throw new UsageError('choose --file or KEY=VALUE');
      const body = o.file === undefined ? { bounds: pairs(bounds), replace: false } : fromFile(o.file);
      const given = { ...body, ...(o.kind === undefined ? {} : { kind: o.kind }), ...(o.description === undefined ? {} : { description: o.description }) };
      const made = await env.client.put<PolicyView>(path`/v1/policies/${name}`, given);
      env.say(made, `${made.name} (${made.kind}) holds from the next request on\n\n${boundsToml(made.bounds) || 'it bounds nothing\n'}`);
    });
}

function pairs(texts: readonly string[]): Record<string, unknown> {
  const none = texts.filter((text) => text.indexOf('=') < 1).map((text) => `"${text}"`);
  if (none.length > 0) throw new UsageError(`${none.join(', ')} ${none.length === 1 ? 'is' : 'are'} no KEY=VALUE; write e.g. leases=4, or leases= to take the bound away`);
  return Object.fromEntries(texts.map((text) => {
    const at = text.indexOf('=');
    const key = text.slice(0, at);
    return [key, valueOf(key, text.slice(at + 1))];
  }));
}

function fromFile(file: string): object {
  try {
    const { kind, description, ...bounds } = parse(readFileSync(file, 'utf8'));
    return { bounds, replace: true, ...(kind === undefined ? {} : { kind }), ...(description === undefined ? {} : { description }) };
  } catch (e) {
    throw new UsageError(`${file}: ${e instanceof TomlError ? `line ${e.line}: ${e.message.split('\n')[0] ?? ''}` : `cannot be read: ${reasonText(e)}`}`);
  }
}

function listCommand(policy: Command, deps: CliDeps): void {
  policy.command('list')
    .description('all policies')
    .addHelpText('after', '\nExample:\n  nimbus policy list')
    .action(async (_o: unknown, command: Command) => {
      const env = envOf(command, deps);
      env.table(await env.client.get<PolicyView[]>('/v1/policies'), [
        { title: 'POLICY', value: (p) => p.name, shrinks: true },
        { title: 'KIND', value: (p) => p.kind },
        { title: 'USERS', value: (p) => (p.kind === 'site' ? 'all' : p.name === 'default' ? 'others' : p.users.length) },
        { title: 'BOUNDS', value: (p) => boundsToml(p.bounds).trimEnd().replaceAll(' = ', '=').replaceAll('\n', ' '), shrinks: true },
        { title: 'DESCRIPTION', value: (p) => p.description, shrinks: true },
      ], 'There are no policies: the limits of the configuration hold for everyone. Make one with: nimbus policy set NAME KEY=VALUE');
    });
}

function showCommand(policy: Command, deps: CliDeps): void {
  policy.command('show <name>')
    .description('one policy, its users, and what it has counted')
    .addHelpText('after', '\nExamples:\n  nimbus policy show students\n  nimbus policy show site --json')
    .action(async (name: string, _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      const p = await env.client.get<PolicyView & { use: PolicyUse | null }>(path`/v1/policies/${name}`);
      env.say(p, policyText(p));
    });
}

/** What `set --file` takes, with the rest as comments. */
function policyText(p: PolicyView & { use: PolicyUse | null }): string {
  const users = p.kind === 'site' ? 'all' : p.users.join(', ') || 'none';
  const use = p.use === null ? '' : `# in use: ${counted(p.use.leases, 'lease')}, ${counted(p.use.cores, 'core')}, ${p.use.memoryMb} MiB; ${counted(p.use.usedMinutes, 'minute')} used, ${p.use.reservedMinutes} reserved\n`;
  return `# ${p.name}, of users: ${users}\n${use}kind = "${p.kind}"\n${p.description === '' ? '' : `description = ${JSON.stringify(p.description)}\n`}${boundsToml(p.bounds)}`;
}

function removeCommand(policy: Command, deps: CliDeps): void {
  policy.command('remove <names...>')
    .description('remove policies that nobody has')
    .addHelpText('after', '\nExample:\n  nimbus policy remove students')
    .action(async (names: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, names, (name) => env.client.delete(path`/v1/policies/${name}`), (_r, name) => `${name} was removed`);
    });
}

function assignCommands(policy: Command, deps: CliDeps): void {
  policy.command('assign <name> <users...>')
    .description('give users a policy; a template takes the place of the one that they have')
    .addHelpText('after', '\nExample:\n  nimbus policy assign students alice bob')
    .action(async (name: string, users: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, users, (user) => env.client.post<PolicyAssignment>(path`/v1/policies/${name}/users`, { user }), assigned);
    });

  policy.command('unassign <name> <users...>')
    .description('take a policy from users')
    .addHelpText('after', '\nExample:\n  nimbus policy unassign students bob')
    .action(async (name: string, users: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, users, (user) => env.client.delete<PolicyAssignment>(path`/v1/policies/${name}/users/${user}`),
        (a) => (a.changed ? `${a.user} has ${a.policy} no more` : `${a.user} had not ${a.policy}`));
    });
}

function assigned(a: PolicyAssignment): string {
  if (!a.changed) return `${a.user} has ${a.policy} already`;
  return `${a.user} has ${a.policy}${a.instead === null ? '' : ` instead of ${a.instead}`}`;
}

interface ExplainOptions {
  readonly count: number;
  readonly max?: number;
  readonly image: string;
  readonly type?: string;
  readonly networks?: string[];
  readonly zone?: string;
  readonly duration?: string;
  readonly tag?: string[];
}

function explainCommand(policy: Command, deps: CliDeps): void {
  policy.command('explain <user>')
    .description('what would become of a request, check by check, without making anything')
    .option('--count <n>', 'VMs', wholeNumber, 1)
    .option('--max <n>', 'up to so many VMs', wholeNumber)
    .option('--image <image>', 'name or id', 'nimbus-guest')
    .option('--type <type>', "instance type (default: the site's)")
    .option('--networks <names>', "comma-separated (default: the type's)", list)
    .option('--zone <zone>', 'availability zone (default: any)')
    .option('--duration <duration>', "90m, 2h, 1d12h (default: the site's, or what policies allow of it)")
    .option('--tag <pairs...>', "KEY=VALUE, for the site's own decision")
    .addHelpText('after', `
Examples:
  nimbus policy explain alice --count 4 --type m1.large --duration 8h
  nimbus policy explain alice --image debian-12 --tag project=x
  nimbus policy explain alice --count 4 --json`)
    .action(async (user: string, { count, max, tag, ...o }: ExplainOptions, command: Command) => {
      const env = envOf(command, deps);
      const e = await env.client.post<Explanation>('/v1/policies/explain', { user, minCount: count, ...(max === undefined ? {} : { maxCount: max }), ...(tag === undefined ? {} : { tags: tags(tag) }), ...o });
      env.say(e, explanation(env, e));
    });
}

function tags(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map((text) => {
    const at = text.indexOf('=');
    if (at < 1) throw new UsageError(`"${text}" is no KEY=VALUE; write e.g. project=x`);
    return [text.slice(0, at), text.slice(at + 1)];
  }));
}

function explanation(env: Env, e: Explanation): string {
  // The names of the bounds say what they are measured in; times are not written as seconds.
  const rows = e.checks.map((c) => ({ ...c, unit: unitOf(c) === 'seconds' ? 'seconds' as const : undefined }));
  const table = renderTable(rows, [
    { title: 'POLICY', value: (c) => (c.policy === CONFIGURATION ? 'nimbus.toml' : c.policy), shrinks: true },
    { title: 'BOUND', value: (c) => c.bound },
    { title: 'LIMIT', value: (c) => valueText(c.limit, c.unit), shrinks: true },
    { title: 'USED', value: (c) => (c.used === null ? '-' : valueText(c.used, c.unit)) },
    { title: 'ASKED', value: (c) => valueText(c.asked, c.unit), shrinks: true },
    { title: 'VERDICT', value: (c) => (c.ok ? 'ok' : 'refused') },
  ], env.io.width);
  return `${table}${siteText(e)}\n${verdictText(e)}\n`;
}

function siteText({ site }: Explanation): string {
  if (site === null) return '';
  const why = site.failure !== null ? `no answer: ${site.failure}` : site.reasons.join('; ');
  return `\nThe site's own decision: ${site.allowed ? 'allowed' : 'refused'}${why === '' ? '' : ` (${why})`}\n`;
}

function verdictText(e: Explanation): string {
  if (e.allowed) return `${e.user} may have ${e.leases === 1 ? 'this lease' : `${e.leases} leases`} for ${formatDuration(e.durationS)}, where there is room.`;
  const refused = e.checks.filter((c) => !c.ok).length;
  return `${e.user} may not have this${refused === 0 ? '' : `: ${refused} ${refused === 1 ? 'check refuses' : 'checks refuse'} it`}.`;
}
