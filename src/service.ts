/**
 * The service, composed: configuration, data directory, database, manager, workers, doors. Starting is a list of steps,
 * each with how to undo it; stopping, and a start that fails half-way, undo them in reverse.
 */
import { availableParallelism, hostname, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { settleRestored } from './backup/settle.ts';
import { createControlClient } from './control/client/client.ts';
import { createTransports } from './control/client/transports.ts';
import type { ControlClient } from './control/types.ts';
import { operatingKey, operatingKeyFingerprint } from './control/ssh/keys.ts';
import type { Finding } from './doctor/types.ts';
import { createEc2Server } from './ec2/server.ts';
import { createImageRepository, type ImageRepository } from './images/repository.ts';
import { createAdminManager } from './manager/admin/index.ts';
import type { AdminManager, BatchSystemView } from './manager/admin-types.ts';
import { createManager, type FullManager } from './manager/index.ts';
import { createNodePool, type NodePool } from './manager/pool.ts';
import { agentConfig, firstStart } from './manager/first-start.ts';
import type { SiteDecision } from './manager/site-decision.ts';
import type { FsckOptions, FsckReport } from './fsck/types.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import { openDataDir, type DataDir } from './platform/datadir.ts';
import { withDeadline } from './platform/deadline.ts';
import { openDirectory } from './platform/directories.ts';
import { errorText, startStep } from './platform/errors.ts';
import { lockDataDir } from './platform/lock.ts';
import { openReadyFile, type ReadyFile } from './platform/ready-file.ts';
import { VERSION } from './platform/version.ts';
import { openDb, type Db, type DbAddress } from './store/db.ts';
import { startEmbedded } from './store/embedded/start.ts';
import { migrate } from './store/migrate.ts';
import { backupOf, backupPlaces } from './service-backup.ts';
import { batchSystemView, lookAtAll } from './service-doctor.ts';
import { siteDecision, startUsageSinks } from './service-outside.ts';
import { createMonitoring, type Monitoring } from './service-monitoring.ts';
import { fsckOfService } from './service-fsck.ts';
import { createPilotMode, type PilotMode } from './service-pilot.ts';
import { joinOthers, type Others } from './service-others.ts';
import { openGridSecurity, type GridSecurity } from './service-grid.ts';
import { openWsrf } from './service-wsrf.ts';
import { createAdminServer } from './web/admin.ts';
import { createDispatcher, type Dispatcher } from './workers/dispatcher.ts';
import { createNodeMonitor, type NodeMonitor } from './workers/node-monitor.ts';
import { createSaver } from './workers/saving.ts';
import { createPruner } from './workers/pruner.ts';
import { createQuestions } from './workers/questions.ts';
import { createSpotWorker } from './workers/spot.ts';
import { createSweeper } from './workers/sweeper.ts';

/** Nodes that do not answer at the start are reported and not waited for any longer. */
const NODES_WAIT_MS = 10_000;
const STOP_STEP_MS = 20_000;

export interface ServiceOptions {
  readonly ctx: Context;
  readonly config: Config;
  readonly dataDir: string;
  readonly readyFile?: string | undefined;
  /** Rejects when nobody waits for the start any longer: it is undone, and rejects with that. */
  readonly given?: Promise<never>;
  /** The bundled agent; default: beside this program. */
  readonly agentProgram?: string;
}

/** What the ready file holds. */
export interface Ready {
  readonly ec2: string;
  /** Services for grid clients, and those for old ones; absent when the configuration wants them nowhere. */
  readonly wsrf?: string;
  readonly wsrfLegacy?: string;
  readonly pid: number;
  readonly version: string;
  /** In pilot mode: where pilots report. */
  readonly pilots?: string;
  /** Where health, readiness and figures are; absent when the configuration wants that nowhere. */
  readonly monitoring?: string;
}

export interface Service {
  readonly ready: Ready;
  readonly manager: FullManager;
  readonly admin: AdminManager;
  stop(): Promise<void>;
}

type Undo = () => Promise<void> | void;

/** @throws StartError, ConfigError */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { ctx } = options;
  const undo: Array<[what: string, Undo]> = [];
  let over = false;
  const undone = ([what, step]: [string, Undo]): Promise<void> => withDeadline(ctx.clock, STOP_STEP_MS, what, Promise.resolve(step())).catch((e: unknown) => {
    ctx.log.error('a part did not stop cleanly', { part: what, error: errorText(e) });
  });
  const stop = async (): Promise<void> => {
    over = true;
    for (const part of undo.splice(0).reverse()) await undone(part);
  };
  // What a start makes that was given up meanwhile goes at once.
  const made = (what: string, step: Undo): void => void (over ? undone([what, step]) : undo.push([what, step]));
  try {
    const service = await Promise.race([compose(options, made), ...(options.given === undefined ? [] : [options.given])]);
    let stopping: Promise<void> | undefined;
    return { ...service, stop: () => (stopping ??= stop()) };
  } catch (e) {
    await stop();
    throw e;
  }
}

