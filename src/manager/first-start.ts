/** What a site has without anyone asking: the built-in guest, the default network, the nodes on this machine. */
import type { Config } from '../platform/config.ts';
import type { Context } from '../platform/context.ts';
import { join } from 'node:path';
import { guestImage } from '../images/builtin/guest.ts';
import type { ImageRepository } from '../images/repository.ts';
import type { NodeAccess } from '../lease/node.ts';
import type { Db } from '../store/db.ts';
import { insertNetwork, networksByName } from '../store/networks.ts';
import { ensureLocalNode } from '../store/nodes.ts';

/** A machine's local node offers room for at least so many VMs of the default type. */
const LEAST_VMS = 4;

interface Deps {
  readonly ctx: Context;
  readonly db: Db;
  readonly config: Config;
  readonly repository: ImageRepository;
  /** State directories of agents on this machine. */
  readonly nodesDir: string;
  readonly machine: { readonly memoryMb: number; readonly cores: number };
}

/** Repeatable: what is there stays, what the configuration says of local nodes is brought up to date. */
export async function firstStart(deps: Deps): Promise<void> {
  await deps.repository.ensureBuiltin(guestImage());
  await deps.repository.tidy();
  await ensureDefaultNetwork(deps);
  // In pilot mode every node is borrowed.
  if (deps.config.scheduler.mode === 'pilot') return;
  for (const node of deps.config.local_nodes) await ensureNode(deps, node);
}

async function ensureDefaultNetwork({ ctx, db, config }: Deps): Promise<void> {
  const name = config.lease.default_network;
  if ((await db.query(networksByName, [[name]])).length > 0) return;
  await db.query(insertNetwork, [name, 'user', null, 24, null, [], new Date(ctx.clock.now())]);
}

async function ensureNode({ ctx, db, config, nodesDir, machine }: Deps, node: Config['local_nodes'][number]): Promise<void> {
  const smallest = config.types[config.lease.default_type];
  const memoryMb = node.memory_mb || Math.max(Math.floor(machine.memoryMb / 2), LEAST_VMS * (smallest?.memory_mb ?? 0));
  const cores = node.cores || Math.max(machine.cores, LEAST_VMS * (smallest?.cores ?? 1));
  const access: NodeAccess = {
    transport: 'local', stateDir: join(nodesDir, node.name), driver: node.driver,
    agentConfig: { ...agentConfig(config), qemu: { bindAddress: node.guest_address, reachHost: node.guest_address } },
  };
  const [kept] = await db.query(ensureLocalNode, [node.name, node.zone, memoryMb, cores, JSON.stringify(access), new Date(ctx.clock.now())]);
  if (kept !== undefined && (kept.memory_mb !== memoryMb || kept.cores !== cores)) {
    ctx.log.warn('a local node keeps its size while leases need more than the configuration gives it', { nodeName: node.name, memoryMb: kept.memory_mb, cores: kept.cores });
  }
}

/** What the site's configuration says to agents, on this machine and on others. */
export function agentConfig({ images, network, simulated }: Config): Readonly<Record<string, unknown>> {
  return {
    cacheMb: images.node_cache_mb,
    forwardPorts: network.forward_ports.split('-').map(Number),
    simulated: { startMs: simulated.start_ms, stopMs: simulated.stop_ms, failureRate: simulated.failure_rate },
  };
}
