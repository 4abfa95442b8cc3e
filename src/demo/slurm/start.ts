/**
 * A real Slurm of its own on this machine: one controller, a daemon for each node, munged with a key of its own, ports that
 * the kernel has free, all in one directory. Needs Debian's packages, no system service, and no root.
 */
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Clock, Random } from '../../platform/context.ts';
import { StartError } from '../../platform/errors.ts';
import { realClock, realRandom } from '../../platform/real.ts';
import { removeCgroups, requireCgroups } from './cgroups.ts';
import { CGROUP_CONF, nodeNames, partitions, settingsFrom, slurmConf, type Settings, type Site } from './config.ts';
import { CONTROLLER, createFleet, PortTaken, type Fleet } from './fleet.ts';
import { freePorts, listens } from './ports.ts';
import { INSTALL, missingPrograms } from './programs.ts';
import { cleanEnv, run } from './run.ts';
import type { PrivateSlurm, PrivateSlurmOptions, Ran } from './types.ts';

/** Somebody else may take a port between the look and the daemon. */
const ATTEMPTS = 3;
const READY_MS = 60_000;
const KEY_BYTES = 128;

export interface Sources {
  readonly clock: Clock;
  readonly random: Random;
}

/** Resolves when every node is idle. @throws StartError that says what to install, what to change, or what a daemon said */
export async function startPrivateSlurm(options: PrivateSlurmOptions, sources: Sources = { clock: realClock, random: realRandom }): Promise<PrivateSlurm> {
  const settings = settingsFrom(options);
  const missing = missingPrograms();
  if (missing.length > 0) throw new StartError(`a private Slurm needs ${missing.join(', ')}; on Debian: ${INSTALL}`);
  if (settings.proctrack === 'cgroup') requireCgroups(nodeNames(settings));
  if (existsSync(settings.dir)) throw new StartError(`${settings.dir} is there already; a private Slurm makes its own directory`);
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(settings, sources);
    } catch (e) {
      if (!(e instanceof PortTaken) || attempt === ATTEMPTS) throw e;
    }
  }
}

async function startOnce(settings: Settings, { clock, random }: Sources): Promise<PrivateSlurm> {
  const { dir } = settings;
  const nodes = nodeNames(settings);
  const [controllerPort = 0, ...nodePorts] = await freePorts(random, 1 + nodes.length);
  const cluster = `private${random.bytes(6).toString('hex')}`;
  const site = { cluster, host: hostname().split('.')[0] ?? '', user: userInfo().username, controllerPort, nodePorts };
  const env = { SLURM_CONF: join(dir, 'slurm.conf') };
  const fleet = createFleet(clock, { dir, cluster, nodes, env: { ...cleanEnv(), ...env } });
  const portOf = (name: string): number => (name === CONTROLLER ? controllerPort : nodePorts[nodes.indexOf(name)] ?? 0);
  const slurm = privateSlurm(settings, env, fleet, portOf);
  try {
    prepareDir(settings, site, random);
    await fleet.start(['munged']);
    await fleet.until('the start of munged', READY_MS, () => Promise.resolve(existsSync(join(dir, 'run', 'munge.socket')) || 'no socket yet'));
    await fleet.start([CONTROLLER, ...nodes]);
    await fleet.until('the start of the private Slurm', READY_MS, () => allIdle(slurm, controllerPort));
    return slurm;
  } catch (e) {
    await slurm.stop();
    throw e;
  }
}

/** Open to others as far as the directories above are, so that a Slurm of root's can take jobs of other users; secrets are not. */
function prepareDir(settings: Settings, site: Site, random: Random): void {
  const { dir } = settings;
  for (const path of [dir, ...['run', 'log', 'spool'].map((sub) => join(dir, sub))]) {
    mkdirSync(path, { recursive: true });
    chmodSync(path, 0o755);
  }
  mkdirSync(join(dir, 'state'), { mode: 0o700 });
  writeFileSync(join(dir, 'munge.key'), random.bytes(KEY_BYTES), { mode: 0o600 });
  writeFileSync(join(dir, 'slurm.conf'), slurmConf(settings, site), { mode: 0o644 });
  if (settings.proctrack === 'cgroup') writeFileSync(join(dir, 'cgroup.conf'), CGROUP_CONF, { mode: 0o644 });
}

function privateSlurm(settings: Settings, env: Readonly<Record<string, string>>, fleet: Fleet, portOf: (name: string) => number): PrivateSlurm {
  const { dir, killWaitS } = settings;
  const { usual, high } = partitions(settings);
  let stopping: Promise<void> | undefined;
  async function endAll(): Promise<void> {
    await fleet.end();
    if (settings.proctrack === 'cgroup') removeCgroups(slurm.nodes);
    rmSync(dir, { recursive: true, force: true });
  }
  const slurm: PrivateSlurm = {
    dir, env, killWaitS, nodes: nodeNames(settings), partition: usual, highPartition: high,
    run: (argv, input) => run(argv, { ...cleanEnv(), ...env }, dir, input),
    stop: () => (stopping ??= endAll()),
    stopDaemon: (name) => fleet.stop(name),
    async startDaemon(name) {
      await fleet.start([name]);
      await fleet.until(`the start of ${name}`, READY_MS, () => answers(slurm, name, portOf(name)));
    },
    killNode: (node) => fleet.kill(node),
    async setNode(node, state, reason) {
      const ran = await slurm.run(['scontrol', 'update', `NodeName=${node}`, `State=${state.toUpperCase()}`, `Reason=${reason}`]);
      if (ran.code !== 0) throw new Error(`${node} cannot be set to ${state}: ${ran.stderr.trim()}`);
    },
  };
  return slurm;
}

const firstLine = ({ stdout, stderr }: Ran): string => (stderr.trim() || stdout.trim()).split('\n')[0] ?? '';

/** The commands try for ten seconds to reach a controller that is not there; so look first. */
async function allIdle(slurm: PrivateSlurm, controllerPort: number): Promise<string | true> {
  if (!(await listens(controllerPort))) return 'slurmctld does not listen yet';
  const ran = await slurm.run(['sinfo', '--noheader', '--Node', '--partition', slurm.partition, '--format', '%T']);
  const idle = ran.stdout.split('\n').filter((state) => state === 'idle').length;
  return ran.code === 0 && idle === slurm.nodes.length ? true : `${idle} of ${slurm.nodes.length} nodes are idle; sinfo: ${firstLine(ran)}`;
}

/** The daemon listens, and what the controller says of it agrees: a node that was given up is registered anew first. */
async function answers(slurm: PrivateSlurm, name: string, port: number): Promise<string | true> {
  if (!(await listens(port))) return `nothing listens on port ${port}`;
  const ran = await slurm.run(name === CONTROLLER ? ['scontrol', 'ping'] : ['sinfo', '--noheader', '--nodes', name, '--format', '%T']);
  const ready = name === CONTROLLER ? ran.stdout.includes('is UP') : !/down|\*/.test(ran.stdout);
  return ran.code === 0 && ready ? true : firstLine(ran);
}
