/**
 * Users: they create, end, reboot and extend leases, ask again with the same token when they were not answered, and remember
 * what they were promised.
 */
import { isFault } from '../../../src/lease/faults.ts';
import type { FullManager as Manager } from '../../../src/manager/index.ts';
import type { Caller, GroupView } from '../../../src/manager/types.ts';
import type { Change } from '../../../src/manager/workspace-changes.ts';
import type { CreateRequest } from '../../../src/lease/types.ts';
import type { Violation } from './invariants.ts';
import { join, launch, ONE_MORE } from './grid.ts';
import { POLICIES } from './more.ts';
import type { Process } from './process.ts';
import type { Dice } from './random.ts';
import type { Service } from './service.ts';
import type { Site } from './site.ts';

/** A user waits for an answer so long. */
const PATIENCE_MS = 60_000;
const NOT_NOW: ReadonlySet<string> = new Set(['Unavailable', 'Busy']);
/** Refusals that a user with these wishes may get. */
const FAIR: ReadonlySet<string> = new Set(['NoCapacity', 'NoAddress', 'TooMany', 'StateRefused', 'DurationRefused']);
/** And only those who ask for this: who protects a lease may not end it, and borrowed nodes stay as large as they were asked for. */
const FAIR_OF: Readonly<Record<string, readonly string[]>> = {
  end: ['EndProtected'], resize: ['Unsupported'], gather: ['EnsembleDone', 'EnsembleNotFound'], launch: ['EnsembleDone', 'EnsembleEmpty', 'EnsembleNotFound'],
};
/** Grid clients do not see what is over. */
const OVER: ReadonlySet<string> = new Set(['LeaseNotFound']);
/** Users speak of what they made lately: what is older may be pruned. */
const MEMORY_MS = 1_800_000;

interface Wish {
  /** ms of virtual time */
  readonly at: number;
  readonly user: Caller;
  readonly request: CreateRequest;
}

export class Users {
  readonly #dice: Dice;
  /** Creates that were not answered. */
  #unanswered: Wish[] = [];
  /** Token → the group that was promised. */
  readonly #promised = new Map<string, string>();
  #leases: Array<{ readonly user: Caller; readonly id: string; readonly at: number }> = [];
  readonly broken: Violation[] = [];
  answered = 0;
  refused = 0;

  #requests = 0;

  /** @param greedy they want more than there is room for */
  constructor(private readonly site: Site, private readonly greedy: boolean) {
    this.#dice = site.dice.fork('users');
  }

  create(): void {
    const dice = this.#dice;
    const user = dice.pick(this.site.users);
    const minCount = dice.int(1, this.greedy ? 6 : dice.chance(0.3) ? 4 : 2);
    const request: CreateRequest = {
      minCount, maxCount: minCount + (dice.chance(0.2) ? dice.int(1, 2) : 0), image: 'guest', durationS: dice.chance(0.5) ? dice.int(5, 60) : dice.int(60, 3_600),
      ...(dice.chance(this.greedy ? 0.7 : 0.2) ? { type: 'm1.large' } : {}), ...(dice.chance(0.8) ? { clientToken: dice.bytes(6).toString('hex') } : {}),
      ...this.site.more?.wishes(),
    };
    this.#send({ user, request, at: this.site.time.now });
  }

  /** The same once more, as a client does that heard nothing, or does not trust what it heard. */
  repeat(): void {
    this.#unanswered = this.#unanswered.filter((w) => this.#isRecent(w));
    const wish = this.#unanswered.length === 0 ? undefined : this.#dice.pick(this.#unanswered);
    if (wish?.request.clientToken !== undefined) this.#send(wish);
    else this.create();
  }

  end(): void {
    this.#onLease('end', (m, user, id) => m.leases.end(user, [id], 'enough'));
  }

  reboot(): void {
    this.#onLease('reboot', (m, user, id) => m.leases.reboot(user, [id]));
  }

  extend(): void {
    const seconds = this.#dice.int(10, 600);
    this.#onLease('extend', (m, user, id) => m.leases.setEnd(user, [id], { durationS: seconds }));
  }

  stop(): void {
    const hard = this.#dice.chance(0.3);
    this.#onLease('stop', (m, user, id) => m.leases.stop(user, [id], { hard }));
  }

  start(): void {
    this.#onLease('start', (m, user, id) => m.leases.start(user, [id]));
  }

  /** Half of the time without a reboot: the disk as it is, while the VM runs on. */
  makeImage(): void {
    const name = `image-${this.#dice.bytes(4).toString('hex')}`;
    const live = this.#dice.chance(0.5);
    this.#onLease('make image', async (m, user, id) => { this.site.more?.promised.push(await m.images.make(user, id, { name, description: '', tags: {}, live })); });
  }

