/**
 * The walk: create, reboot, extend, end, with the database failing at the k-th statement for every k, before and after
 * commits, and nodes that lose answers. Whatever fails, the site comes to rest with nothing lost, doubled or left behind.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AgentRequest } from '../../src/control/protocol.ts';
import { statement } from '../../src/store/db.ts';
import { failingDb, type FailingDb } from '../support/failing-db.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
let db: FailingDb;
beforeAll(async () => {
  site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 2048, cores: 16 }, { name: 'n2', memoryMb: 2048, cores: 16 }], seenDb: (real) => (db = failingDb(real)) });
});
afterAll(async () => { await site.close(); });
beforeEach(() => {
  db.fails = () => false;
  db.losesCommit = () => false;
  site.control.answer = () => undefined;
});

const makeDue = statement<never>('test-all-due', "UPDATE intent SET next_at = now() - interval '1 s' WHERE state = 'open'");
const open = statement<{ n: number }>('test-open', "SELECT count(*) AS n FROM intent WHERE state = 'open'");
const liveIds = statement<{ id: string }>('test-live', "SELECT id FROM lease WHERE NOT final AND state <> 'Ending'");
const notFinal = statement<{ n: number }>('test-not-final', 'SELECT count(*) AS n FROM lease WHERE NOT final');

/** As the service's timers do: what is due is sent until nothing is open. */
async function rest(): Promise<void> {
  for (;;) {
    await expect.poll(() => site.dispatcher.underWay, { interval: 1 }).toBe(0);
    await site.manager.work.recorder.idle();
    if ((await site.db.query(open))[0]?.n === 0) return;
    await site.db.query(makeDue);
    await site.dispatcher.poll();
    await site.monitor.reload();
  }
}

/** A life; whatever is refused on the way is refused. */
async function live(): Promise<void> {
  const { leases } = site.manager;
  const ids = (await leases.create(site.alice, { minCount: 2, maxCount: 3, image: 'guest' })).leases.map((l) => l.id);
  await site.manager.work.recorder.idle();
  await leases.setEnd(site.alice, ids, { durationS: 7200 }).catch(() => undefined);
  await leases.reboot(site.alice, ids).catch(() => undefined);
  await site.manager.work.recorder.idle();
  await leases.end(site.alice, ids.slice(0, 1), '').catch(() => undefined);
  site.control.setUp(1, false);
  site.control.setUp(1, true);
  await site.manager.work.recorder.idle();
}

async function endAll(): Promise<void> {
  const ids = (await site.db.query(liveIds)).map((l) => l.id);
  if (ids.length > 0) await site.manager.leases.end(site.admin, ids, 'end of a walk');
  await rest();
  expect(await site.db.query(notFinal)).toEqual([{ n: 0 }]);
}

async function walk(what: string): Promise<void> {
  await live().catch(() => undefined);
  db.fails = () => false;
  db.losesCommit = () => false;
  site.control.answer = () => undefined;
  await rest();
  await expectInvariants(site, what);
  await endAll();
  await expectInvariants(site, `${what}, ended`);
}

async function statementsOfALife(): Promise<number> {
  const before = db.count;
  await walk('without a failure');
  return db.count - before;
}

describe('the database', () => {
  it('may fail at any statement', async () => {
    const all = await statementsOfALife();
    expect(all).toBeGreaterThan(30);
    for (let k = 1; k <= all; k += 1) {
      const last = db.count + k;
      db.fails = () => db.count === last;
      await walk(`statement ${k} failed`);
    }
  });

  it('may be away for several statements from any point on', async () => {
    const all = await statementsOfALife();
    for (let k = 1; k <= all; k += 4) {
      const [from, to] = [db.count + k, db.count + k + 7];
      db.fails = () => db.count >= from && db.count < to;
      await walk(`statements ${k} to ${k + 6} failed`);
    }
  });

  it('may lose the answer to any commit', async () => {
    for (let k = 1; k <= 12; k += 1) {
      let commits = 0;
      db.losesCommit = () => (commits += 1) === k;
      await walk(`answer to commit ${k} lost`);
    }
  });
});

describe('nodes', () => {
  it('may lose, refuse or answer twice any request', async () => {
    for (const op of ['start', 'reboot', 'remove']) {
      for (const how of ['silent', 'DriverFailed', 'Retiring', 'late'] as const) {
        let left = 2;
        site.control.answer = (nodeId: number, r: AgentRequest) => {
          if (r.op !== op || left === 0) return undefined;
          left -= 1;
          if (how === 'DriverFailed' || how === 'Retiring') return { code: how, message: how };
          // Done, but the answer is lost: it will be asked for again.
          if (how === 'late') site.control.perform(nodeId, r);
          return 'silent';
        };
        await walk(`${op} ${how}`);
      }
    }
  });
});
