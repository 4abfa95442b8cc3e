/**
 * What the `nimbus` command does where no service runs: it takes the service's place for a while, with its lock, so that
 * none can start meanwhile, opens the database and the door for pilots, and talks to the batch system itself.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { checkBackup } from './backup/check.ts';
import { restoreBackup } from './backup/restore.ts';
import { settleRestored } from './backup/settle.ts';
import type { OfflineSite, Place, WithoutService } from './cli/without-service.ts';
import { fileURLToPath } from 'node:url';
import { createControlClient } from './control/client/client.ts';
import { createPilotChannels } from './control/client/pilot-channels.ts';
import { createTransports } from './control/client/transports.ts';
import { operatingKey } from './control/ssh/keys.ts';
import { examine } from './doctor/index.ts';
import { askNodes, ownNodes } from './doctor/nodes.ts';
import { batchSite } from './doctor/site.ts';
import type { DoctorSite, NodeLook } from './doctor/types.ts';
import { killAllOffline } from './manager/admin/kill-all-offline.ts';
import { killJobs } from './manager/admin/kill-all-jobs.ts';
import { slotAdministration } from './manager/admin/slots.ts';
import type { SlotDeps } from './manager/deps.ts';
import { createInbox } from './manager/slots/inbox.ts';
import { slotWork } from './manager/slots/index.ts';
import type { SlotWork } from './manager/slots/types.ts';
import type { Caller } from './manager/types.ts';
import { createPilotServer } from './pilot/door/server.ts';
import { createBatchSystem } from './pilot/lrm/index.ts';
import { commandEnvironment, localRunner } from './pilot/lrm/runner.ts';
import { readConfig, type Config } from './platform/config.ts';
import type { Context, Random } from './platform/context.ts';
import { dataDirAt, openDataDir, type DataDir } from './platform/datadir.ts';
import { errorText, reasonText, StartError, startStep } from './platform/errors.ts';
import { newRequestId } from './platform/ids.ts';
import { lockDataDir } from './platform/lock.ts';
import { openLog } from './platform/log.ts';
import { packageFile } from './platform/package-file.ts';
import { VERSION } from './platform/version.ts';
import { openDb, type Db, type DbAddress } from './store/db.ts';
import { startEmbedded } from './store/embedded/start.ts';
import { migrate, refuseOther } from './store/migrate.ts';
import { backupOf, backupPlaces } from './service-backup.ts';
import { fsckWithoutService } from './service-fsck.ts';

/** The batch system is asked this often while jobs go, ms. */
const POLL_MS = 1_000;
const LOG = 'without-service.log';
/** The bundled agent, beside this program. */
const AGENT_PROGRAM = fileURLToPath(new URL('workspace-control.cjs', import.meta.url));

type Undo = () => Promise<void> | void;

/** What was opened, to be closed in reverse. */
class Opened {
  private readonly steps: Undo[] = [];
  add(step: Undo): void {
    this.steps.push(step);
  }
  async close(): Promise<void> {
    for (const step of this.steps.splice(0).reverse()) await step();
  }
}

