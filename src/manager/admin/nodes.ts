/** VMM nodes: added, drained, removed. */
import { Fault } from '../../lease/faults.ts';
import { isName } from '../../lease/ids.ts';
import type { NodeAccess } from '../../lease/node.ts';
import type { Queryable } from '../../store/db.ts';
import {
  deleteNode, forgetNode, insertNode, leasesKeepingNode, lockNode, networkNamesAmong, nodesWithLeases, setNodeActive, type NodeAdminRow,
} from '../../store/nodes-admin.ts';
import type { AdminManager, NewNode, NodeView } from '../admin-types.ts';
import type { AdminDeps } from './deps.ts';

const ALL_NETWORKS = '*';

export function nodeAdministration({ ctx, db, operatingKey, nodesChanged }: AdminDeps): AdminManager['nodes'] {
  async function viewOf(name: string): Promise<NodeView> {
    const [row] = isName(name) ? await db.query(nodesWithLeases, [name]) : [];
    if (row === undefined) throw notFound(name);
    return nodeView(row);
  }

  return {
    async add(node) {
      await checkNetworks(db, node.networks);
      const [row] = await db.query(insertNode, [
        node.name, node.zone, node.memoryMb, node.cores, node.networks, JSON.stringify(node.access), new Date(ctx.clock.now()),
      ]);
      if (row === undefined) throw new Fault('NodeExists', `A VMM node named ${node.name} exists already`);
      await nodesChanged();
      return viewOf(node.name);
    },

    list: async () => (await db.query(nodesWithLeases, [null])).map(nodeView),

    async setActive(name, active) {
      const rows = isName(name) ? await db.query(setNodeActive, [name, active]) : [];
      if (rows.length === 0) throw notFound(name);
      await nodesChanged();
      return viewOf(name);
    },

    async remove(name) {
      await db.transaction(async (tx) => {
        const [node] = isName(name) ? await tx.query(lockNode, [name]) : [];
        if (node === undefined) throw notFound(name);
        const keeping = await tx.query(leasesKeepingNode, [node.id]);
        if (keeping.length > 0) throw new Fault('NodeInUse', `VMM node ${name} holds leases: drain it and wait, or end them`, keeping.map((l) => `lease ${l.id} is on it`));
        await tx.query(forgetNode, [node.id]);
        await tx.query(deleteNode, [node.id]);
      });
      await nodesChanged();
    },

    operatingKey,
  };
}

async function checkNetworks(q: Queryable, networks: NewNode['networks']): Promise<void> {
  const named = networks.filter((n) => n !== ALL_NETWORKS);
  if (named.length === 0) return;
  const known = new Set((await q.query(networkNamesAmong, [named])).map((n) => n.name));
  const missing = named.filter((n) => !known.has(n));
  if (missing.length > 0) throw new Fault('NetworkNotFound', 'A VMM node can only offer networks that exist', missing.map((n) => `no network is named ${n}`));
}

function addressOf(access: NodeAccess): string {
  switch (access.transport) {
    case 'local': return access.stateDir;
    case 'pilot': return `pilot of ${access.slot} on ${access.host}`;
    default: return `${access.user}@${access.host}:${access.port}`;
  }
}

function nodeView(row: NodeAdminRow): NodeView {
  const { access } = row;
  return {
    id: row.id, name: row.name, zone: row.zone, transport: access.transport,
    address: addressOf(access),
    memoryMb: row.memory_mb, cores: row.cores, memoryUsed: row.memory_used, coresUsed: row.cores_used, leases: row.leases,
    hostKey: access.transport === 'ssh' ? access.hostKey : null, networks: row.networks, active: row.active, reachable: row.reachable, driver: row.driver, agentVersion: row.agent_version,
    lastSeen: row.last_seen, lastError: row.last_error,
  };
}

const notFound = (name: string): Fault => new Fault('NodeNotFound', `No VMM node is named ${name.slice(0, 64)}`);
