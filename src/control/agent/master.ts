/**
 * The agent that holds a state directory: its VMs, records, cache, and everybody who speaks to it. It lives while somebody
 * does (the stream it was started on, agents that pass their stream on, commands by hand) and while work is under way;
 * its VMs outlive it. In a pilot it lives as long as the pilot wants it to, and ends its VMs when the node is given back.
 */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { VERSION } from '../../platform/version.ts';
import { PROTOCOLS } from '../protocol.ts';
import type { AgentHello } from '../protocol.ts';
import { encodeLine } from '../wire.ts';
import type { Agent } from './agent.ts';
import { ImageCache } from './cache.ts';
import { within } from './clock.ts';
import type { Clock } from './clock.ts';
import type { AgentConfig } from './config.ts';
import { Connection } from './connection.ts';
import type { Peer } from './connection.ts';
import type { Driver } from './driver.ts';
import { Executor } from './executor.ts';
import type { Lock } from './lock.ts';
import type { Log } from './log.ts';
import { answerQuestion } from './questions.ts';
import type { LeaseRecord, Records } from './records.ts';
import { recoverVms } from './recover.ts';
import { SharedImages } from './shared-images.ts';
import { listenAt } from './socket.ts';
import type { AgentSocket } from './socket.ts';
import { Uploads } from './uploads.ts';
import { isNewer } from './versions.ts';
import { Vms } from './vms.ts';

const MAX_CONNECTIONS = 64;
/** Shorter than a newer agent waits for an older one: an operation that hangs must not keep a node from being upgraded. */
const FINISH_MS = 100_000;
/** QEMU starts cost CPU and disk; simulated ones cost nothing and wait in timers. */
const PARALLEL = { qemu: 32, simulated: 1024 } as const;

export interface MasterOptions {
  readonly stateDir: string;
  readonly config: AgentConfig;
  readonly driver: Driver;
  readonly records: Records;
  readonly lock: Lock;
  readonly clock: Clock;
  readonly log: Log;
  /** Lives on when nobody is connected. */
  readonly persistent?: boolean;
  /** A directory that was found fit (`openSharedDir`). */
  readonly sharedDir?: string | undefined;
  /** See `AgentOptions`. */
  readonly onRelease?: (why: string) => void;
}