export function withoutService(base: Pick<Context, 'clock' | 'random'>): WithoutService {
  /** Runs with what it opened; closes that when it fails. */
  async function opening<T>(work: (opened: Opened) => Promise<T>): Promise<T> {
    const opened = new Opened();
    try {
      return await work(opened);
    } catch (e) {
      await opened.close();
      throw e;
    }
  }

  function context(opened: Opened, config: Config, dir: DataDir | undefined): Context {
    const file = config.log.file !== '' || dir === undefined ? config.log.file : join(dir.log, LOG);
    const log = openLog(base.clock, { level: dir === undefined ? 'error' : config.log.level, file });
    opened.add(() => log.close());
    return { ...base, log: log.log };
  }

  return {
    open: (place) => opening(async (opened) => {
      const config = readConfig(place.config);
      const dir = existing(place, config, '; when the database is lost, use --from-batch-system');
      const ctx = context(opened, config, dir);
      const db = await openDatabase(ctx, config, dir, opened, true);
      return site(ctx, config, dir, db, opened);
    }),

    killJobs: (place, wait) => opening(async (opened) => {
      const config = readConfig(place.config);
      const ctx = context(opened, config, undefined);
      const { lrm } = batchSystem(ctx, config, place, opened);
      const jobs = await killJobs(ctx, lrm, { ...wait, pollMs: POLL_MS });
      await opened.close();
      return jobs;
    }),

    doctor: (place) => opening(async (opened) => {
      const config = readConfig(place.config);
      const ctx = context(opened, config, existsSync(dataDirAt(place.data).log) ? dataDirAt(place.data) : undefined);
      const batch = config.scheduler.mode === 'pilot' ? await batchSite(ctx.clock, config, batchSystem(ctx, config, place, opened).lrm) : null;
      const db = await databaseOrWhyNot(ctx, config, place, opened);
      const { root, images } = dataDirAt(place.data);
      const findings = await examine({
        ctx, config, version: VERSION, serving: false, batch, db, nodes: 'missing' in db ? [] : await nodesOf(ctx, config, db, place, opened),
        places: { data: root, images: config.images.directory || images },
        local: localRunner(ctx.clock, commandEnvironment(process.env)),
      });
      await opened.close();
      return findings;
    }),

    backup: (place, options, to) => opening(async (opened) => {
      const config = readConfig(place.config);
      const dir = existing(place, config);
      const ctx = context(opened, config, dir);
      const address = await databaseAddress(ctx, config, dir, opened);
      await openAt(ctx, config, dir, address, opened);
      await pipeline(backupOf({ ctx, config, address, dir })(options), to);
      await opened.close();
    }),

    restore: (place, file, { replace }) => opening(async (opened) => {
      const config = readConfig(place.config);
      // Told before a data directory is made for it.
      await checkBackup(file);
      const dir = openDataDir(place.data);
      const ctx = context(opened, config, dir);
      const address = await databaseAddress(ctx, config, dir, opened);
      const restored = await restoreBackup({ ctx, address, places: backupPlaces(config, dir), replace }, file);
      await opened.close();
      return restored;
    }),

    fsck: (place, options) => opening(async (opened) => {
      const config = readConfig(place.config);
      const dir = existing(place, config);
      const ctx = context(opened, config, dir);
      const db = await openDatabase(ctx, config, dir, opened, false);
      await refuseOther(db);
      const report = await fsckWithoutService({ ctx, config, db, dir, agentProgram: AGENT_PROGRAM }, options);
      await opened.close();
      return report;
    }),
  };
}

/** A data directory that is there; one that was mistyped is not made. @throws StartError */
function existing(place: Place, config: Config, orElse = ''): DataDir {
  if (!hasData(place, config)) {
    throw new StartError(`${dataDirAt(place.data).root} is no data directory with a database of nimbus; name the service's own with --data and its configuration with --config${orElse}`);
  }
  return openDataDir(place.data);
}

function hasData(place: Place, config: Config): boolean {
  const { root, keys } = dataDirAt(place.data);
  return existsSync(keys) && (config.database.url !== '' || existsSync(join(root, 'pg')));
}

/** Where the database is, with the lock of the data directory: no service starts meanwhile. */
async function databaseAddress(ctx: Context, config: Config, dir: DataDir, opened: Opened): Promise<DbAddress> {
  const lock = await lockDataDir(ctx, dir);
  opened.add(() => lock.release());
  if (config.database.url !== '') return { connectionString: config.database.url };
  const embedded = await startEmbedded(ctx, { dataDir: dir.root, bin: config.database.bin });
  opened.add(() => embedded.stop());
  return embedded.address;
}

async function openDatabase(ctx: Context, config: Config, dir: DataDir, opened: Opened, migrating: boolean): Promise<Db> {
  const address = await databaseAddress(ctx, config, dir, opened);
  if (migrating) {
    await migrate(ctx, address).catch((e: unknown) => { throw e instanceof StartError ? e : new StartError(`the database cannot be used: ${reasonText(e)}`, { cause: e }); });
  }
  return openAt(ctx, config, dir, address, opened);
}

