/**
 * What sites have that not every seed needs: policies with limits that administrators change, accounting that is told of usage,
 * disks that users have saved. What must hold of them, and what goes wrong with them, is here too.
 */
import type { Outside } from '../../../src/platform/outside/index.ts';
import type { CreateRequest } from '../../../src/lease/types.ts';
import { imagesOfFile } from '../../../src/store/images.ts';
import { isUnavailable, statement } from '../../../src/store/db.ts';
import type { SaverDeps } from '../../../src/workers/saving.ts';
import type { Violation } from './invariants.ts';
import { gridWish } from './grid.ts';
import type { Process } from './process.ts';
import { SimulatedSink } from './sink.ts';
import type { Site } from './site.ts';

export const SINK = 'accounting';
export const SINK_DEADLINE_MS = 5_000;
export const POLICIES = ['small', 'large'] as const;

const POLICY = statement<{ id: number }>('sim-policy', "INSERT INTO policy (name, kind, bounds, created_at, changed_at) VALUES ($1, 'template', $2, $3, $3) RETURNING id");
const ASSIGN = statement<never>('sim-assign', 'INSERT INTO policy_user (account_id, policy_id, template) VALUES ($1, $2, true)');
/** Counted from the leases themselves, not from what triggers keep. */
const USES = statement<Use>('sim-uses', `
  SELECT a.name AS user, p.bounds, count(l.id)::int AS leases, coalesce(sum(l.cores), 0)::int AS cores, coalesce(sum(l.memory_mb), 0)::int AS memory_mb
    FROM policy_user u JOIN policy p ON p.id = u.policy_id JOIN account a ON a.id = u.account_id LEFT JOIN lease l ON l.account_id = a.id AND l.holding
   GROUP BY a.name, p.bounds ORDER BY a.name`);
/** What accounting must have been told of, each of it under one id. */
const USAGE = statement<{ lease: string; charged: number | null; kinds: string[] }>('sim-usage-told', `
  SELECT r.lease_id AS lease, r.charged_minutes AS charged,
         array['record-opened'] || CASE WHEN r.closed_at IS NULL THEN '{}'::text[] ELSE array['record-closed'] END
           || coalesce((SELECT array_agg('interval-opened ' || i.id) || coalesce(array_agg('interval-closed ' || i.id) FILTER (WHERE i.stop_at IS NOT NULL), '{}') FROM usage_interval i WHERE i.lease_id = r.lease_id), '{}') AS kinds
    FROM usage_record r ORDER BY r.lease_id`);
const WAITING = statement<{ n: number }>('sim-usage-waiting', 'SELECT count(*)::int AS n FROM usage_event');
/** An order has failed when it says so, or when nobody saves its lease for it. */
const MADE = statement<{ id: string; images: number; failed: number; pending: number }>('sim-made', `
  SELECT x.id, (SELECT count(*) FROM image i WHERE i.id = x.id)::int AS images, count(o.id) FILTER (WHERE l.id IS NULL)::int AS failed, count(l.id)::int AS pending
    FROM unnest($1::text[]) AS x(id) LEFT JOIN image_order o ON o.id = x.id
    LEFT JOIN lease l ON l.id = o.lease_id AND l.image_order = o.id AND l.state = 'ReadyingForTransport' AND o.failed_at IS NULL GROUP BY x.id`);
const SAVED = statement<{ id: string; images: number; rests: boolean }>('sim-saved', `
  SELECT l.id, (SELECT count(*) FROM image i WHERE i.name = 'saved-' || l.id)::int AS images, l.state = 'ReadyForTransport' AS rests FROM lease l
   WHERE EXISTS (SELECT FROM event e WHERE e.lease_id = l.id AND e.trigger = 'transportable')`);
const FILES = statement<{ id: string; file: string; sha256: string }>('sim-files', "SELECT id, file, sha256 FROM image WHERE account_id IS NOT NULL AND removed_at IS NULL");

const DISPLACED = statement<{ n: number }>('sim-displaced', 'SELECT count(*)::int AS n FROM lease WHERE preempted_at IS NOT NULL');

interface Use { user: string; bounds: Limits; leases: number; cores: number; memory_mb: number }
const KEYS = ['leases', 'cores', 'memory_mb'] as const;
type Limits = Readonly<Partial<Record<(typeof KEYS)[number], number>>>;

export class More {
  readonly sink: SimulatedSink;
  /** Images that users were promised. */
  readonly promised: string[] = [];
  /** The repository. */
  readonly #files = new Map<string, Buffer>();
  #uses = new Map<string, Use>();
  readonly #dice;

