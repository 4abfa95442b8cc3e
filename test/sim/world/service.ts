/** One process of the service: the product's manager, workers and control client, composed as `src/service.ts` does, without its doors. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { createControlClient } from '../../../src/control/client/client.ts';
import { createPilotChannels, type PilotChannels } from '../../../src/control/client/pilot-channels.ts';
import { streamLink } from '../../../src/control/client/stream-link.ts';
import type { Transport } from '../../../src/control/client/transport.ts';
import type { ControlClient, NodeRef } from '../../../src/control/types.ts';
import { createManager, type FullManager } from '../../../src/manager/index.ts';
import { createNodePool } from '../../../src/manager/pool.ts';
import { createProcesses } from '../../../src/manager/processes.ts';
import { createInbox } from '../../../src/manager/slots/inbox.ts';
import { createAuthenticate } from '../../../src/pilot/door/authenticate.ts';
import type { Answer } from '../../../src/pilot/door/answers.ts';
import { createChannelDoor } from '../../../src/pilot/door/channel.ts';
import { notify } from '../../../src/pilot/door/notify.ts';
import type { Received } from '../../../src/pilot/door/parts.ts';
import { createRefusals } from '../../../src/pilot/door/refusals.ts';
import type { Lrm } from '../../../src/pilot/lrm/types.ts';
import type { Config } from '../../../src/platform/config.ts';
import type { Context } from '../../../src/platform/context.ts';
import { sleep } from '../../../src/platform/deadline.ts';
import type { Db } from '../../../src/store/db.ts';
import { createDispatcher, type Dispatcher } from '../../../src/workers/dispatcher.ts';
import { createHeartbeat } from '../../../src/workers/heartbeat.ts';
import { createNodeMonitor, type NodeMonitor } from '../../../src/workers/node-monitor.ts';
import { BATCH_SYSTEM } from '../../../src/manager/slots/reconcile.ts';
import { createPruner } from '../../../src/workers/pruner.ts';
import { createSlotWorker, type SlotWorker } from '../../../src/workers/slots.ts';
import { createSweeper } from '../../../src/workers/sweeper.ts';
import { policyAdministration } from '../../../src/manager/admin/policies.ts';
import type { AdminManager } from '../../../src/manager/admin-types.ts';
import { createSaver } from '../../../src/workers/saving.ts';
import { createSpotWorker } from '../../../src/workers/spot.ts';
import { createUsageSinks } from '../../../src/workers/usage-sinks.ts';
import type { Machine } from '../node/machine.ts';
import { SINK, SINK_DEADLINE_MS, type More } from './more.ts';
import type { Process } from './process.ts';

export interface ServiceParts {
  readonly process: Process;
  readonly ctx: Context;
  /** The context of one worker: its idle polls may be leapt over. */
  readonly worker: (name: Worker | 'control') => Context;
  readonly db: Db;
  readonly config: Config;
  readonly machine: (name: string) => Machine | undefined;
  readonly reachable: (machine: Machine) => boolean;
  readonly image: Buffer;
  /** Its data directory. */
  readonly place: string;
  /** Its number among all lives of all services. */
  readonly life: number;
  /** Something is due for the other services on the database. */
  readonly tellOthers: () => void;
  /** In pilot mode. */
  readonly lrm?: Lrm | undefined;
  readonly more?: More | undefined;
}

export type Worker = 'heartbeat' | 'dispatcher' | 'sweeper' | 'pruner' | 'monitor' | 'slots' | 'sinks' | 'spot';

export interface Door {
  notify(request: Received): Promise<Answer>;
  upgrade(request: IncomingMessage, socket: Duplex): void;
}

export interface Service {
  readonly process: Process;
  readonly manager: FullManager;
  readonly control: ControlClient;
  readonly policies: AdminManager['policies'];
  /** For pilots. */
  readonly door: Door;
  readonly place: string;
  /** Another service has said that something is due. */
  readonly woken: () => void;
  /** It takes requests. */
  readonly ready: boolean;
  /** What is handed over and not recorded yet. */
  readonly underWay: number;
}

/** A supervisor starts a service that does not come up again. */
const AGAIN_MS = 1_000;

