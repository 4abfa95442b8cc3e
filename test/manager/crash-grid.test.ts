/**
 * The service is killed before and after each statement, commit and message of what only grid clients do: an ensemble that is gathered
 * and started, a lease that rests, is started, shut down, paused and saved as an image, a subscription to it, a lease that is serialized. A client that hears
 * nothing asks again. Whatever it was told stands, and an ensemble runs as a whole or waits as a whole.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CreateRequest, GridRequest } from '../../src/lease/types.ts';
import type { Change } from '../../src/manager/workspace-changes.ts';
import type { Workspace } from '../../src/manager/workspaces.ts';
import { statement } from '../../src/store/db.ts';
import { checkedSite, type Checked } from '../fsck/site.ts';
import { deadline, oneIn } from '../support/moments.ts';
import { expectAgreed, killAgain, killAtEach, lived } from './crash-walk.ts';
import { CrashWorld, type Moment } from './crash-world.ts';

let w: CrashWorld;
let checked: Checked;
let walks = 0;
beforeAll(async () => {
  w = await CrashWorld.open();
  checked = await checkedSite(w.site);
});
afterAll(() => w.close());
beforeEach(() => { w.dies = () => false; });

const images = statement<{ name: string; n: number }>('crash-images', 'SELECT name, count(*)::int AS n FROM image WHERE name = $1 AND removed_at IS NULL GROUP BY name');
const states = statement<{ state: string; placed: boolean; done: boolean }>('crash-ensemble', `
  SELECT l.state, l.node_id IS NOT NULL AS placed, e.done_at IS NOT NULL AS done
    FROM ensemble e JOIN grid_group g ON g.ensemble_id = e.id JOIN lease l ON l.group_id = g.group_id WHERE e.id = $1`);
const subscriptions = statement<{ n: number }>('crash-subscriptions', 'SELECT count(*)::int AS n FROM subscription WHERE id = $1');

const insist = <T>(what: () => Promise<T>, before: readonly string[] = []): Promise<T | undefined> => w.insist(what, before);

const request = (token: string, grid: Partial<GridRequest> = {}, count = 1): CreateRequest => ({
  minCount: count, maxCount: count, image: 'guest', clientToken: token,
  grid: { name: 'http://example/workspace', nics: ['eth0'], architecture: 'x86', cores: false, target: null, saveAs: null, ensemble: null, ...grid },
});
const create = async (r: CreateRequest): Promise<Workspace[]> => await insist(() => w.life.manager.workspaces.create(w.site.alice, r)) ?? [];
const find = async (number: number): Promise<string> => (await insist(() => w.life.manager.workspaces.find(w.site.alice, { number })))?.[0]?.state ?? '';

/** Gathers two groups, starts them, and looks at what became of them at each step. */
async function ensemble(): Promise<void> {
  const token = `ensemble-${walks += 1}`;
  const first = await create(request(`${token}-1`, { ensemble: 'new' }, 2));
  const key = first[0]?.grid?.ensemble ?? '';
  const second = await create(request(`${token}-2`, { ensemble: { join: key } }));
  await w.rest();
  const waiting = await w.site.db.query(states, [key]);
  expect(waiting).toEqual(Array.from({ length: 3 }, () => ({ state: 'Pending', placed: false, done: false })));
  await insist(() => w.life.manager.workspaces.launch(w.site.alice, key), ['EnsembleDone']);
  const started = await w.site.db.query(states, [key]);
  expect(started.map((s) => [s.placed, s.done]), 'an ensemble whose start was answered').toEqual(Array.from({ length: 3 }, () => [true, true]));
  await w.rest();
  for (const { number } of [...first, ...second]) expect(await find(number)).toBe('Running');
  // What was answered first is answered so again.
  const again = await create(request(`${token}-1`, { ensemble: 'new' }, 2));
  expect(again.map((l) => [l.number, l.grid?.ensemble])).toEqual(first.map((l) => [l.number, key]));
}

const STEPS: ReadonlyArray<readonly [to: Exclude<Change['to'], 'save' | 'end'>, state: string]> = [['start', 'Running'], ['pause', 'Paused'], ['start', 'Running'], ['shutdown', 'Propagated']];

/** A lease from its rest to its image, with a subscription. */
async function rested(): Promise<void> {
  const name = `disk-${walks += 1}`;
  const [lease] = await create(request(name, { target: 'Paused' }));
  const number = lease?.number ?? 0;
  await w.rest();
  expect(await find(number)).toBe('Paused');
  const told = await insist(() => w.life.manager.subscriptions.create(w.site.alice, number, { topic: 'currentState', consumer: { address: 'http://192.0.2.1/', properties: [] }, wrapped: true, endsAt: null }));
  for (const [to, state] of STEPS) {
    await insist(() => w.life.manager.workspaces.change(w.site.alice, { number }, { to }));
    await w.rest();
    expect(await find(number), to).toBe(state);
  }
  await insist(() => w.life.manager.workspaces.change(w.site.alice, { number }, { to: 'save', name }), ['ImageExists', 'StateRefused']);
  await w.rest();
  expect(await find(number)).toBe('ReadyForTransport');
  expect(await w.site.db.query(images, [name])).toEqual([{ name, n: 1 }]);
  expect(await w.site.db.query(subscriptions, [told?.id])).toEqual([{ n: 1 }]);
}

/** A lease that is serialized and goes on. */
async function serialized(): Promise<void> {
  const [lease] = await create(request(`serialized-${walks += 1}`));
  const number = lease?.number ?? 0;
  await w.rest();
  for (const [to, state] of [['serialize', 'Serialized'], ['start', 'Running']] as const) {
    await insist(() => w.life.manager.workspaces.change(w.site.alice, { number }, { to }));
    await w.rest();
    expect(await find(number), to).toBe(state);
  }
}

async function walk(life: () => Promise<void>, what: string): Promise<void> {
  await lived(life, what);
  await expectAgreed(w, checked, what);
}

/** Of a life without a fault, after which all agrees. */
async function moments(life: () => Promise<void>): Promise<Moment[]> {
  const all = await w.moments(life);
  await walk(life, 'a life without a fault');
  return all;
}

describe.each([['an ensemble', ensemble], ['a lease that rests, runs, is shut down, paused and saved', rested], ['a lease that is serialized', serialized]] as const)('%s', { timeout: deadline(480_000) }, (_, life) => {
  it('survives a kill of the service at each moment', async () => {
    const all = await moments(life);
    expect(all.length).toBeGreaterThan(40);
    await killAtEach(w, all, (what) => walk(life, what));
  });

  it('survives another kill while it recovers', async () => {
    await killAgain(w, await moments(life), oneIn(9), (what) => walk(life, what));
  });
});
