/** What a site has without anyone asking: the built-in guest, the default network, the nodes on this machine. */
import type { Config } from '../platform/config.ts';
import type { Context } from '../platform/context.ts';
import { join } from 'node:path';
import { guestImage } from '../images/builtin/guest.ts';
import type { ImageRepository } from '../images/repository.ts';
import { isTheRepository, strangeDirectory } from '../images/shared.ts';
import type { NodeAccess } from '../lease/node.ts';
import { noAnswer } from '../platform/answering.ts';
import { DeadlineExceeded, withDeadline } from '../platform/deadline.ts';
import { errorCode, errorText, reasonText, StartError } from '../platform/errors.ts';
import type { Db } from '../store/db.ts';
import { addressesOfOthers, insertNetwork, networksByName } from '../store/networks.ts';
import { ensureLocalNode } from '../store/nodes.ts';
import { nodeAccess } from '../store/nodes-admin.ts';
import type { OtherProcess, Processes } from './processes.ts';

/** A machine's local node offers room for at least so many VMs of the default type. */
const LEAST_VMS = 4;

/** Some file calls, and a directory for each user that is looked through. */
const FILES_MS = 60_000;
/** The log need not have all of them; the doctor has. */
const MOST_WARNED = 10;

interface Deps {
  readonly ctx: Context;
  readonly db: Db;
  readonly config: Config;
  readonly repository: ImageRepository;
  /** State directories of agents on this machine. */
  readonly nodesDir: string;
  readonly imagesDir: string;
  readonly processes: Pick<Processes, 'others'>;
  /** This machine's name. */
  readonly host: string;
  readonly machine: { readonly memoryMb: number; readonly cores: number };
}

/** Repeatable: what is there stays, what the configuration says of local nodes is brought up to date. */
export async function firstStart(deps: Deps): Promise<void> {
  const others = await deps.processes.others();
  const whose = await ofImages(deps, () => isTheRepository(deps, deps.imagesDir, others.length === 0));
  if (whose === 'strange' && others.length === 0) throw new StartError(strangeDirectory(deps.imagesDir));
  if (whose !== 'own') {
    throw new StartError(`${deps.imagesDir} is not the image directory of the service ${nameOf(others[0])} on the same database: services share one; `
      + 'set images.directory to a directory that all of them see');
  }
  await ofImages(deps, async () => {
    await deps.repository.ensureBuiltin(guestImage());
    await deps.repository.tidy(others.length === 0);
  });
  await ensureDefaultNetwork(deps);
  await warnOfPools(deps);
  // In pilot mode every node is borrowed.
  if (deps.config.scheduler.mode === 'pilot') return;
  for (const node of deps.config.local_nodes) await ensureNode(deps, node, others);
}

/** Of directories and files; what the database says has other codes. */
const OF_FILES = new Set(['EACCES', 'EEXIST', 'EIO', 'EISDIR', 'ENOTDIR', 'EPERM', 'EROFS']);

/** The same start would find the same files again. @throws StartError */
async function ofImages<T>({ ctx, imagesDir: directory }: Deps, work: () => Promise<T>): Promise<T> {
  try {
    return await withDeadline(ctx.clock, FILES_MS, 'the image directory', work());
  } catch (e) {
    if (e instanceof DeadlineExceeded) throw new StartError(noAnswer('images.directory', directory, FILES_MS), { cause: e });
    if (!OF_FILES.has(errorCode(e) ?? '')) throw e;
    throw new StartError(`images.directory = "${directory}" cannot be used: ${reasonText(e)} (${errorText(e)})`, { cause: e });
  }
}

async function ensureDefaultNetwork({ ctx, db, config }: Deps): Promise<void> {
  const name = config.lease.default_network;
  if ((await db.query(networksByName, [[name]])).length > 0) return;
  await db.query(insertNetwork, [name, 'user', null, 24, null, [], new Date(ctx.clock.now())]);
}

/** New ones are refused where they are made; what an older version let in keeps no site from starting. */
export async function warnOfPools({ ctx, db }: Pick<Deps, 'ctx' | 'db'>): Promise<void> {
  for (const o of (await db.query(addressesOfOthers)).slice(0, MOST_WARNED)) {
    ctx.log.warn('a pool would give a guest what is a gateway or a name server on its bridge; take it out: nimbus network address remove', { network: o.network, address: o.ip, is: `the ${o.what} of ${o.other}` });
  }
}

async function ensureNode({ ctx, db, config, nodesDir, machine, host }: Deps, node: Config['local_nodes'][number], others: readonly OtherProcess[]): Promise<void> {
  const smallest = config.types[config.lease.default_type];
  const memoryMb = node.memory_mb || Math.max(Math.floor(machine.memoryMb / 2), LEAST_VMS * (smallest?.memory_mb ?? 0));
  const cores = node.cores || Math.max(machine.cores, LEAST_VMS * (smallest?.cores ?? 1));
  const access: NodeAccess = {
    transport: 'local', stateDir: join(nodesDir, node.name), machine: host, driver: node.driver,
    agentConfig: { ...agentConfig(config), qemu: { bindAddress: node.guest_address, reachHost: node.guest_address } },
  };
  const [kept] = await db.query(ensureLocalNode, [node.name, node.zone, memoryMb, cores, JSON.stringify(access), new Date(ctx.clock.now()), host, others.map((o) => `${o.place}/`)]);
  if (kept === undefined) await refuseForeign(db, node.name, others);
  if (kept !== undefined && (kept.memory_mb !== memoryMb || kept.cores !== cores)) {
    ctx.log.warn('a local node keeps its size while leases need more than the configuration gives it', { nodeName: node.name, memoryMb: kept.memory_mb, cores: kept.cores });
  }
}

/** @throws StartError when the name is that of a local node of another service: one of the two would lose its VMs */
async function refuseForeign(db: Db, name: string, others: readonly OtherProcess[]): Promise<void> {
  const [there] = await db.query(nodeAccess, [name]);
  if (there?.access.transport !== 'local') return;
  const { machine, stateDir } = there.access;
  const owner = others.find((o) => `${machine ?? o.host}:${stateDir}`.startsWith(`${o.place}/`));
  throw new StartError(`the local node ${name} is one of the service ${nameOf(owner)} on the same database: give those of this one other names (local_nodes.name), or none (local_nodes = [])`);
}

const nameOf = (o: OtherProcess | undefined): string => (o === undefined ? 'elsewhere' : `with pid ${o.pid} in ${o.place}`);

/** What the site's configuration says to agents, on this machine and on others. */
export function agentConfig({ images, network, simulated }: Config): Readonly<Record<string, unknown>> {
  return {
    cacheMb: images.node_cache_mb,
    forwardPorts: network.forward_ports.split('-').map(Number),
    simulated: { startMs: simulated.start_ms, stopMs: simulated.stop_ms, failureRate: simulated.failure_rate },
  };
}
