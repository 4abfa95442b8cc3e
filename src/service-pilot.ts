/** Pilot mode, composed: the batch system's adapter, the door for pilots, the worker between them. */
import { readFileSync } from 'node:fs';
import { createPilotChannels, type PilotChannels } from './control/client/pilot-channels.ts';
import { pinOf } from './control/ssh/hostkeys.ts';
import { lookUp } from './control/ssh/known-hosts.ts';
import type { ControlClient } from './control/types.ts';
import type { WorkerManager } from './manager/index.ts';
import { createInbox } from './manager/slots/inbox.ts';
import type { Processes } from './manager/processes.ts';
import { BATCH_SYSTEM } from './manager/slots/reconcile.ts';
import type { Borrowing } from './manager/slots/types.ts';
import { createPilotServer } from './pilot/door/server.ts';
import { createBatchSystem } from './pilot/lrm/index.ts';
import { MAX_CONTACTS } from './pilot/protocol.ts';
import type { Lrm } from './pilot/lrm/types.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import { withDeadline } from './platform/deadline.ts';
import { errorText, startStep } from './platform/errors.ts';
import type { Db } from './store/db.ts';
import { createSlotWorker, type LrmStatus, type SlotWorker } from './workers/slots.ts';
import type { NodeMonitor } from './workers/node-monitor.ts';

/** A batch system that does not answer at the start is waited for no longer; it is asked again and again. */
const FIRST_POLL_MS = 5_000;

/** Read anew each time: a site adds nodes while the service runs. */
function hostKeysOf({ ssh_known_hosts: file, ssh_port: port }: Config['pilot'], address: string): readonly string[] | null {
  return file === '' ? null : lookUp(readFileSync(file, 'utf8'), address, port).keys.map(pinOf);
}

type OnStop = (what: string, step: () => Promise<void> | void) => void;

export interface PilotMode {
  readonly borrowing: Borrowing;
  readonly channels: PilotChannels;
  /** How the batch system answers; null before the start. */
  status(): LrmStatus | null;
  /** The adapter and the URL that pilots are told; null before the start. */
  reached(): { readonly lrm: Lrm; readonly contact: string } | null;
  /** Opens the door, then asks the batch system. Resolves with the door's URL. */
  start(parts: { db: Db; control: ControlClient; work: WorkerManager; monitor: NodeMonitor; processes: Processes }): Promise<string>;
}

/** @param operatingKey private key file that opens the login node unless the configuration names another */
export function createPilotMode(ctx: Context, config: Config, operatingKey: string, onStop: OnStop): PilotMode {
  const late: { worker?: SlotWorker; monitor?: NodeMonitor; reached?: { lrm: Lrm; contact: string } } = {};
  const channels = createPilotChannels(ctx);
  onStop('channels of pilots', () => channels.close());
  return {
    channels,
    borrowing: {
      facts: () => late.worker?.facts() ?? null,
      wake: () => late.worker?.wake(),
      nodesChanged: () => late.monitor?.reload() ?? Promise.resolve(),
      hostKeys: (address) => hostKeysOf(config.pilot, address),
    },
    status: () => late.worker?.status ?? null,
    reached: () => late.reached ?? null,
    async start({ db, control, work, monitor, processes }) {
      late.monitor = monitor;
      const batch = createBatchSystem(ctx, config, { env: process.env, operatingKey });
      onStop('batch system', () => batch.close());
      const ca = await startStep(`pilot.tls_ca = "${config.pilot.tls_ca}" cannot be read`, () => (config.pilot.tls_ca === '' ? undefined : readFileSync(config.pilot.tls_ca, 'utf8')));
      let url = config.pilot.address;
      // A pilot that cannot reach this service speaks to another one.
      const contacts = (): readonly string[] => [...new Set([url, ...processes.pilotDoors()])].slice(0, MAX_CONTACTS);
      const worker = createSlotWorker({
        ctx, config, lrm: batch.lrm, work: work.slots, control, ca,
        contacts,
        duty: () => processes.take(BATCH_SYSTEM),
      });
      onStop('slots', () => worker.stop());
      const inbox = createInbox({ ctx, db, stored: (ids) => worker.heard(ids) });
      const door = createPilotServer(ctx, { inbox, channels, contacts }, config.pilot);
      onStop('door for pilots', () => door.close());
      const listening = await startStep(`the listener for pilots cannot be opened (pilot.listen = "${config.pilot.listen}")`, () => door.listen());
      if (url === '') url = listening.url;
      late.worker = worker;
      late.reached = { lrm: batch.lrm, contact: url };
      await withDeadline(ctx.clock, FIRST_POLL_MS, 'waiting for the batch system', worker.start()).catch((e: unknown) => {
        ctx.log.warn('the batch system has not answered; starting without it', { reason: errorText(e) });
      });
      return url;
    },
  };
}