export function startService(parts: ServiceParts): Service {
  const { process, ctx, worker, db, config, more } = parts;
  const channels = createPilotChannels(ctx);
  const control = createControlClient(worker('control'), {
    imageSource: async function* imageBytes() { yield await Promise.resolve(parts.image); },
    transport: (node) => transportTo(parts, channels, node), silenceMs: config.control.silence_ms, reconnectMaxMs: config.control.reconnect_max_ms,
  });
  const late: { dispatcher?: Dispatcher; monitor?: NodeMonitor; slots?: SlotWorker } = {};
  const borrowing = parts.lrm === undefined ? undefined : {
    facts: () => late.slots?.facts() ?? null, wake: () => late.slots?.wake(), nodesChanged: () => late.monitor?.reload() ?? Promise.resolve(), hostKeys: () => null,
  };
  const failed = (e: unknown): void => ctx.log.warn('what another service left could not be looked at; the polls will', { error: (e as Error).message });
  const processes = createProcesses({
    ctx, db, host: 'host', pid: parts.life, dataDir: parts.place, session: process.name,
    onChange(what) {
      if (what === 'reborn') late.monitor?.again();
      late.monitor?.reload().catch(failed);
      late.dispatcher?.poll().catch(failed);
    },
  });
  const heartbeat = createHeartbeat(worker('heartbeat'), processes);
  const pool = createNodePool({ db, clock: ctx.clock, strategy: config.scheduler.strategy, reachable: (id) => control.state(id).up, self: processes });
  const manager = createManager({ ctx, db, config, control, pool, borrowing, self: processes, handOver: (intents) => late.dispatcher?.handOver(intents) });
  const { recorder, nodes } = manager.work;
  const nodeName = (id: number): string => pool.name(id);
  const dispatcher = createDispatcher({
    ctx: worker('dispatcher'), db, config, control, recorder, imagePath: (file) => `/images/${file}`, save: more === undefined ? () => Promise.reject(new Error('nobody saves disks here')) : createSaver({ ctx, db, control, recorder, repository: more.repository(process), userMb: config.images.user_mb }),
    self: processes, elsewhere: (id) => pool.elsewhere(id), others: () => processes.accompanied, tellOthers: parts.tellOthers,
  });
  const monitor = createNodeMonitor({ ctx: worker('monitor'), db, control, nodes, recorder, nodeName, refreshPool: (n) => pool.refresh(n), poll: (id) => dispatcher.poll(id) });
  const sweeper = createSweeper(worker('sweeper'), () => manager.work.sweep());
  const pruner = createPruner(worker('pruner'), () => manager.work.prune());
  Object.assign(late, { dispatcher, monitor });
  const inbox = createInbox({ ctx, db, stored: (ids) => late.slots?.heard(ids) });
  const doorParts = { ctx, inbox, contacts: () => [], refusals: createRefusals(ctx) };
  const authenticate = createAuthenticate(ctx, inbox);
  const channelDoor = createChannelDoor(doorParts, authenticate, channels);
  const door: Door = {
    notify: (request) => notify(doorParts, authenticate, request),
    upgrade: (request, socket) => channelDoor.upgrade(request, socket, Buffer.alloc(0)),
  };
  const service = { process, manager, control, policies: policyAdministration({ ctx, db, config }), door, ready: false, get underWay() { return dispatcher.underWay; }, place: parts.place, woken: () => void dispatcher.poll().catch(failed) };

  const begin = async (): Promise<void> => {
    await processes.join();
    heartbeat.start();
    await pool.ready();
    await monitor.start();
    dispatcher.start();
    sweeper.start();
    pruner.start();
    if (more !== undefined) createSpotWorker(worker('spot'), () => manager.work.spot()).start();
    if (more !== undefined) await createUsageSinks(worker('sinks'), db, [{ name: SINK, outside: more.outside(process), deadlineMs: SINK_DEADLINE_MS, keep: 1_000_000 }]).start();
    if (parts.lrm !== undefined) {
      late.slots = createSlotWorker({ ctx: worker('slots'), config, lrm: parts.lrm, work: manager.work.slots, control, contacts: () => ['http://service:41999'], ca: undefined, duty: () => processes.take(BATCH_SYSTEM) });
      void late.slots.start();
    }
    service.ready = true;
    await processes.open({ ec2: 'http://service:8444', pilots: null });
  };
  const supervise = async (): Promise<void> => {
    for (;;) {
      try {
        return await begin();
      } catch (e) {
        ctx.log.error('the service does not start', { error: (e as Error).message });
        await sleep(ctx.clock, AGAIN_MS);
      }
    }
  };
  void supervise();
  return service;
}

function transportTo({ process, ctx, machine, reachable }: ServiceParts, channels: PilotChannels, { name, access }: NodeRef): Transport {
  if (access.transport === 'pilot') return channels.transport(access);
  return {
    describe: name,
    async open(signal) {
      const there = machine(name);
      if (there === undefined) throw new Error('no such host');
      // What is cut off does not even refuse: the deadline is the answer.
      if (!reachable(there)) await new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
      const stream = await there.serve(process);
      if (signal.aborted) stream.destroy();
      return streamLink(stream, ctx.clock);
    },
  };
}
