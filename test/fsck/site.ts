/** A site for fsck: leases in several states on fake nodes, a bridged network, real image files; in pilot mode a slot too. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentsOn } from '../../src/fsck/agents.ts';
import { fsck } from '../../src/fsck/index.ts';
import type { FsckOptions, FsckReport } from '../../src/fsck/types.ts';
import type { Clock } from '../../src/platform/context.ts';
import { realClock } from '../../src/platform/real.ts';
import { statement } from '../../src/store/db.ts';
import type { TestSite } from '../support/site.ts';

const GUEST = Buffer.alloc(512, 7);

/** Looks follow each other at once. */
const hurried: Clock = { ...realClock, after: (ms, fn, background) => realClock.after(ms === 2_000 ? 0 : ms, fn, background) };

export interface Checked {
  readonly site: TestSite;
  readonly directory: string;
  /** SQL in place of a crash, a bug or a hand; `$1` is what the text says. */
  break(sql: string, ...values: unknown[]): Promise<void>;
  fsck(options?: Partial<FsckOptions> & { serving?: boolean }): Promise<FsckReport>;
  /** `rule: sentence` of each problem. */
  wrong(options?: Partial<FsckOptions>): Promise<string[]>;
  id(sql: string): Promise<string>;
  close(): Promise<void>;
}

export async function checkedSite(site: TestSite): Promise<Checked> {
  const directory = mkdtempSync(join(tmpdir(), 'fsck-'));
  mkdirSync(join(directory, 'common'));
  writeFileSync(join(directory, 'common', 'guest'), GUEST);
  await site.db.query(statement('test-guest', 'UPDATE image SET size_bytes = $1, sha256 = $2'), [GUEST.length, createHash('sha256').update(GUEST).digest('hex')]);
  let statements = 0;
  const anew = <Row>(sql: string) => statement<Row>(`test-fsck-${process.pid}-${(statements += 1)}`, sql);
  const look: Checked['fsck'] = ({ serving = true, ...options } = {}) => fsck({
    ctx: { ...site.ctx, clock: hurried }, db: site.db, config: site.config, serving, imageDirectory: directory, handOver: (intents) => site.dispatcher.handOver(intents), nodesChanged: () => site.monitor.reload(),
    agents: agentsOn(site.ctx, site.control, site.manager.work.nodes),
  }, { repair: false, deep: false, ...options });
  return {
    site, directory, fsck: look,
    async break(sql, ...values) {
      await site.db.query(anew(sql), values);
    },
    wrong: async (options) => (await look(options)).problems.map((p) => `${p.rule}: ${p.what}`),
    async id(sql) {
      const [row] = await site.db.query(anew<{ id: string }>(sql));
      if (row === undefined) throw new Error(`nothing is found by ${sql}`);
      return String(row.id);
    },
    close() {
      rmSync(directory, { recursive: true, force: true });
      return site.close();
    },
  };
}

/** A bridged network `lab` with a pool, and a lease of each kind: running, paused by its flags only, failed, ended. */
export async function populate({ site }: Checked): Promise<void> {
  const { db, manager, alice, bob } = site;
  const [network] = await db.query(statement<{ id: number }>('test-lab', `
    INSERT INTO network (name, kind, bridge, prefix, gateway, created_at) VALUES ('lab', 'bridge', 'br0', 24, '192.0.2.1', now()) RETURNING id`));
  await db.query(statement('test-pool', `
    INSERT INTO network_address (network_id, ip, hostname, mac)
    SELECT $1, ('192.0.2.' || n)::inet, 'lab-' || n, 'a2:aa:bb:00:00:' || lpad(to_hex(n), 2, '0') FROM generate_series(10, 19) AS n`), [network?.id]);
  const create = (caller: typeof alice, count: number, over: object = {}) => manager.leases.create(caller, { minCount: count, maxCount: count, image: 'guest', ...over });
  await create(alice, 3, { networks: ['lab'], clientToken: 'alpha' });
  const ended = await create(bob, 2, { clientToken: 'beta', tags: { purpose: 'test' } });
  await create(alice, 1);
  await site.settled();
  await manager.leases.end(bob, ended.leases.map((l) => l.id), 'enough');
  site.control.answer = (_node, r) => (r.op === 'start' ? { code: 'DriverFailed', message: 'no' } : undefined);
  await create(bob, 1);
  await site.settled();
  site.control.answer = () => undefined;
}
