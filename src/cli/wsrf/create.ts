/** `nimbus wsrf create`: from the files that the original's client takes, and what the command line says besides. */
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parseDuration } from '../../lease/duration.ts';
import { endpointValue } from '../../soap/message/addressing.ts';
import type { SoapObject } from '../../soap/schema/codec.ts';
import type { EndpointReference } from '../../soap/message/types.ts';
import { readXml } from '../../soap/xml/read.ts';
import { SERVICES } from '../../wsrf/wire/names.ts';
import type { CliDeps } from '../env.ts';
import { UsageError } from '../exit.ts';
import { wholeNumber } from '../format.ts';
import { file } from './connection.ts';
import { open, service, withCredentials, type WsrfOptions } from './options.ts';
import { called, eprOf, eprText, readEpr, type Services } from './services.ts';

interface CreateOptions extends WsrfOptions {
  readonly service: string;
  readonly metadata: string;
  readonly request?: string;
  readonly optional?: string;
  readonly duration?: string;
  readonly memory?: number;
  readonly cores?: number;
  readonly count?: number;
  readonly state?: string;
  readonly userdata?: string;
  readonly sshfile?: string;
  readonly saveTo?: string;
  readonly file?: string;
  readonly groupfile?: string;
  readonly newEnsemble?: string;
  readonly joinEnsemble?: string;
  readonly lastInEnsemble?: boolean;
}

export function addWsrfCreate(wsrf: Command, deps: CliDeps): void {
  withCredentials(wsrf.command('create'))
    .description('make workspaces')
    .requiredOption('--service <url>', 'https://HOST:PORT of the services')
    .requiredOption('--metadata <file>', 'what to run: a VirtualWorkspace document')
    .option('--request <file>', 'how much and how long: a WorkspaceDeployment document')
    .option('--optional <file>', 'an OptionalParameters document')
    .option('--duration <time>', 'running time: 90m, 2h, 1d12h')
    .option('--memory <mb>', 'of each VM, MB', wholeNumber)
    .option('--cores <n>', 'of each VM', wholeNumber)
    .option('--count <n>', 'VMs, a group when there are several', wholeNumber)
    .option('--state <state>', 'Running, Paused, Propagated or Unpropagated')
    .option('--userdata <file>', 'for the VM to read')
    .option('--sshfile <file>', 'public key for root')
    .option('--save-to <url>', 'where the disk is kept at the end; its last part is the image’s name')
    .option('--file <file>', 'write the reference here; FILE-0, FILE-1 … for several VMs')
    .option('--groupfile <file>', 'write the group’s reference here')
    .option('--new-ensemble <file>', 'begin an ensemble and write its reference here')
    .option('--join-ensemble <file>', 'be part of this ensemble')
    .option('--last-in-ensemble', 'and start all of it')
    .addHelpText('after', `
Examples:
  nimbus wsrf create --service https://grid.example.org:8443 \\
      --metadata vm.xml --request deploy.xml --file vm.epr
  nimbus wsrf create --service https://grid.example.org:8443 \\
      --metadata vm.xml --duration 2h --memory 512 \\
      --count 4 --file node --groupfile nodes.epr
  nimbus wsrf create --service https://grid.example.org:8443 \\
      --metadata head.xml --duration 2h --memory 512 \\
      --file head.epr --new-ensemble whole.epr
  nimbus wsrf create --service https://grid.example.org:8443 \\
      --metadata node.xml --duration 2h --memory 512 \\
      --file node.epr --join-ensemble whole.epr --last-in-ensemble`)
    .action(async (o: CreateOptions, command: Command) => {
      const { env, grid } = open(command, deps);
      const made = await grid.call(SERVICES.factory, 'create', service(o.service, SERVICES.factory), createInput(o, grid));
      const written = writeFiles(o, grid, made);
      const all = made['CreatedWorkspace'] as readonly SoapObject[];
      env.say({ workspaces: all.map((w) => called(eprOf(w['epr']))), files: written }, [...all.map(described), ...written.map((f) => `wrote ${f}`)].join('\n'));
    });
}

