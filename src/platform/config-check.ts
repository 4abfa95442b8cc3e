/** What single keys cannot tell: values that contradict each other. Sentences with their keys. */
import { keyOf } from './config-types.ts';
import { hostAndPort } from './http/address.ts';

interface Tls {
  readonly tls_certificate: string;
  readonly tls_key: string;
}
/** Of the configuration, what is looked at here; sections that could not be read are missing. */
export interface Readable {
  readonly ec2?: Tls & { readonly listen: string; readonly public_address: string; readonly grid_certificates: boolean };
  readonly grid?: Tls & { readonly mapfile: string; readonly trust_directory: string };
  readonly pilot?: Tls & { readonly lrm: 'slurm' | 'pbs'; readonly listen: string; readonly tls_ca: string; readonly ssh_known_hosts: string; readonly legacy_account: string; readonly legacy_secret: string };
  readonly pilot_spot?: { readonly partition: string; readonly qos: string; readonly nice: number; readonly queue: string; readonly priority: number };
  readonly monitoring?: { readonly listen: string };
  readonly wsrf?: { readonly listen: string; readonly legacy_listen: string; readonly public_address: string };
  readonly database?: { readonly url: string; readonly bin: string };
  readonly images?: { readonly directory: string };
  readonly log?: { readonly file: string };
  readonly scheduler?: { readonly mode: 'greedy-static' | 'pilot' };
  readonly network?: { readonly forward_ports: string };
  readonly local_nodes?: ReadonlyArray<{ readonly name: string }>;
  readonly lease?: { readonly default_type: string; readonly default_duration: number; readonly max_duration: number };
  readonly types?: Readonly<Record<string, unknown>>;
  readonly login_node?: { readonly host: string; readonly port: number; readonly user: string; readonly key: string; readonly host_key: string };
  readonly authorization?: OwnCode;
  readonly usage_sinks?: Readonly<Record<string, OwnCode>>;
}
interface OwnCode {
  readonly module: string;
  readonly url: string;
  readonly token_file: string;
}

/** @param wrong keys that cannot be read: what is said of them already is not said again as if they were missing */
export function contradictions(c: Readable, wrong: ReadonlySet<string> = new Set()): string[] {
  const found = [...halfTls(c), ...gridDoors(c), ...listeners(c), ...forwardPorts(c), ...localNodes(c), ...leases(c), ...spotKeys(c), ...legacyPilots(c), ...loginNode(c), ...ownCode(c, wrong)];
  return found.filter((sentence) => !wrong.has(sentence.slice(0, sentence.indexOf(': '))));
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
  const named = [...all, ['ec2.public_address', c.ec2?.public_address], ['wsrf.public_address', c.wsrf?.public_address]] as const;
  const tooLarge = named.filter(([, address = '']) => Number(hostAndPort(address).port) > 65_535).map(([key]) => `${key}: the port must be 0 to 65535`);
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

/** Pilots of the original show the two together. */
function legacyPilots({ pilot }: Readable): string[] {
  const { legacy_account: account = '', legacy_secret: secret = '' } = pilot ?? {};
  if ((account === '') === (secret === '')) return [];
  const [missing, given] = account === '' ? ['legacy_account', 'legacy_secret'] : ['legacy_secret', 'legacy_account'];
  return [`pilot.${missing}: must be set, as pilot.${given} is; or leave both empty, and pilots of the original are refused`];
}

function loginNode({ scheduler, login_node: node }: Readable): string[] {
  if (scheduler?.mode !== 'pilot' || node === undefined || node.host === '') return [];
  return [
    ...(node.user === '' ? [`login_node.user: must be set, as login_node.host is: the account of ${node.host} whose jobs the pilots are`] : []),
    ...(node.host_key === '' ? [`login_node.host_key: must be set, as login_node.host is: to what "ssh-keyscan -t ed25519 -p ${node.port} ${node.host}" prints, once it was compared with the host’s own`] : []),
  ];
}

function ownCode({ authorization, usage_sinks: sinks = {} }: Readable, wrong: ReadonlySet<string>): string[] {
  const both = (c: OwnCode): boolean => c.module !== '' && c.url !== '';
  const neither = (c: OwnCode): boolean => c.module === '' && c.url === '';
  const unread = (name: string): boolean => ['module', 'url'].some((key) => wrong.has(keyOf(['usage_sinks', name, key])));
  return [
    ...(authorization !== undefined && both(authorization) ? ['authorization: module and url exclude each other'] : []),
    ...Object.entries(sinks).flatMap(([name, s]) => (both(s) || (neither(s) && !unread(name)) ? [`${keyOf(['usage_sinks', name])}: needs module or url, one of them`] : [])),
  ];
}
