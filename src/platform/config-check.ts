/** What single keys cannot tell: values that contradict each other, and files that cannot be read. Sentences with their keys. */
import { accessSync, constants, statSync } from 'node:fs';
import { reasonText } from './errors.ts';
import { hostAndPort } from './http/address.ts';

interface Tls {
  readonly tls_certificate: string;
  readonly tls_key: string;
}
/** Of the configuration, what is looked at here; sections that could not be read are missing. */
export interface Readable {
  readonly ec2?: Tls & { readonly listen: string };
  readonly grid?: Tls & { readonly mapfile: string };
  readonly pilot?: Tls & { readonly lrm: 'slurm' | 'pbs'; readonly listen: string; readonly tls_ca: string; readonly ssh_known_hosts: string };
  readonly pilot_spot?: { readonly partition: string; readonly qos: string; readonly nice: number; readonly queue: string; readonly priority: number };
  readonly monitoring?: { readonly listen: string };
  readonly wsrf?: { readonly listen: string; readonly legacy_listen: string };
  readonly scheduler?: { readonly mode: 'greedy-static' | 'pilot' };
  readonly network?: { readonly forward_ports: string };
  readonly local_nodes?: ReadonlyArray<{ readonly name: string }>;
  readonly lease?: { readonly default_type: string; readonly default_duration: number; readonly max_duration: number };
  readonly types?: Readonly<Record<string, unknown>>;
  readonly login_node?: { readonly key: string };
  readonly authorization?: OwnCode;
  readonly usage_sinks?: Readonly<Record<string, OwnCode>>;
}
interface OwnCode {
  readonly module: string;
  readonly token_file: string;
}

export function contradictions(c: Readable): string[] {
  return [...halfTls(c), ...gridDoors(c), ...listeners(c), ...forwardPorts(c), ...localNodes(c), ...leases(c), ...spotKeys(c)];
}

function halfTls(c: Readable): string[] {
  return (['ec2', 'pilot', 'grid'] as const).flatMap((section) => {
    const { tls_certificate: certificate = '', tls_key: key = '' } = c[section] ?? {};
    if ((certificate === '') === (key === '')) return [];
    const [missing, given] = certificate === '' ? ['tls_certificate', 'tls_key'] : ['tls_key', 'tls_certificate'];
    return [`${section}.${missing}: must be set, as ${section}.${given} is; or leave both empty${section === 'grid' ? '' : ' for HTTP'}`];
  });
}

/** Grid clients are known by certificates, which only TLS carries. */
function gridDoors({ wsrf, grid }: Readable): string[] {
  if (wsrf === undefined) return [];
  const found: string[] = [];
  if (wsrf.listen !== '' && grid?.tls_certificate === '') found.push('grid.tls_certificate: must be set, as wsrf.listen is');
  if (wsrf.listen === '' && wsrf.legacy_listen !== '') found.push('wsrf.listen: must be set, as wsrf.legacy_listen is');
  return found;
}

/** Every address takes all of them: `0.0.0.0:80` and `127.0.0.1:80` are one port. */
const EVERYWHERE = new Set(['', '*', '0.0.0.0', '::']);

function listeners(c: Readable): string[] {
  const all = [
    ['ec2.listen', c.ec2?.listen], ['pilot.listen', c.scheduler?.mode === 'pilot' ? c.pilot?.listen : undefined], ['monitoring.listen', c.monitoring?.listen],
    ['wsrf.listen', c.wsrf?.listen], ['wsrf.legacy_listen', c.wsrf?.legacy_listen],
  ] as const;
  const open = all.flatMap(([key, listen]) => (listen === undefined || listen === '' ? [] : [{ key, ...hostAndPort(listen) }]));
  const tooLarge = open.filter((o) => Number(o.port) > 65_535).map((o) => `${o.key}: the port must be 0 to 65535`);
  const same = open.flatMap((a, i) => open.slice(0, i)
    .filter((b) => a.port === b.port && a.port !== '0' && (a.host === b.host || EVERYWHERE.has(a.host) || EVERYWHERE.has(b.host)))
    .map((b) => `${a.key}: must be another port than that of ${b.key}, ${b.port}`));
  return [...tooLarge, ...same];
}

function forwardPorts({ network }: Readable): string[] {
  if (network === undefined) return [];
  const [from = 0, to = 0] = network.forward_ports.split('-').map(Number);
  return from >= 1 && from <= to && to <= 65_535 ? [] : ['network.forward_ports: must be FROM-TO with 1 <= FROM <= TO <= 65535'];
}

function localNodes({ local_nodes: nodes = [] }: Readable): string[] {
  return nodes.flatMap(({ name }, i) => {
    const first = nodes.findIndex((n) => n.name === name);
    return first === i ? [] : [`local_nodes.${i}.name: must be another name than that of local_nodes.${first}, ${name}`];
  });
}

function leases({ lease, types }: Readable): string[] {
  if (lease === undefined) return [];
  const found: string[] = [];
  if (types !== undefined && !Object.hasOwn(types, lease.default_type)) found.push(`lease.default_type: must be one of [types]: ${Object.keys(types).join(', ') || 'there are none'}`);
  if (lease.default_duration > lease.max_duration) found.push('lease.default_duration: must not be longer than lease.max_duration');
  return found;
}

/** What one batch system knows means nothing to the other. */
function spotKeys({ pilot, pilot_spot: spot }: Readable): string[] {
  if (pilot === undefined || spot === undefined) return [];
  const foreign = pilot.lrm === 'slurm' ? (['queue', 'priority'] as const) : (['partition', 'qos', 'nice'] as const);
  return foreign.filter((key) => spot[key] !== '' && spot[key] !== 0).map((key) => `pilot_spot.${key}: must be left out, as pilot.lrm is ${pilot.lrm}`);
}

/** Files that the service reads at its start. Who only administers it need not be able to. */
export function unreadableFiles(c: Readable): string[] {
  const pilotMode = c.scheduler?.mode === 'pilot';
  const files: ReadonlyArray<readonly [key: string, file: string | undefined]> = [
    ['ec2.tls_certificate', c.ec2?.tls_certificate], ['ec2.tls_key', c.ec2?.tls_key],
    ['grid.tls_certificate', c.grid?.tls_certificate], ['grid.tls_key', c.grid?.tls_key], ['grid.mapfile', c.grid?.mapfile],
    ['authorization.module', c.authorization?.module], ['authorization.token_file', c.authorization?.token_file],
    ...Object.entries(c.usage_sinks ?? {}).flatMap(([name, s]) => [[`usage_sinks.${name}.module`, s.module], [`usage_sinks.${name}.token_file`, s.token_file]] as const),
    ...(pilotMode ? [
      ['pilot.tls_certificate', c.pilot?.tls_certificate], ['pilot.tls_key', c.pilot?.tls_key], ['pilot.tls_ca', c.pilot?.tls_ca],
      ['pilot.ssh_known_hosts', c.pilot?.ssh_known_hosts], ['login_node.key', c.login_node?.key],
    ] as const : []),
  ];
  return files.flatMap(([key, file]) => {
    const why = file === undefined || file === '' ? undefined : whyNotReadable(file);
    return why === undefined ? [] : [`${key}: "${file ?? ''}" must be a file that the service can read: ${why}`];
  });
}

function whyNotReadable(file: string): string | undefined {
  try {
    accessSync(file, constants.R_OK);
    return statSync(file).isFile() ? undefined : 'it is none';
  } catch (e) {
    return reasonText(e);
  }
}