function described(w: SoapObject): string {
  const nics = ((w['networking'] as SoapObject | undefined)?.['nic'] ?? []) as readonly SoapObject[];
  const addresses = nics.map((n) => (n['ipConfig'] as SoapObject)['ipAddress']).join(', ');
  return `${called(eprOf(w['epr']))}${addresses === '' ? '' : ` at ${addresses}`}`;
}

function createInput(o: CreateOptions, { descriptions: { codec } }: Services): SoapObject {
  const document = (name: string): SoapObject => codec.decode(readXml(file(name))) as SoapObject;
  const optional = o.optional === undefined ? {} : document(o.optional);
  const writes = (optional['filewrite'] ?? []) as readonly SoapObject[];
  const key = o.sshfile === undefined ? [] : [{ content: file(o.sshfile).toString(), pathOnVM: '/root/.ssh/authorized_keys' }];
  const join = o.joinEnsemble === undefined ? undefined : readEpr(o.joinEnsemble);
  if (o.lastInEnsemble === true && join === undefined && o.newEnsemble === undefined) throw new UsageError('--last-in-ensemble needs --join-ensemble or --new-ensemble');
  return {
    metadata: document(o.metadata),
    resourceRequest: resources(o, o.request === undefined ? {} : document(o.request)),
    optionalParameters: {
      ...optional, ...(writes.length + key.length === 0 ? {} : { filewrite: [...writes, ...key] }),
      ...(o.userdata === undefined ? {} : { mdServerUserdata: file(o.userdata).toString() }),
    },
    ...(join === undefined && o.newEnsemble === undefined ? {} : { partOfEnsemble: true }),
    ...(join === undefined ? {} : { ensembleEPR: endpointValue(join) }),
    ...(o.lastInEnsemble === true ? { ensembleDone: true } : {}),
  };
}

/** What the command line says replaces what the file says. */
function resources(o: CreateOptions, request: SoapObject): SoapObject {
  const seconds = o.duration === undefined ? undefined : parseDuration(o.duration);
  if (o.duration !== undefined && seconds === undefined) throw new UsageError(`"${o.duration}" is no duration; write e.g. 90m, 2h or 1d12h`);
  const allocation = (request['ResourceAllocation'] ?? {}) as SoapObject;
  if (o.memory === undefined && allocation['IndividualPhysicalMemory'] === undefined) throw new UsageError('say how much memory: --memory MB, or --request FILE');
  return {
    ...request,
    DeploymentTime: seconds === undefined ? request['DeploymentTime'] ?? {} : { minDuration: { seconds } },
    InitialState: o.state ?? request['InitialState'] ?? 'Running',
    ResourceAllocation: {
      ...allocation, ...(o.memory === undefined ? {} : { IndividualPhysicalMemory: { Exact: [o.memory] } }), ...(o.cores === undefined ? {} : { IndividualCPUCount: { Exact: [o.cores] } }),
    },
    NodeNumber: o.count ?? request['NodeNumber'] ?? 1,
    ...(o.saveTo === undefined ? {} : { ShutdownMechanism: undefined, PostShutdown: { rootPartitionUnpropagationTarget: o.saveTo } }),
  };
}

/** Names of the files. */
function writeFiles(o: CreateOptions, { descriptions }: Services, made: SoapObject): string[] {
  const all = (made['CreatedWorkspace'] as readonly SoapObject[]).map((w) => eprOf(w['epr']));
  const write = (name: string | undefined, reference: EndpointReference | undefined): string[] => {
    if (name === undefined || reference === undefined) return [];
    writeFileSync(name, eprText(descriptions, reference));
    return [name];
  };
  const optional = (value: unknown): EndpointReference | undefined => (value === null || value === undefined ? undefined : eprOf(value));
  return [
    ...all.flatMap((reference, i) => write(o.file === undefined || all.length === 1 ? o.file : `${o.file}-${i}`, reference)),
    ...write(o.groupfile, optional(made['GroupEPR'])),
    ...write(o.newEnsemble, optional(made['EnsembleEPR'])),
  ];
}
