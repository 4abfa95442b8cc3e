/** What goes wrong, and how it is mended: one method a fault, drawn by the seed. */
import { HONEST, type BatchSystem, type Job } from './batch.ts';
import { EVERYTHING, type Trouble } from './idle.ts';
import type { Site } from './site.ts';
import type { Dice } from './random.ts';
import { CALM } from './weather.ts';

type Fault = readonly [weight: number, name: string];

const OWNED: readonly Fault[] = [
  [6, 'killService'], [6, 'killServiceSoon'], [2, 'pauseService'], [3, 'killAgent'], [3, 'killAgentSoon'], [2, 'powerOff'], [3, 'powerOn'], [3, 'cutOff'], [4, 'reconnect'],
  [2, 'resetStreams'], [3, 'databaseAway'], [4, 'storm'], [4, 'calm'], [2, 'jumpClock'], [1, 'fillDisk'],
];

const BORROWED: readonly Fault[] = [
  [6, 'killService'], [6, 'killServiceSoon'], [2, 'pauseService'], [3, 'powerOff'], [3, 'powerOn'], [3, 'cutOff'], [4, 'reconnect'], [2, 'resetStreams'], [3, 'databaseAway'],
  [4, 'storm'], [4, 'calm'], [2, 'jumpClock'], [3, 'killPilot'], [3, 'killPilotSoon'], [3, 'preempt'], [3, 'endJob'], [2, 'killJob'], [2, 'requeueJob'], [1, 'loseJob'],
  [3, 'moodSwing'], [3, 'mend'], [4, 'forge'],
];

/** What mends, and breaks nothing. */
const MENDS: ReadonlySet<string> = new Set(['powerOn', 'reconnect', 'calm', 'mend']);
/** Whose polls have something to find; of the others, everybody's. What dies later disturbs when it does. */
const DISTURBS: Readonly<Record<string, readonly Trouble[]>> = {
  killService: ['services'], killServiceSoon: [], pauseService: ['services'], killAgent: ['network'], killAgentSoon: [], powerOff: ['network'], cutOff: ['network'], resetStreams: ['network'],
  databaseAway: ['database'], fillDisk: ['network'],
  killPilot: ['network'], preempt: ['network', 'batch'], endJob: ['network', 'batch'], killJob: ['network', 'batch'], requeueJob: ['network', 'batch'], loseJob: ['batch'], moodSwing: ['batch'], mend: ['batch'], forge: [],
};
/** On borrowed nodes who dies later is foretold as the moment is: until then everybody is heard. */
const LATER: ReadonlySet<string> = new Set(['killServiceSoon', 'killPilotSoon']);

interface Fuse {
  left: number;
  readonly kill: 'killService' | 'killAgent' | 'killPilot';
  readonly at: 'statement' | 'message';
}

export class Faults {
  readonly #dice: Dice;
  /** Statements and messages until somebody dies. */
  #fuses: Fuse[] = [];
  /** Since it stopped last. */
  readonly #disturbed = new Set<Trouble>();
  happened = 0;

  constructor(private readonly site: Site) {
    this.#dice = site.dice.fork('faults');
    site.database.onStatement = () => this.#burn('statement');
    site.network.onMessage = () => this.#burn('message');
  }

  /** Something, as the seed has it; it may mend what another has broken. */
  happen(): void {
    this.#draw(this.site.batch === undefined ? OWNED : BORROWED);
  }

  /** Something that breaks. */
  strike(): void {
    this.#draw((this.site.batch === undefined ? OWNED : BORROWED).filter(([, name]) => !MENDS.has(name)));
  }