async function compose(options: ServiceOptions, onStop: (what: string, step: Undo) => void): Promise<Omit<Service, 'stop'>> {
  const { config } = options;
  const monitoring = createMonitoring(options.ctx, config, onStop);
  const { ctx } = monitoring;
  const dir = openDataDir(options.dataDir);
  const lock = await lockDataDir(ctx, dir);
  onStop('data directory lock', () => lock.release());
  openDirectory('images.directory', imagesIn(config, dir), 0o700);
  const readyFile = options.readyFile === undefined ? undefined : await openReadyFile(options.readyFile);
  const session = `nimbus ${ctx.random.bytes(8).toString('hex')}`;
  const { db, address, databaseKind } = await openDatabase(ctx, config, dir, session, onStop);
  const others = await joinOthers({ ctx, db, address, session, dataDir: dir.root, operatingKey: () => operatingKeyFingerprint(dir.keys) }, onStop);
  const repository = createImageRepository({ ctx, db, directory: imagesIn(config, dir) });
  const pilotMode = config.scheduler.mode === 'pilot' ? createPilotMode(ctx, config, operatingKey(dir.keys).privateFile, onStop) : undefined;
  const control = createControlClient(ctx, {
    imageSource: (image) => repository.open(image),
    transport: createTransports(ctx, {
      agentProgram: options.agentProgram ?? fileURLToPath(new URL('workspace-control.cjs', import.meta.url)),
      privateKeyFile: operatingKey(dir.keys).privateFile,
      machine: hostname(),
      ...(pilotMode === undefined ? {} : { pilotChannels: pilotMode.channels }),
    }),
    silenceMs: config.control.silence_ms, reconnectMaxMs: config.control.reconnect_max_ms,
  });
  onStop('channels to nodes', () => control.close());
  const pool = createNodePool({ db, clock: ctx.clock, strategy: config.scheduler.strategy, reachable: (id) => control.state(id).up, self: others.processes });
  const decision = await siteDecision(ctx, config, db, onStop);
  const parts = startWork({ ctx, config, db, control, pool, repository, pilotMode, others, decision, monitoring }, onStop);
  const admin = createAdminManager({
    ctx, db, config, repository, operatingKey: () => Promise.resolve(operatingKey(dir.keys).publicLine), nodesChanged: () => parts.monitor.reload(),
    handOver: (intents) => parts.dispatcher.handOver(intents), borrowing: pilotMode?.borrowing, processes: others.processes, decision,
  });
  await startUsageSinks(ctx, config, db, onStop);
  await firstStart({ ctx, db, config, repository, nodesDir: dir.nodes, processes: others.processes, host: hostname(), imagesDir: imagesIn(config, dir), machine: { memoryMb: Math.floor(totalmem() / 2 ** 20), cores: availableParallelism() } });
  // What nodes say at once is written with their names.
  await pool.ready();
  await parts.monitor.start();
  await withDeadline(ctx.clock, NODES_WAIT_MS, 'waiting for VMM nodes', parts.monitor.settled()).catch((e: unknown) => {
    ctx.log.warn('some VMM nodes have not answered; starting without them', { reason: errorText(e) });
  });
  parts.start();
  const pilots = await pilotMode?.start({ db, control, work: parts.manager.work, monitor: parts.monitor, processes: others.processes });
  const look = { doctor: () => lookAtAll({ ctx, config, db, control, places: { data: dir.root, images: imagesIn(config, dir) }, pilotMode }), batchSystem: () => (pilotMode === undefined ? {} : { batchSystem: batchSystemView(pilotMode) }) };
  const monitoringUrl = await monitoring.open({ db, recorder: parts.manager.work.recorder, dispatcher: parts.dispatcher });
  const fsck = fsckOfService({ ctx, config, db, control, manager: parts.manager, handOver: (intents) => parts.dispatcher.handOver(intents), nodesChanged: () => parts.monitor.reload(), dir });
  const backup = backupOf({ ctx, config, address, dir });
  const security = config.wsrf.listen === '' && !config.ec2.grid_certificates ? undefined : await openGridSecurity(ctx, config.grid, parts.manager, onStop);
  const wsrf = await openWsrf({ ctx, config, db, manager: parts.manager }, security, onStop);
  if (wsrf !== undefined) parts.onSubscribed(() => wsrf.notifier.wake());
  const grid = wsrf === undefined ? {} : { wsrf: wsrf.url, ...(wsrf.legacyUrl === undefined ? {} : { wsrfLegacy: wsrf.legacyUrl }) };
  const ready = await openDoors({ grid, security, monitoringUrl, ctx, config, manager: parts.manager, admin, dir, databaseKind, readyFile, pilots, fsck, backup, ...look }, onStop);
  await others.processes.open({ ec2: ready.ec2, pilots: pilots ?? null });
  return { ready, manager: parts.manager, admin };
}

