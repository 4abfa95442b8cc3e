/**
 * The part that all mechanisms share: tell the host an amount, then look until it has it. A toolstack's "done" means
 * that the amount was noted; what counts is what the host has (`xl mem-set` returns before the target is reached).
 *
 * Going up, what VMs have just left may still be scrubbed: that is waited for, and nobody is ended for it. A command
 * that outlived its time may take effect late: nothing is believed, and the amount is set again, until it is gone.
 */
import type { Clock } from '../../../control/agent/clock.ts';
import type { Log } from '../../../control/agent/log.ts';
import { pause, settledOr, withDeadline } from '../deadline.ts';
import { EXIT } from '../stages.ts';
import { PilotError } from '../types.ts';
import type { Finding, Guest, HostMemory, HostTarget, MemoryMechanism, ProgramContext } from '../types.ts';
import { CommandError } from './command.ts';

/** Pause between two looks at the host, at least; and how many times what a look took, so that looking leaves the processor to the balloon. */
const POLL_MS = 10;
const POLL_PART = 4;
const MAX_POLL_MS = 250;
/** A balloon that stands still is told its target again. */
const RESEND_MS = 2_000;
const RETRY_MS = 250;
/** One command, where another attempt may follow. */
const STEP_MS = 5_000;
/** Kernels count in pages, toolstacks in MiB: one may be lost on each side. */
const TOLERANCE_MB = 2;
/** A host that lacks no more than that may still be moving: for this long it is waited whether the rest comes. */
const STILL_MS = 250;

/** What one kind of host can do; the rest is the same for all. */
export interface Host {
  /** For sentences: "dom0", "the host". */
  readonly what: string;
  hostMb(signal: AbortSignal): Promise<number>;
  freeMb(signal: AbortSignal): Promise<number>;
  /** Resolves when the amount was taken note of. */
  setHostMb(mb: number, signal: AbortSignal): Promise<void>;
  guests(signal: AbortSignal): Promise<readonly Guest[]>;
  destroy(guest: Guest, signal: AbortSignal): Promise<void>;
  check(): Promise<readonly Finding[]>;
}

export class Balloon implements MemoryMechanism {
  readonly name: MemoryMechanism['name'];
  readonly #host: Host;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Ends of commands that outlived their time. */
  readonly #late = new Set<Promise<void>>();

  constructor(name: MemoryMechanism['name'], host: Host, { clock, log }: ProgramContext) {
    this.name = name;
    this.#host = host;
    this.#clock = clock;
    this.#log = log;
  }

  async read(signal: AbortSignal): Promise<HostMemory> {
    const [hostMb, freeMb] = await Promise.all([this.#host.hostMb(signal), this.#host.freeMb(signal)]).catch(asPilotError);
    return { hostMb, freeMb };
  }

  hostMb(signal: AbortSignal): Promise<number> {
    return this.#host.hostMb(signal).catch(asPilotError);
  }

  reduce(target: HostTarget, signal: AbortSignal): Promise<number> {
    return this.#reach(target.afterMb, signal, { down: true });
  }

  /**
   * Never takes anything from the host: what it has beyond the target stays. The amount is set even when the host has it: it may
   * be on its way down.
   */
  async restore(target: HostTarget, signal: AbortSignal): Promise<number> {
    const hostMb = await this.#host.hostMb(signal).catch(() => null);
    return this.#reach(Math.max(target.beforeMb, hostMb ?? 0), signal, { down: false });
  }

  guests(signal: AbortSignal): Promise<readonly Guest[]> {
    return this.#host.guests(signal).catch(asPilotError);
  }

  destroy(guest: Guest, signal: AbortSignal): Promise<void> {
    return this.#host.destroy(guest, signal).catch(asPilotError);
  }

  check(): Promise<readonly Finding[]> {
    return this.#host.check();
  }

  /** What the host has when it has `wanted`. Down, a refusal of the toolstack is the end; up, it is tried again while there is time. */
  async #reach(wanted: number, signal: AbortSignal, { down }: { down: boolean }): Promise<number> {
    const missing = (mb: number): number => (down ? mb - wanted : wanted - mb);
    let words = '';
    while (!signal.aborted) {
      const late = [...this.#late];
      // Up, one command that hangs must not take the time of the next one.
      const refused = await (down ? this.#set(wanted, signal) : withDeadline(this.#clock, STEP_MS, (limit) => this.#set(wanted, limit), signal));
      if (refused !== null) {
        // Tried several times a second: what is said again is not logged again. An attempt that the end of the time broke off says nothing new.
        const said = `: ${refused}`;
        if (said !== words && (words === '' || !signal.aborted)) {
          this.#log.warn('the memory target was not taken', { mechanism: this.name, mb: wanted, why: refused });
          words = said;
        }
        if (down) break;
        await pause(this.#clock, RETRY_MS, signal);
        continue;
      }
      const hostMb = await this.#watch(missing, signal);
      if (hostMb === null) continue;
      if (late.length === 0) return hostMb;
      // A command that was late when the amount was set may have set another one since.
      await settledOr(Promise.all(late), signal);
    }
    const pending = this.#late.size === 0 ? '' : '; a command that did not end may still change it';
    throw new PilotError(EXIT.actionFailed, `${this.#host.what} was not brought ${down ? 'down' : 'back'} to ${wanted} MB${words}${pending}`);
  }

  /** null when it was noted; else why not. */
  async #set(mb: number, signal: AbortSignal): Promise<string | null> {
    try {
      await this.#host.setHostMb(mb, signal);
      return null;
    } catch (e) {
      if (e instanceof CommandError && e.gone !== undefined) this.#remember(e.gone);
      return (e as Error).message;
    }
  }

  #remember(gone: Promise<void>): void {
    this.#late.add(gone);
    void gone.then(() => this.#late.delete(gone));
  }

  /**
   * What the host has as soon as nothing is missing, or when it stands still with no more missing than is lost to counting;
   * null when it has stood still for the time after which the target is told again.
   */
  async #watch(missing: (mb: number) => number, signal: AbortSignal): Promise<number | null> {
    let last: number | null = null;
    let since = this.#clock.monotonic();
    while (!signal.aborted && this.#clock.monotonic() - since < RESEND_MS) {
      const begun = this.#clock.monotonic();
      try {
        const mb = await withDeadline(this.#clock, STEP_MS, (limit) => this.#host.hostMb(limit), signal);
        if (missing(mb) <= 0) return mb;
        if (mb !== last) since = this.#clock.monotonic();
        last = mb;
        if (missing(mb) <= TOLERANCE_MB && this.#clock.monotonic() - since >= STILL_MS) return mb;
      } catch (e) {
        this.#log.warn('the memory of the host cannot be read', { mechanism: this.name, why: (e as Error).message });
      }
      await pause(this.#clock, Math.min(MAX_POLL_MS, Math.max(POLL_MS, POLL_PART * (this.#clock.monotonic() - begun))), signal);
    }
    return last !== null && missing(last) <= TOLERANCE_MB ? last : null;
  }
}

function asPilotError(e: unknown): never {
  throw e instanceof PilotError ? e : new PilotError(EXIT.actionFailed, e instanceof Error ? e.message : String(e));
}
