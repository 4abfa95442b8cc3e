/** fsck of a running service, and of a site without one. */
import { hostname } from 'node:os';
import { createControlClient } from './control/client/client.ts';
import { createTransports } from './control/client/transports.ts';
import type { ControlClient } from './control/types.ts';
import { operatingKey } from './control/ssh/keys.ts';
import { agentsOn } from './fsck/agents.ts';
import { fsck } from './fsck/index.ts';
import type { FsckOptions, FsckReport } from './fsck/types.ts';
import { Fault } from './lease/faults.ts';
import type { HandOver } from './manager/deps.ts';
import { createManager, type FullManager } from './manager/index.ts';
import { createNodePool } from './manager/pool.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import type { DataDir } from './platform/datadir.ts';
import type { Db } from './store/db.ts';
import { allNodes } from './store/nodes.ts';

interface Running {
  readonly ctx: Context;
  readonly config: Config;
  readonly db: Db;
  readonly control: ControlClient;
  readonly manager: Pick<FullManager, 'work'>;
  readonly handOver: HandOver;
  readonly nodesChanged: () => Promise<void>;
  readonly dir: DataDir;
}

/** One at a time: two that mend would get into each other's looks. */
export function fsckOfService({ ctx, config, db, control, manager, handOver, nodesChanged, dir }: Running): (options: FsckOptions) => Promise<FsckReport> {
  let running = false;
  return async (options) => {
    if (running) throw new Fault('Busy', 'The database is being checked already; try again when that has ended.');
    running = true;
    try {
      return await fsck({
        ctx, db, config, serving: true, agents: agentsOn(ctx, control, manager.work.nodes), imageDirectory: config.images.directory || dir.images,
        handOver, nodesChanged,
      }, options);
    } finally {
      running = false;
    }
  };
}

/** Agents beside this program and over SSH are asked; pilots speak to a service only. Intents that it writes wait for the next service. */
export async function fsckWithoutService(
  { ctx, config, db, dir, agentProgram }: { ctx: Context; config: Config; db: Db; dir: DataDir; agentProgram: string }, options: FsckOptions,
): Promise<FsckReport> {
  const control = createControlClient(ctx, {
    imageSource: () => { throw new Error('no image is sent by fsck'); },
    transport: createTransports(ctx, { agentProgram, privateKeyFile: operatingKey(dir.keys).privateFile, machine: hostname() }),
    silenceMs: config.control.silence_ms, reconnectMaxMs: config.control.reconnect_max_ms,
  });
  try {
    const pool = createNodePool({ db, clock: ctx.clock, strategy: config.scheduler.strategy, reachable: (id) => control.state(id).up });
    const manager = createManager({ ctx, db, config, control, pool, handOver: () => undefined });
    await pool.ready();
    control.setNodes((await db.query(allNodes)).map((n) => ({ id: n.id, name: n.name, access: n.access })));
    const report = await fsck({
      ctx, db, config, serving: false, agents: agentsOn(ctx, control, manager.work.nodes), imageDirectory: config.images.directory || dir.images,
      handOver: () => undefined, nodesChanged: () => Promise.resolve(),
    }, options);
    await manager.work.recorder.idle();
    return report;
  } finally {
    await control.close();
  }
}