const imagesIn = (config: Config, dir: DataDir): string => config.images.directory || dir.images;

async function openDatabase(
  ctx: Context, config: Config, dir: DataDir, session: string, onStop: (what: string, step: Undo) => void,
): Promise<{ db: Db; address: DbAddress; databaseKind: string }> {
  let address: DbAddress = { connectionString: config.database.url };
  if (config.database.url === '') {
    const embedded = await startEmbedded(ctx, { dataDir: dir.root, bin: config.database.bin });
    onStop('PostgreSQL', () => embedded.stop());
    address = embedded.address;
  }
  const whose = config.database.url === '' ? 'the private database' : 'the database that database.url names';
  await startStep(`${whose} cannot be used`, () => migrate(ctx, address));
  const db = openDb(address, { max: config.database.pool, log: ctx.log, applicationName: session });
  onStop('database connections', () => db.close());
  await startStep('a file of the restored backup cannot be put in place', () => settleRestored(db, backupPlaces(config, dir)));
  return { db, address, databaseKind: config.database.url === '' ? 'private PostgreSQL in the data directory' : 'PostgreSQL of the site' };
}

interface Work {
  readonly manager: FullManager;
  readonly monitor: NodeMonitor;
  readonly dispatcher: Dispatcher;
  /** Told of new subscriptions, once there is somebody. */
  readonly onSubscribed: (wake: () => void) => void;
  start(): void;
}

