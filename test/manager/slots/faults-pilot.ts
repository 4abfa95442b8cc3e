/** A pilot as it behaves on its node, without the node: it spools what it says, sends until it is heard, and gives its node back. */
import { PilotRefusal } from '../../../src/manager/slots/inbox-refusal.ts';
import type { NotificationAnswer, Notification, PilotMessage } from '../../../src/pilot/protocol.ts';
import type { Clock, Random } from '../../../src/platform/context.ts';
import type { NodeRun } from '../../support/fake-lrm.ts';

export interface PilotWorld {
  readonly clock: Clock;
  readonly random: Random;
  /** The service's door; rejects when nobody answers. */
  notify(slot: string, n: Notification, proof: { cnonce: string; nc: number }): Promise<NotificationAnswer>;
  /** Nothing answers on its channel any more. */
  silent(pilot: FakePilot): void;
  /** The process is gone, with every VM that it held. */
  gone(pilot: FakePilot): void;
}

const GRACE_MS = 5_000;
const HEARTBEAT_MS = 5_000;
/** It does not wait for a service for ever before it ends. */
const LAST_WORDS_MS = 20_000;

export class FakePilot implements NodeRun {
  readonly id: string;
  state: 'starting' | 'reserved' | 'grace' | 'returned' | 'gone' = 'starting';
  /** How its messages travel. */
  line: 'good' | 'cut' | 'answers-lost' | 'doubled' | 'reversed' = 'good';
  #stuck = false;
  readonly #world: PilotWorld;
  #spool: PilotMessage[] = [];
  #seq = 0;
  #nc = 0;
  #until = 0;
  #heard = 0;

  constructor(world: PilotWorld, readonly slot: string, readonly host: string, readonly part: number) {
    this.#world = world;
    this.id = world.random.bytes(8).toString('hex');
  }

  get alive(): boolean {
    return this.state !== 'gone';
  }

  get stuck(): boolean {
    return this.#stuck;
  }

  /** It is there and does nothing any more: its node hangs. */
  hang(): void {
    this.#stuck = true;
    this.#world.silent(this);
  }

  signal(name: 'SIGTERM' | 'SIGKILL'): void {
    if (!this.alive) return;
    if (name === 'SIGKILL') return this.#exit();
    if (this.#stuck) return;
    if (this.state === 'starting') return this.giveBack();
    if (this.state !== 'reserved') return;
    this.state = 'grace';
    this.#until = this.#world.clock.now() + GRACE_MS / 2;
    this.#say({ state: 'early-unreserving', graceMs: GRACE_MS });
  }

  /** The service said so, or there is nothing else to do. */
  giveBack(): void {
    if (this.#stuck || (this.state !== 'starting' && this.state !== 'reserved' && this.state !== 'grace')) return;
    this.state = 'returned';
    this.#until = this.#world.clock.now() + LAST_WORDS_MS;
    this.#say({ state: 'unreserving' });
    this.#say({ state: 'restored' });
  }

  /** What it does when it gets the processor. */
  async step(): Promise<void> {
    if (this.#stuck || !this.alive) return;
    const now = this.#world.clock.now();
    if (this.state === 'starting') {
      this.state = 'reserved';
      this.#say({ state: 'reserved', reserved: { memoryMb: 128, until: now + 7_200_000, version: '0.0.0' } });
    }
    if (this.state === 'grace' && now >= this.#until) this.giveBack();
    if (this.#spool.length > 0 || now - this.#heard >= HEARTBEAT_MS) await this.#send();
    if (this.state === 'returned' && (this.#spool.length === 0 || now >= this.#until)) this.#exit();
  }

  #say(m: Pick<PilotMessage, 'state'> & Partial<PilotMessage>): void {
    this.#spool.push({ id: this.#world.random.bytes(16).toString('hex'), seq: (this.#seq += 1), at: this.#world.clock.now(), code: 0, ...m });
  }

  async #send(): Promise<void> {
    if (this.line === 'cut') return;
    if (this.#spool.length === 0) this.#say({ state: 'alive' });
    const messages = this.line === 'reversed' ? this.#spool.toReversed() : [...this.#spool];
    for (const some of this.line === 'reversed' ? messages.map((m) => [m]) : [messages]) {
      await this.#post(some);
      if (this.line === 'doubled') await this.#post(some);
    }
  }

  async #post(messages: readonly PilotMessage[]): Promise<void> {
    this.#nc += 1;
    const n: Notification = { v: 2, slot: this.slot, host: this.host, part: this.part, pilot: this.id, sentAt: this.#world.clock.now(), messages };
    try {
      const answer = await this.#world.notify(this.slot, n, { cnonce: this.id, nc: this.#nc });
      if (this.line === 'answers-lost') return;
      this.#heard = this.#world.clock.now();
      this.#spool = this.#spool.filter((m) => !answer.ack.includes(m.id));
      if (answer.do === 'release') this.giveBack();
    } catch (e) {
      // A last refusal: the service wants nothing of it any more. Everything else is tried again.
      if (!(e instanceof PilotRefusal) || (e.code !== 'SlotEnded' && e.code !== 'NotInJob')) return;
      this.giveBack();
      this.#spool = [];
    }
  }

  #exit(): void {
    this.state = 'gone';
    this.#world.gone(this);
  }
}
