/** `nimbus wsrf query`, `report`, `factory`, `status`: what there is, in tables or as JSON. */
import type { Command } from 'commander';
import type { SoapObject } from '../../soap/schema/codec.ts';
import { clark } from '../../soap/names.ts';
import type { XmlElement } from '../../soap/xml/tree.ts';
import { DEFINITION, JSDL, LIFETIME, LOGISTICS, NEGOTIABLE, SERVICES, TYPES } from '../../wsrf/wire/names.ts';
import { asJson, refusal, type CliDeps, type Env } from '../env.ts';
import { SomeFailed } from '../exit.ts';
import { printable } from '../io.ts';
import { time } from '../format.ts';
import { open, service, withCredentials } from './options.ts';
import { called, eprOf, readEpr, serviceOf, type Services } from './services.ts';
import type { EndpointReference } from '../../soap/message/types.ts';

type Names = ReadonlyArray<readonly [ns: string, local: string]>;

const OF_WORKSPACE: Names = [[TYPES, 'currentState'], [TYPES, 'schedule'], [NEGOTIABLE, 'ResourceAllocation'], [LOGISTICS, 'logistics'], [LIFETIME, 'TerminationTime']];
const OF_FACTORY: Names = [[TYPES, 'DefaultRunningTime'], [TYPES, 'MaximumRunningTime'], [JSDL, 'CPUArchitectureName'], [DEFINITION, 'VMM'], [TYPES, 'Associations']];

export function addWsrfQueries(wsrf: Command, deps: CliDeps): void {
  withCredentials(wsrf.command('query <eprs...>'))
    .description('state, times and addresses of workspaces')
    .addHelpText('after', '\nExamples:\n  nimbus wsrf query vm.epr\n  nimbus wsrf query node-0 node-1 --json')
    .action(async (eprs: string[], _o: unknown, command: Command) => {
      const { env, grid } = open(command, deps);
      const rows: SoapObject[] = [];
      const failed: Array<{ item: string; error: unknown }> = [];
      for (const item of eprs) {
        try {
          const to = readEpr(item);
          rows.push({ epr: to, ...await properties(grid, serviceOf(to), to, OF_WORKSPACE) });
        } catch (e) {
          failed.push({ item, error: e });
        }
      }
      const [only] = failed;
      if (eprs.length === 1 && only !== undefined) throw only.error;
      if (env.json) env.say([...rows.map(plain), ...failed.map((f) => ({ item: f.item, error: asJson(f.error) }))], '');
      else if (rows.length > 0) list(env, rows);
      if (!env.json) for (const f of failed) env.io.err(`${printable(f.item)}: ${refusal(f.error)}`);
      if (failed.length > 0) throw new SomeFailed(`${failed.length} of ${eprs.length} failed`);
    });

  withCredentials(wsrf.command('report <epr>'))
    .description('all workspaces of an ensemble')
    .addHelpText('after', '\nExamples:\n  nimbus wsrf report whole.epr')
    .action(async (epr: string, _o: unknown, command: Command) => {
      const { env, grid } = open(command, deps);
      const { report } = await grid.call(SERVICES.ensemble, 'report', readEpr(epr), { returnOnlyIfErrorPresent: false }) as { report?: readonly SoapObject[] };
      list(env, (report ?? []).map((r) => ({ ...r, epr: eprOf(r['epr']), logistics: { networking: r['networking'] } })));
    });

  withCredentials(wsrf.command('status'))
    .description('your workspaces, and the time that you have used and reserved')
    .requiredOption('--service <url>', 'https://HOST:PORT of the services')
    .addHelpText('after', '\nExamples:\n  nimbus wsrf status --service https://grid.example.org:8443')
    .action(async (o: { service: string }, command: Command) => {
      const { env, grid } = open(command, deps);
      const to = service(o.service, SERVICES.status);
      const current = await grid.call(SERVICES.status, 'queryCurrentWorkspaces', to, {}) as { oneCurrentWorkspace?: readonly SoapObject[] };
      const times = await grid.call(SERVICES.status, 'queryUsedAndReservedTime', to, {});
      const minutes = (name: string): number => Number((times[name] as { minutes?: number } | undefined)?.minutes ?? 0);
      const rows = (current.oneCurrentWorkspace ?? []).map((w) => ({ ...w, epr: eprOf(w['epr']) }));
      if (env.json) return env.say({ workspaces: rows.map(plain), usedMinutes: minutes('usedTime'), reservedMinutes: minutes('reservedTime') }, '');
      list(env, rows);
      env.io.out(`\nused ${minutes('usedTime')} minutes, reserved ${minutes('reservedTime')}\n`);
    });

  withCredentials(wsrf.command('factory'))
    .description('what a site offers')
    .requiredOption('--service <url>', 'https://HOST:PORT of the services')
    .addHelpText('after', '\nExamples:\n  nimbus wsrf factory --service https://grid.example.org:8443')
    .action(async (o: { service: string }, command: Command) => {
      const { env, grid } = open(command, deps);
      const found = await properties(grid, SERVICES.factory, service(o.service, SERVICES.factory), OF_FACTORY);
      const minutes = (name: string): string => `${String((found[name] as { minutes?: number } | undefined)?.minutes ?? '?')} minutes`;
      const { type, version = [] } = (found['VMM'] ?? {}) as { type?: string; version?: readonly string[] };
      const networks = ((found['Associations'] as SoapObject | undefined)?.['association'] ?? []) as readonly string[];
      env.say(found, [
        `running time   ${minutes('DefaultRunningTime')}, at most ${minutes('MaximumRunningTime')}`,
        `architecture   ${String(found['CPUArchitectureName'] ?? '-')}`, `VMM            ${type ?? '-'} ${version.join(', ')}`, `networks       ${networks.join(', ') || '-'}`,
      ].join('\n'));
    });
}

