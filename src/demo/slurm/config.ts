/** slurm.conf (slurm.conf(5), release 22.05) of a Slurm whose nodes are all this machine. Pure. */
import { StartError } from '../../platform/errors.ts';
import type { PrivateSlurmOptions } from './types.ts';

export interface Settings extends Required<Omit<PrivateSlurmOptions, 'epilog' | 'prolog' | 'preempt'>> {
  readonly epilog: string | null;
  readonly prolog: string | null;
  readonly preempt: { readonly graceS: number } | null;
}

/** What is known only at the start. */
export interface Site {
  readonly cluster: string;
  /** As gethostname(2) says it, up to the first dot: slurmctld compares. */
  readonly host: string;
  readonly user: string;
  readonly controllerPort: number;
  readonly nodePorts: readonly number[];
}

/** A socket's name has 107 characters; the longest is `spool/node256/node256_JOB.STEP`, with two numbers of ten digits. */
const LONGEST_DIR = 60;
const MOST_NODES = 256;
/** The file has no way to quote every character. */
const PLAIN_PATH = /^\/[A-Za-z0-9._/+-]+$/;

/** Options with their defaults. @throws StartError that names the option */
export function settingsFrom(options: PrivateSlurmOptions): Settings {
  const settings: Settings = {
    dir: options.dir,
    nodes: options.nodes ?? 16,
    cpusPerNode: options.cpusPerNode ?? 4,
    memoryMbPerNode: options.memoryMbPerNode ?? 2048,
    killWaitS: options.killWaitS ?? 5,
    epilog: options.epilog ?? null,
    prolog: options.prolog ?? null,
    preempt: options.preempt ?? null,
    proctrack: options.proctrack ?? 'linuxproc',
    extra: options.extra ?? [],
  };
  for (const name of ['dir', 'epilog', 'prolog'] as const) {
    const path = settings[name];
    if (path !== null && !PLAIN_PATH.test(path)) throw new StartError(`Slurm cannot use "${path}" as its ${name}: it takes absolute paths of letters, digits and . _ / + - only`);
  }
  if (settings.dir.length > LONGEST_DIR) throw new StartError(`Slurm cannot use ${settings.dir}: with more than ${LONGEST_DIR} characters the names of its sockets are too long; choose a shorter directory`);
  for (const name of ['nodes', 'cpusPerNode', 'memoryMbPerNode', 'killWaitS'] as const) atLeastOne(name, settings[name]);
  if (settings.preempt !== null) atLeastOne('preempt.graceS', settings.preempt.graceS);
  if (settings.nodes > MOST_NODES) throw new StartError(`a private Slurm has at most ${MOST_NODES} nodes`);
  if (settings.extra.some((line) => line.includes('\n'))) throw new StartError('an extra line of slurm.conf is one line');
  return settings;
}

function atLeastOne(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) throw new StartError(`${name} of a private Slurm is a whole number from 1 up, not ${value}`);
}

export const nodeNames = (settings: Settings): string[] => Array.from({ length: settings.nodes }, (_, i) => `node${i + 1}`);

export const partitions = (settings: Settings): { readonly usual: string; readonly high: string | null } =>
  (settings.preempt === null ? { usual: 'main', high: null } : { usual: 'low', high: 'high' });

export function slurmConf(settings: Settings, site: Site): string {
  return [...base(settings, site), ...scheduling(settings), ...nodesAndPartitions(settings, site), ...settings.extra, ''].join('\n');
}

function base({ dir, proctrack, epilog, prolog }: Settings, site: Site): string[] {
  return [
    `ClusterName=${site.cluster}`,
    `SlurmctldHost=${site.host}(127.0.0.1)`,
    `SlurmctldPort=${site.controllerPort}`,
    `SlurmUser=${site.user}`,
    `SlurmdUser=${site.user}`,
    // Nothing of it can be reached from other machines.
    'CommunicationParameters=NoInAddrAny,NoCtldInAddrAny',
    'AuthType=auth/munge',
    'CredType=cred/munge',
    `AuthInfo=socket=${dir}/run/munge.socket`,
    `StateSaveLocation=${dir}/state`,
    `SlurmdSpoolDir=${dir}/spool/%n`,
    `SlurmctldPidFile=${dir}/run/slurmctld.pid`,
    `SlurmdPidFile=${dir}/run/%n.pid`,
    `SlurmctldLogFile=${dir}/log/slurmctld.log`,
    `SlurmdLogFile=${dir}/log/%n.log`,
    'SlurmctldSyslogDebug=quiet',
    'SlurmdSyslogDebug=quiet',
    `ProctrackType=proctrack/${proctrack}`,
    'TaskPlugin=task/none',
    'MpiDefault=none',
    ...(epilog === null ? [] : [`Epilog=${epilog}`]),
    ...(prolog === null ? [] : [`Prolog=${prolog}`]),
  ];
}

function scheduling({ killWaitS, preempt }: Settings): string[] {
  return [
    'SchedulerParameters=sched_interval=1,bf_interval=1',
    'SelectType=select/cons_tres',
    'SelectTypeParameters=CR_CPU_Memory',
    // Nodes have what they say, not what this machine has.
    'SlurmdParameters=config_overrides',
    `KillWait=${killWaitS}`,
    'SlurmdTimeout=60',
    // A node whose daemon comes back is used again, one that was set down is not.
    'ReturnToService=1',
    ...(preempt === null ? [] : ['PreemptType=preempt/partition_prio', 'PreemptMode=CANCEL']),
  ];
}

function nodesAndPartitions(settings: Settings, site: Site): string[] {
  const names = nodeNames(settings);
  const partition = (name: string, rest: string): string => `PartitionName=${name} Nodes=${names.join(',')} State=UP MaxTime=INFINITE ${rest}`;
  const { usual, high } = partitions(settings);
  const grace = settings.preempt?.graceS ?? 0;
  return [
    ...names.map((name, i) => `NodeName=${name} NodeHostname=${site.host} NodeAddr=127.0.0.1 Port=${site.nodePorts[i] ?? 0}`
      + ` CPUs=${settings.cpusPerNode} RealMemory=${settings.memoryMbPerNode} State=UNKNOWN`),
    partition(usual, high === null ? 'Default=YES' : `Default=YES PriorityTier=1 PreemptMode=CANCEL GraceTime=${grace}`),
    ...(high === null ? [] : [partition(high, 'Default=NO PriorityTier=10 PreemptMode=OFF')]),
  ];
}

/** Read with `proctrack/cgroup` only (cgroup.conf(5)). */
export const CGROUP_CONF = 'CgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n';