  #draw(kinds: readonly Fault[]): void {
    let at = this.#dice.next() * kinds.reduce((sum, [weight]) => sum + weight, 0);
    const [, name] = kinds.find(([weight]) => (at -= weight) < 0) ?? kinds[0] ?? [0, 'calm'];
    this.happened += 1;
    this.#disturb(name);
    this.site.trace.add('fault', name);
    (this[name as keyof this] as () => void)();
  }

  #disturb(name: string): void {
    const what = this.site.batch !== undefined && LATER.has(name) ? EVERYTHING : DISTURBS[name] ?? EVERYTHING;
    for (const trouble of what) this.#disturbed.add(trouble);
    this.site.idle.disturb(what);
  }

  /** From now on nothing goes wrong any more, and what was broken is mended. */
  stop(): void {
    const { site } = this;
    this.#fuses = [];
    site.idle.disturb([...this.#disturbed]);
    this.#disturbed.clear();
    this.calm();
    this.mend();
    site.network.cutOff.clear();
    site.database.awayUntil = 0;
    for (const m of site.machines) {
      m.disk.full = false;
      m.powerOn();
    }
    while (site.services.length < site.options.services) site.startService();
  }

  killService(): void {
    const { site } = this;
    const [service] = site.services.length === 0 ? [] : [this.#dice.pick(site.services)];
    if (service === undefined) return;
    site.trace.add('killed', service.process.name);
    service.process.kill();
    site.time.after(this.#dice.wait(4_000), () => { if (site.services.length < site.options.services) site.startService(); });
  }

  /** Between two statements, or two messages. */
  killServiceSoon(): void {
    const at = this.#dice.chance(0.7) ? 'statement' : 'message';
    this.#fuses.push({ left: this.#dice.int(1, 40), kill: 'killService', at });
  }

  pauseService(): void {
    const { services } = this.site;
    if (services.length > 0) this.#dice.pick(services).process.pause(this.#dice.int(500, 60_000));
  }

  killAgent(): void {
    const agents = this.site.machines.flatMap((m) => m.agent ?? []);
    if (agents.length > 0) this.#dice.pick(agents).kill();
  }

  killAgentSoon(): void {
    this.#fuses.push({ left: this.#dice.int(1, 30), kill: 'killAgent', at: 'message' });
  }

  powerOff(): void {
    const machine = this.#dice.pick(this.site.machines);
    machine.powerOff();
    this.site.time.after(this.#dice.int(1_000, 90_000), () => machine.powerOn());
  }

  powerOn(): void {
    for (const m of this.site.machines) m.powerOn();
  }

  /** A network that is split: nothing goes there or comes from there. */
  cutOff(): void {
    const { network } = this.site;
    const name = this.#dice.chance(0.2) ? 'host' : this.#dice.pick(this.site.machines).name;
    network.cutOff.add(name);
    this.site.time.after(this.#dice.int(200, 60_000), () => network.cutOff.delete(name));
  }

  reconnect(): void {
    this.site.network.cutOff.clear();
  }

  resetStreams(): void {
    this.site.network.reset(this.#dice.pick(this.site.machines).name);
  }

  databaseAway(): void {
    this.site.database.awayUntil = this.site.time.now + this.#dice.int(50, 20_000);
  }

  storm(): void {
    const share = (most: number): number => (this.#dice.chance(0.5) ? this.#dice.next() * most : 0);
    Object.assign(this.site.weather, {
      latencyMs: this.#dice.chance(0.7) ? this.#dice.int(1, 300) : 0, lost: share(0.1), doubled: share(0.2), late: share(0.2), reordered: share(0.2),
      statementFails: share(0.05), commitLost: share(0.1), statementSlow: share(0.3),
    });
    this.site.trace.add('weather', this.site.weather);
  }

  calm(): void {
    Object.assign(this.site.weather, CALM);
  }

  /** Somebody sets a clock, or NTP does. */
  jumpClock(): void {
    const { host, machines } = this.site;
    const ms = this.#dice.int(-120_000, 120_000);
    if (this.#dice.chance(0.3)) host.clockOffset += ms;
    else this.#dice.pick(machines).clockOffset += ms;
  }

  fillDisk(): void {
    const { disk } = this.#dice.pick(this.site.machines);
    disk.full = true;
    this.site.time.after(this.#dice.int(1_000, 40_000), () => { disk.full = false; });
  }

  killPilot(): void {
    const pilots = this.site.batch?.pilots() ?? [];
    if (pilots.length > 0) this.#dice.pick(pilots).process.kill();
  }

  /** In any phase: between two of its messages, or of the service's commands to the batch system. */
  killPilotSoon(): void {
    this.#fuses.push({ left: this.#dice.int(1, 40), kill: 'killPilot', at: 'message' });
  }

  preempt(): void {
    this.#onJob((batch, job) => batch.warn(job));
  }

  endJob(): void {
    this.#onJob((batch, job) => batch.end(job, this.#dice.pick(['cancelled', 'failed', 'timeout', 'preempted'])));
  }

  killJob(): void {
    this.#onJob((batch, job) => batch.kill(job));
  }

  requeueJob(): void {
    this.#onJob((batch, job) => batch.requeue(job));
  }

  /** It runs, and no list has it any more. */
  loseJob(): void {
    const { batch } = this.site;
    const jobs = batch?.live() ?? [];
    if (jobs.length > 0) batch?.lose(this.#dice.pick(jobs), this.#dice.int(5_000, 120_000));
  }

  moodSwing(): void {
    const share = (most: number): number => (this.#dice.chance(0.5) ? this.#dice.next() * most : 0);
    if (this.site.batch !== undefined) Object.assign(this.site.batch.mood, { rejects: share(0.3), loses: share(0.5), slow: share(0.5), lies: share(0.3) });
  }

  mend(): void {
    if (this.site.batch !== undefined) Object.assign(this.site.batch.mood, HONEST);
  }

  forge(): void {
    for (let n = this.#dice.int(1, 5); n > 0; n -= 1) this.site.web.replay();
  }

  #onJob(how: (batch: BatchSystem, job: Job) => void): void {
    const { batch } = this.site;
    const jobs = batch?.running() ?? [];
    if (batch !== undefined && jobs.length > 0) how(batch, this.#dice.pick(jobs));
  }

  #burn(at: 'statement' | 'message'): void {
    for (const fuse of this.#fuses) if (fuse.at === at) fuse.left -= 1;
    const burnt = this.#fuses.filter((f) => f.left <= 0);
    if (burnt.length === 0) return;
    this.#fuses = this.#fuses.filter((f) => f.left > 0);
    for (const { kill } of burnt) {
      this.#disturb(kill);
      this[kill]();
    }
  }
}