  constructor(private readonly site: Site) {
    this.#dice = site.dice.fork('more');
    this.sink = new SimulatedSink(site.time, this.#dice.fork('sink'), site.trace);
  }

  /** Disks that became images. */
  get saved(): number {
    return this.#files.size;
  }

  /** Leases that went for others. */
  get displaced(): number {
    return this.site.options.postgres.query(DISPLACED)[0]?.n ?? 0;
  }

  /** @param accounts of users */
  populate(accounts: readonly number[], now: Date): void {
    const { postgres } = this.site.options;
    POLICIES.forEach((name, i) => {
      const [policy] = postgres.query(POLICY, [name, JSON.stringify(this.limits()), now]);
      postgres.query(ASSIGN, [accounts[i], policy?.id]);
    });
  }

  limits(): Limits {
    const dice = this.#dice;
    // The site has room for 32 small leases.
    const most = dice.chance(0.5) ? 10 : 40;
    return { leases: dice.int(1, most), ...(dice.chance(0.3) ? { cores: dice.int(1, most) } : {}), ...(dice.chance(0.3) ? { memory_mb: dice.int(1, most) * 128 } : {}) };
  }

  /** Of what is asked for: disks are saved when a node is taken away, leases are preemptible. */
  wishes(): Pick<CreateRequest, 'tags' | 'spot' | 'grid'> {
    const dice = this.#dice;
    if (dice.chance(0.3)) return gridWish(dice);
    if (this.site.batch !== undefined) return dice.chance(0.5) ? { tags: { 'nimbus:on-preempt': 'save' } } : {};
    return dice.chance(0.4) ? { spot: { price: dice.pick([0.1, 0.5, 1]), persistent: dice.chance(0.5) } } : {};
  }

  outside(process: Process): Outside {
    return this.sink.of(process, SINK_DEADLINE_MS);
  }

  repository(process: Process): SaverDeps['repository'] {
    const { database, image } = this.site;
    const db = database.connect(process);
    return {
      diskBytes: () => Promise.resolve(image.length),
      take: async (owner, bytes, write) => {
        const pieces: Buffer[] = [];
        for await (const piece of bytes) pieces.push(piece);
        const id = `ami-${this.#dice.bytes(8).toString('hex')}0`;
        const file = `${owner.name}/${id}.raw`;
        const whole = Buffer.concat(pieces);
        this.#files.set(file, whole);
        try {
          await write({ id, file, format: 'raw', sizeBytes: whole.length, sha256: this.site.digestOf(whole), diskBytes: whole.length });
        } catch (e) {
          // As the repository does: nobody knows whether it was written down, and an image without its file would be lost.
          if (!isUnavailable(e)) this.#files.delete(file);
          throw e;
        }
        const unnamed = await db.query(imagesOfFile, [file]).then((rows) => rows.length === 0, () => false);
        if (unnamed) this.#files.delete(file);
      },
    };
  }

  /** After a step that has changed leases or policies. A limit may be set below what there is; then nothing is added. */
  look(): Violation[] {
    const found: Violation[] = [];
    const now = new Map(this.site.database.postgres.query(USES).map((u) => [u.user, u]));
    for (const [user, use] of now) {
      const before = this.#uses.get(user);
      for (const key of KEYS) {
        const limit = Math.max(use.bounds[key] ?? Infinity, before?.bounds[key] ?? (before === undefined ? 0 : Infinity));
        if (use[key] > limit && use[key] > (before?.[key] ?? 0)) found.push({ says: 'no user has more than his policy allows', of: `${user}: ${use[key]} ${key} of ${limit}` });
      }
    }
    this.#uses = now;
    return [...found, ...this.sink.broken.splice(0)];
  }

  /** Something goes wrong with the sink, or an administrator comes. */
  happen(): void {
    const { sink, site } = this;
    const share = (most: number): number => (this.#dice.chance(0.5) ? this.#dice.next() * most : 0);
    if (this.#dice.chance(0.3)) sink.awayUntil = site.time.now + this.#dice.int(1_000, 30_000);
    else sink.trouble = { fails: share(0.5), loses: share(0.5), slow: share(0.5) };
  }

  stop(): void {
    this.sink.awayUntil = 0;
    this.sink.trouble = { fails: 0, loses: 0, slow: 0 };
  }

  /** When nothing goes wrong any more. */
  settled(): Violation[] {
    const { postgres } = this.site.database;
    const made = postgres.query(MADE, [this.promised]).filter((m) => m.images + m.failed !== 1 || m.pending > 0);
    const saved = postgres.query(SAVED).filter((l) => l.images !== 1);
    const files = postgres.query(FILES).filter((i) => this.site.digestOf(this.#files.get(i.file) ?? Buffer.alloc(0)) !== i.sha256);
    return [
      ...made.map((m) => ({ says: 'an image that was promised is there once, or has failed', of: `${m.id}: ${m.images} images, ${m.failed} orders that failed, ${m.pending} that wait` })),
      ...saved.map((l) => ({ says: 'a disk that was saved is an image exactly once', of: `${l.id}: ${l.images}` })),
      ...files.map((i) => ({ says: 'an image has the bytes of its disk', of: `${i.id} in ${i.file}` })),
    ];
  }

  /** When every lease is over. */
  empty(): Violation[] {
    const { postgres } = this.site.database;
    if ((postgres.query(WAITING)[0]?.n ?? 0) > 0) return [{ says: 'accounting is told of everything in the end', of: `${postgres.query(WAITING)[0]?.n ?? 0} usage events wait` }];
    const ids = new Map<string, string[]>();
    for (const e of this.sink.told.values()) {
      const what = `${e.lease} ${e.kind}${e.interval === undefined ? '' : ` ${e.interval}`}`;
      ids.set(what, [...(ids.get(what) ?? []), e.id]);
    }
    const charged = new Map([...this.sink.told.values()].filter((e) => e.kind === 'record-closed').map((e) => [e.lease, e.chargedMinutes]));
    return postgres.query(USAGE).flatMap(({ lease, charged: minutes, kinds }) => [
      ...kinds.filter((k) => (ids.get(`${lease} ${k}`)?.length ?? 0) !== 1).map((k) => ({ says: 'each usage event reaches accounting under one id', of: `${lease} ${k}: ${ids.get(`${lease} ${k}`)?.join() ?? 'none'}` })),
      ...(charged.get(lease) === minutes ? [] : [{ says: 'accounting is told what was charged', of: `${lease}: ${charged.get(lease)}, it is ${minutes}` }]),
    ]);
  }
}