/** By local name. */
async function properties({ descriptions: { codec }, call }: Services, name: string, to: EndpointReference, wanted: Names): Promise<SoapObject> {
  const { any = [] } = await call(name, 'GetMultipleResourceProperties', to, { ResourceProperty: wanted.map(([ns, local]) => ({ ns, local })) }) as { any?: readonly XmlElement[] };
  return Object.fromEntries(any.filter((e) => wanted.some(([ns, local]) => e.name === clark(ns, local))).map((e) => [e.local, codec.decode(e)]));
}

const stateOf = (w: SoapObject): string => String((w['currentState'] as SoapObject | undefined)?.['state'] ?? '-');
const addressesOf = (w: SoapObject): string[] => {
  const networking = (w['logistics'] as { networking?: { nic?: ReadonlyArray<{ ipConfig: { ipAddress?: string } }> } } | undefined)?.networking;
  return (networking?.nic ?? []).flatMap((n) => n.ipConfig.ipAddress ?? []);
};
const whyOf = (w: SoapObject): string => {
  const { Description = [] } = ((w['currentState'] as SoapObject | undefined)?.['WorkspaceFault'] ?? {}) as { Description?: ReadonlyArray<string | { $: string }> };
  return Description.map((d) => (typeof d === 'string' ? d : d.$)).join('; ');
};
const endOf = (w: SoapObject): number | null => ((w['schedule'] as SoapObject | undefined)?.['ActualTerminationTime'] as number | undefined) ?? null;

const plain = (w: SoapObject): object => ({
  workspace: called(w['epr'] as EndpointReference), state: stateOf(w), addresses: addressesOf(w), endsAt: endOf(w), why: whyOf(w) || null,
});

function list(env: Env, rows: readonly SoapObject[]): void {
  if (env.json) return env.say(rows.map(plain), '');
  env.table(rows, [
    { title: 'WORKSPACE', value: (w) => called(w['epr'] as EndpointReference) },
    { title: 'STATE', value: stateOf },
    { title: 'ADDRESS', value: (w) => addressesOf(w).join(', ') || '-', shrinks: true },
    { title: 'ENDS', value: (w) => time(endOf(w)) },
    { title: 'WHY', value: whyOf, shrinks: true },
  ], 'There are no workspaces.');
}