  /** Of one that is stopped; where none is, one that runs shall be. */
  resize(): void {
    const user = this.#dice.pick(this.site.users);
    const type = this.#dice.pick(['m1.small', 'm1.large']);
    this.#ask('resize', async (m) => {
      const leases = await m.leases.describe(user, { live: true });
      const [stopped, runs] = [leases.find((l) => l.state === 'Propagated'), leases.find((l) => l.state === 'Running')];
      if (stopped !== undefined) await m.leases.setAttributes(user, stopped.id, { type });
      else if (runs !== undefined) await m.leases.stop(user, [runs.id]);
    }, () => undefined);
  }

  /** From its end, or no longer. */
  protect(): void {
    const endProtected = this.#dice.chance(0.6);
    this.#onLease('protect', (m, user, id) => m.leases.setAttributes(user, id, { endProtected }));
  }

  /** The VM ends for it. */
  save(): void {
    this.#change('save', { to: 'save', name: null });
  }

  pause(): void {
    this.#change('pause', { to: 'pause' });
  }

  /** The VM ends, and its memory is kept. */
  serialize(): void {
    this.#change('serialize', { to: 'serialize' });
  }

  /** Whatever has stopped goes on where it was. */
  goOn(): void {
    this.#change('go on', { to: 'start' });
  }

  /** As grid clients do. */
  #change(what: string, change: Change): void {
    this.#onLease(what, async (m, user, id) => {
      const found = (await m.workspaces.list(user)).find((w) => w.id === id);
      if (found === undefined) return;
      await m.workspaces.change(user, { number: found.number }, change).catch((e: unknown) => {
        if (!isFault(e) || !OVER.has(e.code)) throw e;
      });
    });
  }

  /** One more group joins an ensemble. */
  gather(): void {
    const requestId = `req-${(this.#requests += 1)}`;
    this.site.wishes.set(requestId, ONE_MORE);
    this.#ask('gather', (m) => join(m, this.site.users, requestId), () => undefined);
  }

  launch(): void {
    this.#ask('launch', (m) => launch(m, this.site.users), () => undefined);
  }

  /** An administrator does it, and it holds for the next request. */
  limit(): void {
    const { more } = this.site;
    if (more === undefined) return;
    const [name, bounds] = [this.#dice.pick(POLICIES), more.limits()];
    this.#ask('limit', (_m, service) => service.policies.set(name, { bounds, replace: true }), () => undefined);
  }

  /** What waits for room gets none any more. */
  cancel(): void {
    for (const user of this.site.users) {
      this.#ask('cancel', async (m) => {
        const requests = await m.spot.list(user);
        if (requests.length > 0) await m.spot.cancel(user, requests.map((r) => r.id));
      }, () => undefined);
    }
  }

  describe(): void {
    const user = this.#dice.pick(this.site.users);
    this.#ask('describe', (m) => m.leases.describe(user, {}), () => undefined);
  }

  /** @returns whether somebody was there to be asked */
  endAll(): boolean {
    return this.#ask('end all', async (m) => {
      const live = await m.leases.describe(this.site.admin, { live: true });
      if (live.length > 0) await m.leases.end(this.site.admin, live.map((l) => l.id), 'the end');
    }, () => undefined);
  }

  #onLease(what: string, how: (m: Manager, user: Caller, id: string) => Promise<unknown>): void {
    this.#leases = this.#leases.filter((l) => this.#isRecent(l));
    if (this.#leases.length === 0) return this.create();
    // The latest ones most of the time: the others are over.
    const lease = this.#leases[Math.max(0, this.#leases.length - 1 - this.#dice.wait(4))] ?? this.#dice.pick(this.#leases);
    this.#ask(what, (m) => how(m, lease.user, lease.id), () => undefined);
  }

  #isRecent({ at }: { readonly at: number }): boolean {
    return this.site.time.now - at < MEMORY_MS;
  }

  #send(wish: Wish): void {
    this.#unanswered.push(wish);
    const requestId = `req-${(this.#requests += 1)}`;
    this.site.wishes.set(requestId, wish.request);
    this.#ask('create', (m) => m.leases.create({ ...wish.user, requestId }, wish.request), (group) => {
      this.#unanswered.splice(this.#unanswered.indexOf(wish), 1);
      this.#promise(wish, group);
    });
  }

  #promise({ user, request }: Wish, group: GroupView): void {
    const wrong = (says: string): void => void this.broken.push({ says, of: `${group.id} of ${group.leases.length} for ${JSON.stringify(request)}` });
    const n = group.leases.length;
    if (n < request.minCount || n > request.maxCount) wrong('a group is created whole or not at all');
    const token = request.clientToken;
    const before = token === undefined ? undefined : this.#promised.get(token);
    if (before !== undefined && before !== group.id) wrong('a client token names one group for ever');
    if (token !== undefined) this.#promised.set(token, group.id);
    if (before === undefined) for (const l of group.leases) this.#leases.push({ user, id: l.id, at: this.site.time.now });
  }

  /** False when nobody was there to be asked. */
  #ask<T>(what: string, how: (m: Manager, service: Service) => Promise<T>, onAnswer: (answer: T) => void): boolean {
    const ready = this.site.ready();
    if (ready.length === 0) return false;
    const service = this.#dice.pick(ready);
    const { manager, process } = service;
    const { trace, time } = this.site;
    let heard = false;
    const silence = time.after(PATIENCE_MS, () => { heard = true; });
    trace.add('asks', process.name, what);
    const done = (how_: string): boolean => {
      if (heard || !process.alive) return false;
      heard = true;
      silence.cancel();
      trace.add('is answered', what, how_);
      return true;
    };
    awake(process).then(() => how(manager, service)).then(
      (answer) => {
        if (!done('yes')) return;
        this.answered += 1;
        onAnswer(answer);
      },
      (e: unknown) => {
        if (!done(isFault(e) ? e.code : String(e))) return;
        this.refused += 1;
        if (!isFault(e) || !(NOT_NOW.has(e.code) || FAIR.has(e.code) || FAIR_OF[what]?.includes(e.code) === true)) {
          this.broken.push({ says: 'a request is refused for a reason, never for a mistake of the program', of: `${what}: ${isFault(e) ? `${e.code}: ${e.message}` : e instanceof Error ? e.stack ?? e.message : String(e)}` });
        }
      },
    );
    return true;
  }
}

/** A process that is stopped takes requests when it goes on. */
async function awake(process: Process): Promise<void> {
  while (process.pausedUntil > process.time.now) await new Promise<void>((resolve) => void process.time.after(process.pausedUntil - process.time.now, resolve));
}
