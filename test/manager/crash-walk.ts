/** What walks of crashes do alike: a life for each moment, a kill in it, and a look at what is left when nothing dies any more. */
import { expect } from 'vitest';
import { statement } from '../../src/store/db.ts';
import type { Checked } from '../fsck/site.ts';
import { expectInvariants } from '../support/invariants.ts';
import type { CrashWorld, Moment } from './crash-world.ts';

const live = statement<{ id: string }>('crash-left', 'SELECT id FROM lease WHERE NOT final');

/** A life and what is looked at after it; `what` has died in it. */
export type Walk = (what: string) => Promise<void>;

/** Of a life that may be killed. An assertion in it says where. */
export const lived = (life: () => Promise<void>, what: string): Promise<void> =>
  life().catch((e: unknown) => { throw new Error(`${what}: ${String(e)}`, { cause: e }); });

/** What the life has begun comes to its end; then nothing dies any more; a sign of life and a look at the nodes, as timers have them; then the books are right. */
export async function expectRest(w: CrashWorld, what: string): Promise<void> {
  await w.rest();
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

/** What services and nodes do for one intent they do for the next: a moment counts by what led to it. */
const inContext = (moment: Moment, before: Moment | undefined): string => `${moment}, next to ${before ?? 'nothing'}`;

/**
 * A life dies at its first moment at which none before has died, until one has no such moment left. What gathers in one statement
 * differs from life to life: so each moment has its kill, or is in no life any more. `every`: what happens in a step of a life is a moment of
 * that step, and another one each time that it happens there. Else it is what the life without a fault had, each in its context once, and whatever another has that is like nothing before.
 */
export async function killAtEach(w: CrashWorld, all: readonly Moment[], walk: Walk, every = false): Promise<void> {
  const unlike = new Set(all.map((m, i) => inContext(m, all[i - 1])));
  const [killed, kinds] = [new Set<string>(), new Set<Moment>()];
  for (let over = false; !over;) {
    let died: string | undefined;
    let before: Moment | undefined;
    const times = new Map<string, number>();
    w.dies = (moment) => {
      const inStep = `${moment}, step ${w.step}`;
      times.set(inStep, (times.get(inStep) ?? 0) + 1);
      const name = every ? `${inStep}, time ${times.get(inStep) ?? 0}` : inContext(moment, before);
      before = moment;
      if (died !== undefined || killed.has(name) || !(every || unlike.has(name) || !kinds.has(moment))) return false;
      died = name;
      killed.add(name);
      kinds.add(moment);
      return true;
    };
    await w.anew().then(() => walk('after a kill')).catch((e: unknown) => { throw new Error(`at ${died ?? 'no moment'}: ${String(e)}`, { cause: e }); });
    over = died === undefined;
    expect(killed.size, 'lives go on to have moments that none before had').toBeLessThan(all.length * 2);
  }
  expect(all.filter((m) => !kinds.has(m)), 'moments that had no kill').toEqual([]);
}

/** A kill at some moments, and more while the service recovers from it. */
export async function killAgain(w: CrashWorld, all: readonly Moment[], every: number, walk: Walk): Promise<void> {
  let [lives, died] = [0, 0];
  for (let k = 1; k <= all.length; k += every) {
    const at = w.killAt(k, k + 2, k + 9, k + 10);
    await w.anew();
    await walk(`after kills at moment ${k} and in the recovery from it`);
    lives += 1;
    died += at.length;
  }
  expect(died, 'kills, of which most lives have several').toBeGreaterThan(lives * 2);
}
