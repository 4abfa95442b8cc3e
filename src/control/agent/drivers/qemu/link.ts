/** The agent's line to one VM: a QMP connection that is kept, made anew when it breaks, and whose end tells the VM's end. */
import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../clock.ts';
import type { VmPlace } from '../../driver.ts';
import { AgentFault } from '../../fault.ts';
import type { Log } from '../../log.ts';
import { FILES, nameArgument } from './launch.ts';
import { NoticePort } from './notices.ts';
import { findVmProcess } from './process.ts';
import { lastWords } from './programs.ts';
import { Qmp } from './qmp.ts';
import type { QmpEvent } from './qmp.ts';

const CONNECT_MS = 5_000;
const RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;
/** A VM that QEMU itself stopped (an I/O error, a panic) does not run; `paused` is the nearest truth. */
const RUNNING = new Set(['running', 'colo']);

/** QEMU's reasons for an orderly end (QAPI, ShutdownCause), as sentences. */
const CAUSES: Readonly<Record<string, string>> = {
  'guest-shutdown': 'the guest shut itself down',
  'guest-panic': 'the guest panicked',
  'guest-reset': 'the guest reset itself',
  'host-signal': 'QEMU was ended by a signal',
  'host-qmp-quit': 'QEMU was told to quit',
  'host-error': 'QEMU met an error',
};

export class VmLink {
  readonly place: VmPlace;
  readonly notices: NoticePort;
  readonly #clock: Clock;
  readonly #log: Log;
  #qmp: Promise<Qmp> | null = null;
  #onExit: ((reason: string) => void) | null = null;
  #cause: string | null = null;
  #over = false;

  constructor(place: VmPlace, clock: Clock, log: Log) {
    this.place = place;
    this.notices = new NoticePort(place.dir);
    this.#clock = clock;
    this.#log = log;
  }

  async execute(command: string, ms: number, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return (await this.#connected()).execute(command, args, ms);
  }

  /** QEMU's own word for what it does (QAPI, RunState). */
  async status(ms: number): Promise<string> {
    return ((await this.execute('query-status', ms)) as { status: string }).status;
  }

  /** null when the VM does not run. Rejects when it does but QMP is silent. */
  async state(ms: number): Promise<'running' | 'paused' | null> {
    try {
      return RUNNING.has(await this.status(ms)) ? 'running' : 'paused';
    } catch (e) {
      if ((await findVmProcess(this.place, null)) === null) return null;
      throw e;
    }
  }

  watch(onExit: (reason: string) => void): () => void {
    this.#onExit = onExit;
    void this.#keepConnected();
    return () => {
      if (this.#onExit === onExit) this.#onExit = null;
    };
  }

  /** The VM's end is wanted: nobody is told of it. */
  ending(): void {
    this.#onExit = null;
  }

  close(): void {
    this.#over = true;
    this.#onExit = null;
    this.notices.close();
    void this.#qmp?.then((qmp) => qmp.close(), () => undefined);
  }

  #connected(): Promise<Qmp> {
    if (this.#over) return Promise.reject(new AgentFault('DriverFailed', 'the VM has ended'));
    this.#qmp ??= this.#connect().catch((e: unknown) => {
      this.#qmp = null;
      throw e;
    });
    return this.#qmp;
  }

  async #connect(): Promise<Qmp> {
    // Through the open directory the path is short enough for any depth of the state directory (107 bytes, unix(7)).
    const dir = await open(this.place.dir, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      const qmp = await Qmp.connect(`/proc/self/fd/${dir.fd}/${FILES.qmp}`, this.#clock, CONNECT_MS, (event) => this.#note(event));
      await this.#verify(qmp);
      void qmp.closed.then(() => this.#lost());
      return qmp;
    } finally {
      await dir.close();
    }
  }

  /** The socket lies in the directory of the VM's uid; a QEMU that was broken into could have put a link to another's there. */
  async #verify(qmp: Qmp): Promise<void> {
    const answer = (await qmp.execute('query-name', {}, CONNECT_MS)) as { name?: string };
    if (`guest=${answer.name ?? ''}` === nameArgument(this.place.lease)) return;
    qmp.close();
    throw new AgentFault('DriverFailed', `the QMP socket of ${this.place.lease} answers for another VM`);
  }

  #note({ event, data }: QmpEvent): void {
    if (event === 'SHUTDOWN') this.#cause = String(data?.['reason'] ?? '');
  }

  #lost(): void {
    this.#qmp = null;
    if (this.#onExit !== null) void this.#keepConnected();
  }

  /** Until the connection stands again, or the process is gone and that was said. */
  async #keepConnected(): Promise<void> {
    for (let wait = RETRY_MS; this.#onExit !== null && !this.#over; wait = Math.min(wait * 2, LONGEST_RETRY_MS)) {
      try {
        await this.#connected();
        return;
      } catch (e) {
        if ((await findVmProcess(this.place, null)) === null) return this.#tellEnd();
        // The process outlives its socket by a moment; only what lasts is worth a line.
        if (wait > RETRY_MS) this.#log.warn('QMP of a running VM does not answer', { lease: this.place.lease, error: (e as Error).message });
      }
      await new Promise<void>((resolve) => this.#clock.after(wait, resolve, true));
    }
  }

  async #tellEnd(): Promise<void> {
    const words = lastWords(await readFile(join(this.place.dir, FILES.errors), 'utf8').catch(() => ''));
    const cause = this.#cause === null ? 'QEMU was killed or crashed' : (CAUSES[this.#cause] ?? `QEMU ended (${this.#cause})`);
    const tell = this.#onExit;
    this.#onExit = null;
    tell?.(words === '' ? cause : `${cause}: ${words}`);
  }
}