async function openAt(ctx: Context, config: Config, dir: DataDir, address: DbAddress, opened: Opened): Promise<Db> {
  const db = openDb(address, { max: 4, log: ctx.log });
  opened.add(() => db.close());
  await startStep('a file of the restored backup cannot be put in place', () => settleRestored(db, backupPlaces(config, dir)));
  return db;
}

async function databaseOrWhyNot(ctx: Context, config: Config, place: Place, opened: Opened): Promise<DoctorSite['db']> {
  if (!hasData(place, config)) {
    return { missing: `${dataDirAt(place.data).root} has no database yet`, mend: 'the first start of the service makes it; the data directory of a service that has run before is named with --data' };
  }
  try {
    return await openDatabase(ctx, config, existing(place, config), opened, false);
  } catch (e) {
    return { missing: errorText(e) };
  }
}

/** Each is reached as the service would reach it; agents that nobody else needs go with this command. */
async function nodesOf(ctx: Context, config: Config, db: Db, place: Place, opened: Opened): Promise<readonly NodeLook[]> {
  const rows = await ownNodes(db).catch(() => []);
  if (rows.length === 0) return [];
  const control = createControlClient(ctx, {
    imageSource: () => { throw new Error('nothing is started here'); },
    transport: createTransports(ctx, { agentProgram: packageFile('dist/workspace-control.cjs'), privateKeyFile: operatingKey(dataDirAt(place.data).keys).privateFile }),
    silenceMs: config.control.silence_ms, reconnectMaxMs: config.control.reconnect_max_ms,
  });
  opened.add(() => control.close());
  control.setNodes(rows.map(({ id, name, access }) => ({ id, name, access })));
  return askNodes(ctx, rows, control);
}

function batchSystem(ctx: Context, config: Config, place: Place, opened: Opened): ReturnType<typeof createBatchSystem> {
  const { keys } = dataDirAt(place.data);
  const batch = createBatchSystem(ctx, config, { env: process.env, operatingKey: existsSync(keys) ? operatingKey(keys).privateFile : '' });
  opened.add(() => batch.close());
  return batch;
}

async function site(ctx: Context, config: Config, dir: DataDir, db: Db, opened: Opened): Promise<OfflineSite> {
  const deps: SlotDeps = { ctx, db, config, handOver: () => undefined };
  const [slots, work] = [slotAdministration(deps), slotWork(deps)];
  const { lrm } = batchSystem(ctx, config, { config: undefined, data: dir.root }, opened);
  const deaf = await openDoor(deps, work, opened);
  return {
    liveSlots: (choice) => slots.list({ ...choice, live: true }),
    slots: (ids) => (ids.length === 0 ? Promise.resolve([]) : slots.list({ live: false, ids })),
    killAll(choice, { why, waitMs, trouble }) {
      if (deaf !== undefined) trouble(deaf);
      return killAllOffline({ deps, slots, work, lrm }, administrator(ctx.random), choice, { why, waitMs, pollMs: POLL_MS, trouble });
    },
    close: () => opened.close(),
  };
}

/** Pilots say there that memory is restored; without it their jobs end all the same. Returns why nobody listens. */
async function openDoor({ ctx, db, config }: SlotDeps, work: SlotWork, opened: Opened): Promise<string | undefined> {
  try {
    const channels = createPilotChannels(ctx);
    opened.add(() => channels.close());
    const inbox = createInbox({
      ctx, db,
      // What fails here stays stored, and is applied before each look at the batch system.
      stored: (ids) => void work.applyMessages(ids).catch((e: unknown) => ctx.log.warn('what pilots said is applied later', { error: errorText(e) })),
    });
    const door = createPilotServer(ctx, { inbox, channels }, config.pilot);
    await door.listen();
    opened.add(async () => {
      await door.close();
      await inbox.idle();
    });
    return undefined;
  } catch (e) {
    return `pilots cannot say what became of their nodes: pilot.listen = "${config.pilot.listen}" cannot be opened: ${reasonText(e)}`;
  }
}

function administrator(random: Random): Caller {
  return { accountId: 0, name: 'admin', ownerId: '000000000000', requestId: newRequestId(random), door: 'admin', admin: true };
}