export class Master implements Agent {
  readonly #options: MasterOptions;
  readonly #connections = new Set<Connection>();
  readonly #executor: Executor;
  readonly #uploads: Uploads;
  readonly #vms: Vms;
  #socket: AgentSocket | undefined;
  #stopping: Promise<void> | undefined;
  #released = false;
  #over: () => void = () => undefined;
  /** Resolves when the directory is free again. */
  readonly over = new Promise<void>((resolve) => { this.#over = resolve; });

  constructor(options: MasterOptions) {
    this.#options = options;
    const { stateDir, config, driver, records, clock, log, sharedDir } = options;
    const cacheMb = config.cacheMb;
    const limitBytes = cacheMb * 1024 * 1024;
    const cache = new ImageCache({
      dir: join(stateDir, 'cache'), limitBytes, clock, log,
      ...(sharedDir === undefined ? {} : { shared: new SharedImages({ dir: sharedDir, limitBytes, log }) }),
      inUse: () => new Set(records.live().flatMap((r) => (r.sha256 === null ? [] : [r.sha256]))),
    });
    this.#uploads = new Uploads(cache, clock);
    this.#vms = new Vms({
      clock, log, driver, records, cache, vmsDir: join(stateDir, 'vms'),
      onEvent: (event) => { for (const c of this.#connections) c.event(event); },
    });
    this.#executor = new Executor({
      clock, log, records, vms: this.#vms, parallel: config.parallel === 0 ? PARALLEL[driver.name] : config.parallel,
      ask: (question) => answerQuestion({
        clock, driver, records, vms: this.#vms, stateDir, cacheMb,
        ...(options.onRelease === undefined ? {} : { release: (why: string) => this.#release(why) }),
      }, question),
    });
  }

  async start(): Promise<void> {
    const { stateDir, driver, records, clock, log } = this.#options;
    await recoverVms({ clock, log, driver, records, vms: this.#vms });
    this.#socket = await listenAt({ stateDir, clock, log }, (socket) => this.serve({ input: socket, output: socket, name: 'relay' }));
    log.info('agent holds the directory', { version: VERSION, driver: driver.name, vms: records.live().length });
    // What the driver measures once per boot (the accelerator) is measured now, not on the first lease's time; whoever
    // opened the agent goes on first.
    clock.after(0, () => {
      driver.status().catch((e: unknown) => log.warn('the driver could not look at the node', { error: String(e) }));
    }, true);
  }

  serve(peer: Peer): void {
    if (this.#stopping !== undefined || this.#connections.size >= MAX_CONNECTIONS) {
      peer.output.on('error', () => undefined);
      peer.output.end(encodeLine({ bye: this.#stopping === undefined ? `${MAX_CONNECTIONS} connections are open already` : 'the agent ends' }));
      return;
    }
    const { clock, log } = this.#options;
    this.#connections.add(new Connection(peer, {
      clock, log, executor: this.#executor, uploads: this.#uploads,
      hello: () => this.#hello(),
      onRetire: (version) => this.#retire(version),
      onClose: (connection) => this.#closed(connection),
    }));
  }

  async notice(text: string): Promise<void> {
    this.#options.log.info('guests are told', { text });
    await Promise.all(this.#running().map((r) => this.#vms.notice(r.lease, text)));
  }

  async endAll(graceMs: number): Promise<readonly string[]> {
    const there = this.#running().map((r) => r.lease);
    this.#options.log.info('all VMs are ended', { vms: there.length, graceMs });
    await this.#executor.endAll(graceMs, 'the node is given back');
    return there;
  }

  vms(): number {
    return this.#options.records.live().filter((r) => isUp(r) || r.state === 'saving' || r.state === 'saved').length;
  }

  #running(): LeaseRecord[] {
    return this.#options.records.live().filter(isUp);
  }

  /** Asked again because its answer was lost, it is answered again and nothing more. */
  #release(why: string): void {
    if (this.#released) return;
    this.#released = true;
    this.#options.log.info('the service gives the node back', { why });
    // The answer leaves at the end of this turn of the event loop (outbox.ts), before any timer.
    this.#options.clock.after(0, () => this.#options.onRelease?.(why));
  }

  /** Takes nothing new, finishes what runs, frees the directory. VMs are not touched. */
  stop(why: string): Promise<void> {
    this.#stopping ??= this.#stop(why);
    return this.#stopping;
  }

  async #stop(why: string): Promise<void> {
    this.#options.log.info('agent ends', { why });
    await within(this.#options.clock, FINISH_MS, this.#executor.retire(why), () => new Error(`work is under way after ${FINISH_MS} ms`))
      .catch((e: unknown) => this.#options.log.error('agent ends over unfinished work', { why: String(e) }));
    for (const connection of [...this.#connections]) connection.close(why);
    this.#vms.close();
    // The socket goes before the lock: who holds the lock next makes a new one of the same name.
    await this.#socket?.close();
    this.#options.records.close();
    await this.#options.lock.release();
    this.#over();
  }

  #retire(version: string): void {
    if (isNewer(version, VERSION)) void this.stop(`version ${version} takes over from ${VERSION}`);
    else this.#options.log.warn('asked to retire by a version that is not newer', { version });
  }

  #closed(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0 || this.#stopping !== undefined || this.#options.persistent === true) return;
    void this.#executor.idle().then(() => (this.#connections.size === 0 ? this.stop('nobody is connected') : undefined));
  }

  #hello(): AgentHello {
    return {
      program: 'workspace-control', version: VERSION, protocols: PROTOCOLS, node: hostname(), bootId: bootId(), pid: process.pid,
      driver: this.#options.driver.name, can: this.#options.driver.memory === undefined ? [] : ['serialize'], at: this.#options.clock.now(),
    };
  }
}

const isUp = ({ state }: LeaseRecord): boolean => state === 'running' || state === 'paused' || state === 'starting';

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
