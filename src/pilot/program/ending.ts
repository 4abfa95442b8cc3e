/** Why a pilot ends. The first reason counts; a signal that comes after another one means: do not wait for anybody. */
import type { Clock } from '../../control/agent/clock.ts';
import { EXIT } from './stages.ts';

export type Reason =
  | { readonly kind: 'signal'; readonly why: string }
  /** Its own time is over. */
  | { readonly kind: 'horizon'; readonly why: string }
  /** The service gives the node back. */
  | { readonly kind: 'release'; readonly why: string }
  /** The service does not want it, or was never reached, or the node has not what it takes. */
  | { readonly kind: 'failed'; readonly why: string; readonly exit: number }
  /** A mistake in this program. */
  | { readonly kind: 'fault'; readonly why: string };

export class Ending {
  /** Resolves with the first reason. */
  readonly reason: Promise<Reason>;
  /** Resolves when a signal has come and there was a reason already. */
  readonly hurry: Promise<void>;
  /** Fires with the first reason. */
  readonly signal: AbortSignal;
  /** Wall clock of the first signal, ms. */
  signalledAt: number | null = null;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  readonly #releases = new Set<() => void>();
  #first: Reason | undefined;
  #resolve: (reason: Reason) => void = () => undefined;
  #hurry: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.signal = this.#abort.signal;
    this.reason = new Promise((resolve) => { this.#resolve = resolve; });
    this.hurry = new Promise((resolve) => { this.#hurry = resolve; });
  }

  get first(): Reason | undefined {
    return this.#first;
  }

  tell(reason: Reason): void {
    if (reason.kind === 'signal') this.signalledAt ??= this.#clock.now();
    if (this.#first !== undefined) {
      if (reason.kind === 'signal') this.#hurry();
      // After an early signal the service, a mistake and the end of the time all say the same: go on.
      else for (const release of this.#releases) release();
      return;
    }
    this.#first = reason;
    this.#resolve(reason);
    this.#abort.abort();
  }

  /** Calls `go` when anything but a signal comes after the first reason. */
  onMore(go: () => void): void {
    this.#releases.add(go);
  }
}

export function exitOf(reason: Reason, trouble: boolean): number {
  switch (reason.kind) {
    case 'signal':
      return trouble ? EXIT.signalFailed : EXIT.signalled;
    case 'fault':
      return EXIT.internal;
    case 'failed':
      return reason.exit;
    case 'horizon':
    case 'release':
      return trouble ? EXIT.actionFailed : EXIT.ok;
  }
}
