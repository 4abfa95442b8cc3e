/** What walks of crashes do alike: a life for each moment, a kill in it, and a look at what is left when nothing dies any more. */
import { expect } from 'vitest';
import { statement } from '../../src/store/db.ts';
import type { Checked } from '../fsck/site.ts';
import { expectInvariants } from '../support/invariants.ts';
import { different, type CrashWorld, type Moment } from './crash-world.ts';

const live = statement<{ id: string }>('crash-left', 'SELECT id FROM lease WHERE NOT final');

/** A life and what is looked at after it; `what` has died in it. */
export type Walk = (what: string) => Promise<void>;

/** Of a life that may be killed. An assertion in it says where. */
export const lived = (life: () => Promise<void>, what: string): Promise<void> =>
  life().catch((e: unknown) => { throw new Error(`${what}: ${String(e)}`, { cause: e }); });

/** Nothing dies any more; a sign of life and a look at the nodes, as timers have them; then the books are right. */
export async function expectRest(w: CrashWorld, what: string): Promise<void> {
  w.dies = () => false;
  await w.rest();
  await w.life.monitor.reload();
  await w.rest();
  await expectInvariants(w.site, what);
}

/** And nothing is left to mend; the next life begins without leases. */
export async function expectAgreed(w: CrashWorld, checked: Checked, what: string): Promise<void> {
  await expectRest(w, what);
  expect(await checked.fsck({ serving: false }).then((r) => r.problems.filter((p) => !p.rule.startsWith('image'))), what).toEqual([]);
  await endAll(w);
  expect(await w.site.db.query(live), what).toEqual([]);
  await expectInvariants(w.site, `${what}, ended`);
}

export async function endAll(w: CrashWorld): Promise<void> {
  const left = await w.site.db.query(live);
  if (left.length > 0) await w.life.manager.leases.end(w.site.admin, left.map((l) => l.id), 'the end of a walk');
  await w.rest();
}

/** A kill at each moment that is unlike the others. */
export async function killAtEach(w: CrashWorld, all: readonly Moment[], walk: Walk): Promise<void> {
  const once = different(all);
  let died = 0;
  for (const k of once) {
    const at = w.killAt(k);
    await walk(`after a kill at moment ${k}, ${all[k - 1]}`);
    died += at.length;
  }
  expect(died).toBeGreaterThan(once.length * 0.9);
}

/** A kill at some moments, and more while the service recovers from it. */
export async function killAgain(w: CrashWorld, all: readonly Moment[], every: number, walk: Walk): Promise<void> {
  for (let k = 1; k <= all.length; k += every) {
    w.killAt(k, k + 2, k + 9, k + 10);
    await walk(`after kills at moment ${k} and in the recovery from it`);
  }
}