function startWork(
  { ctx, config, db, control, pool, repository, pilotMode, others, decision, monitoring }: {
    ctx: Context; config: Config; db: Db; control: ControlClient; pool: NodePool; repository: ImageRepository; pilotMode: PilotMode | undefined; others: Others;
    decision: SiteDecision | undefined; monitoring: Monitoring;
  },
  onStop: (what: string, step: Undo) => void,
): Work {
  // Manager and dispatcher need each other: the manager hands over what the dispatcher sends and reports back.
  const late: { dispatcher?: Dispatcher; subscribed?: () => void } = {};
  /** From the start of the work on. */
  const beats: { dispatcher?: () => void; sweeper?: () => void; monitor?: () => void } = {};
  const manager = createManager({ ctx, db, config, control, pool, borrowing: pilotMode?.borrowing, self: others.processes, tellOthers: (what) => others.tell(what), decision, repository, handOver: (intents) => late.dispatcher?.handOver(intents), subscribed: () => late.subscribed?.() });
  const { recorder } = manager.work;
  const nodeName = (id: number): string => pool.name(id);
  const dispatcher = createDispatcher({
    ctx, db, config, control, recorder, save: createSaver({ ctx, db, control, repository, recorder, userMb: config.images.user_mb }), imagePath: (file) => repository.path(file),
    self: others.processes, elsewhere: (id) => pool.elsewhere(id), others: () => others.processes.accompanied, tellOthers: () => others.tell('intents'), beat: () => beats.dispatcher?.(),
  });
  late.dispatcher = dispatcher;
  const monitor = createNodeMonitor({
    ctx, db, control, nodes: manager.work.nodes, recorder, nodeName, refreshPool: (nodes) => pool.refresh(nodes), poll: (id) => dispatcher.poll(id), beat: () => beats.monitor?.(),
  });
  const sweeper = createSweeper(ctx, () => manager.work.sweep(), () => beats.sweeper?.());
  const questions = createQuestions({ ctx, db, control, self: others.processes });
  others.follow({ intentsDue: () => dispatcher.poll(), questionsAsked: () => questions.look(), reborn: () => monitor.again(), nodesChanged: () => monitor.reload() });
  onStop('recorder', () => recorder.idle());
  onStop('dispatcher', () => dispatcher.stop());
  onStop('node monitor', () => monitor.stop());
  const pruner = createPruner(ctx, () => manager.work.prune());
  const spot = createSpotWorker(ctx, () => manager.work.spot());
  onStop('sweeper', () => sweeper.stop());
  onStop('spot requests', () => spot.stop());
  onStop('pruner', () => pruner.stop());
  onStop('questions of other services', () => questions.stop());
  return {
    manager, monitor, dispatcher,
    onSubscribed: (wake) => { late.subscribed = wake; },
    start() {
      Object.assign(beats, { dispatcher: monitoring.watch('dispatcher'), sweeper: monitoring.watch('sweeper'), monitor: monitoring.watch('node monitor') });
      dispatcher.start();
      sweeper.start();
      pruner.start();
      spot.start();
      questions.start();
    },
  };
}

async function openDoors(
  d: {
    ctx: Context; config: Config; manager: FullManager; admin: AdminManager; dir: DataDir; databaseKind: string; readyFile: ReadyFile | undefined;
    grid: Pick<Ready, 'wsrf' | 'wsrfLegacy'>; security: GridSecurity | undefined; pilots: string | undefined; monitoringUrl: string | undefined; fsck: (options: FsckOptions) => Promise<FsckReport>; backup: ReturnType<typeof backupOf>; doctor: () => Promise<Finding[]>; batchSystem: () => { batchSystem?: BatchSystemView };
  },
  onStop: (what: string, step: Undo) => void,
): Promise<Ready> {
  const { listen, tls_certificate: certificate, tls_key: key } = d.config.ec2;
  const ec2 = await startStep(`the TLS files of the EC2 listener (ec2.tls_certificate = "${certificate}", ec2.tls_key = "${key}") cannot be used`,
    () => createEc2Server(d.ctx, d.manager, d.config.ec2, { sha1: d.config.grid.sha1_messages, ...(d.security === undefined ? {} : { signerOf: d.security.authenticator.signerOf }) }));
  const { url } = await startStep(`the EC2 listener cannot be opened (ec2.listen = "${listen}")`, () => ec2.listen());
  onStop('EC2 door', () => ec2.close());
  const ready: Ready = { ec2: url, ...d.grid, pid: process.pid, version: VERSION, ...(d.pilots === undefined ? {} : { pilots: d.pilots }), ...(d.monitoringUrl === undefined ? {} : { monitoring: d.monitoringUrl }) };
  const adminServer = await createAdminServer({
    ctx: d.ctx, manager: d.manager, admin: d.admin, dir: d.dir, agentConfig: agentConfig(d.config),
    status: () => ({ ...ready, database: d.databaseKind, ...d.batchSystem() }), doctor: d.doctor, fsck: d.fsck, backup: d.backup,
  });
  onStop('admin door', () => adminServer.close());
  if (d.readyFile !== undefined) {
    const { readyFile } = d;
    await readyFile.write(ready);
    onStop('ready file', () => readyFile.remove());
  }
  d.ctx.log.info('the service answers', { ...ready, data: d.dir.root });
  return ready;
}
