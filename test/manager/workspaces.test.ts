/** What grid clients do with leases: resting states, ensembles that are gathered and placed together, groups changed as one. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CreateRequest, GridRequest } from '../../src/lease/types.ts';
import type { Caller } from '../../src/manager/types.ts';
import type { Workspace } from '../../src/manager/workspaces.ts';
import { statement } from '../../src/store/db.ts';
import { checkedSite } from '../fsck/site.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { openPilotSite } from './slots/site.ts';

let site: TestSite;
beforeAll(async () => {
  site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 1024, cores: 8 }, { name: 'n2', memoryMb: 1024, cores: 8 }] });
});
afterAll(() => site?.close());
afterEach(async () => {
  await site.settled();
  await expectInvariants(site);
});

const request = (grid: Partial<GridRequest> = {}, more: Partial<CreateRequest> = {}): CreateRequest => ({
  minCount: 1, maxCount: 1, image: 'guest', ...more,
  grid: { name: 'http://example/workspace', nics: ['eth0'], architecture: 'x86', cores: false, target: null, saveAs: null, ensemble: null, ...grid },
});
const create = (r: CreateRequest, who: Caller = site.alice): Promise<Workspace[]> => site.manager.workspaces.create(who, r);
const one = async (r: CreateRequest): Promise<number> => (await create(r))[0]?.number ?? 0;
const state = async (number: number): Promise<string> => {
  await site.settled();
  return (await site.manager.workspaces.find(site.alice, { number }))[0]?.state ?? '';
};
const change = (number: number, to: 'start' | 'shutdown' | 'pause' | 'serialize' | 'reboot' | 'end'): Promise<void> => site.manager.workspaces.change(site.alice, { number }, { to });
const end = async (number: number): Promise<void> => {
  await change(number, 'end');
  await site.settled();
};

describe('a workspace', () => {
  it.each([['Unpropagated', 'Unpropagated'], ['Propagated', 'Propagated'], ['Paused', 'Paused'], [null, 'Running']] as const)('asked for as %s comes to rest as %s, and runs when it is started', async (target, rest) => {
    const number = await one(request({ target }));
    expect(await state(number)).toBe(rest);
    await change(number, 'start');
    expect(await state(number)).toBe('Running');
    await end(number);
  });

  it('is shut down with its disk kept, started again, paused, started, rebooted', async () => {
    const number = await one(request());
    await state(number);
    for (const [to, after] of [['shutdown', 'Propagated'], ['shutdown', 'Propagated'], ['start', 'Running'], ['pause', 'Paused'], ['pause', 'Paused'], ['start', 'Running'], ['reboot', 'Running']] as const) {
      await change(number, to);
      expect(await state(number), to).toBe(after);
    }
    const lease = (await site.manager.workspaces.find(site.alice, { number }))[0];
    expect(site.control.node(1).seen.concat(site.control.node(2).seen).filter((r) => 'lease' in r && r.lease === lease?.id).map((r) => r.op))
      .toEqual(['start', 'shutdown', 'start', 'pause', 'resume', 'reboot']);
    await end(number);
    await expect(site.manager.workspaces.find(site.alice, { number })).rejects.toMatchObject({ code: 'LeaseNotFound' });
  });

  it('is one lease through either door', async () => {
    const number = await one(request());
    await site.settled();
    const [lease] = await site.manager.workspaces.find(site.alice, { number });
    expect((await site.manager.leases.describe(site.alice, { ids: [lease?.id ?? ''] }))[0]?.state).toBe(lease?.state);
    await site.manager.leases.end(site.alice, [lease?.id ?? ''], '');
    await site.settled();
    await expect(change(number, 'start')).rejects.toMatchObject({ code: 'LeaseNotFound' });
    const [other] = (await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest' })).leases;
    const listed = await site.manager.workspaces.list(site.alice);
    expect(listed.map((w) => w.id)).toEqual([other?.id]);
    await end(listed[0]?.number ?? 0);
  });

  it('is nobody else’s, but administrators may look after it', async () => {
    const number = await one(request());
    await expect(site.manager.workspaces.find(site.bob, { number })).rejects.toMatchObject({ code: 'LeaseNotFound' });
    await expect(site.manager.workspaces.change(site.bob, { number }, { to: 'end' })).rejects.toMatchObject({ code: 'LeaseNotFound' });
    await site.manager.workspaces.change(site.admin, { number }, { to: 'end' });
    await site.settled();
  });

  it('is saved under the name that its user gives, and never over an image', async () => {
    const number = await one(request());
    await state(number);
    const save = (name: string): Promise<void> => site.manager.workspaces.change(site.alice, { number }, { to: 'save', name });
    await save('my-disk');
    expect(await state(number)).toBe('ReadyForTransport');
    expect((await site.manager.images.list(site.alice)).map((i) => i.name)).toContain('my-disk');
    await expect(save('my-disk')).rejects.toMatchObject({ code: 'ImageExists' });
    await expect(change(number, 'start')).rejects.toMatchObject({ code: 'StateRefused' });
    await end(number);
  });

  it('that cannot be saved is kept as it is, shut down', async () => {
    const number = await one(request());
    await state(number);
    site.control.answer = (_, r) => (r.op === 'save' ? { code: 'DiskFull', message: 'no room' } : undefined);
    await site.manager.workspaces.change(site.alice, { number }, { to: 'save', name: 'lost-disk' });
    expect(await state(number)).toBe('Propagated');
    site.control.answer = () => undefined;
    await change(number, 'start');
    expect(await state(number)).toBe('Running');
    await end(number);
  });
});

describe('several at once', () => {
  it('are found by those who may know them, each as it is after it was asked for', async () => {
    const mine = await Promise.all([one(request()), one(request())]);
    const [his] = await create(request(), site.bob);
    await site.settled();
    const find = (who: Caller, number: number): Promise<string> => site.manager.workspaces.find(who, { number }).then((w) => w.map((x) => `${x.number} ${x.accountName} ${x.state}`).join(), (e: { code: string }) => e.code);
    const all = [...mine, his?.number ?? 0, 999_999];
    for (let round = 0; round < 5; round += 1) {
      const seen = await Promise.all([site.alice, site.bob, site.admin].map((who) => Promise.all(all.map((n) => find(who, n)))));
      const [a, b, c] = [`${all[0]} alice Running`, `${all[1]} alice Running`, `${all[2]} bob Running`];
      const unknown = 'LeaseNotFound';
      expect(seen).toEqual([[a, b, unknown, unknown], [unknown, unknown, c, unknown], [a, b, c, unknown]]);
    }
    // While others ask all the time, nobody is told what stood before his own change.
    let on = true;
    const others = Array.from({ length: 8 }, async () => {
      while (on) await find(site.admin, all[0] ?? 0);
    });
    for (const [before, to, after] of [['Running', 'pause', 'Paused'], ['Paused', 'start', 'Running'], ['Running', 'shutdown', 'Propagated'], ['Propagated', 'end', 'LeaseNotFound']] as const) {
      await change(mine[0], to);
      expect(await find(site.alice, mine[0]), to).not.toMatch(new RegExp(` ${before}$`));
      await site.settled();
      expect(await find(site.alice, mine[0]), to).toMatch(new RegExp(`${after}$`));
    }
    on = false;
    await Promise.all(others);
    await end(mine[1]);
    await site.manager.workspaces.change(site.bob, { number: his?.number ?? 0 }, { to: 'end' });
  });
});

describe('subscriptions', () => {
  const subscribe = (number: number, who: Caller = site.alice): Promise<string> => site.manager.subscriptions.create(who, number, { topic: 'currentState', consumer: { address: 'http://192.0.2.1/', properties: [] }, wrapped: true, endsAt: null })
    .then(() => 'made', (e: { code: string }) => e.code);
  const tally = (outcomes: readonly string[]): Record<string, number> => outcomes.reduce<Record<string, number>>((all, o) => ({ ...all, [o]: (all[o] ?? 0) + 1 }), {});

  it('of a lease are as many as may be, however many ask at once', async () => {
    const number = await one(request());
    await site.settled();
    expect(tally(await Promise.all(Array.from({ length: 45 }, (_, i) => subscribe(number, i % 2 === 0 ? site.alice : site.admin))))).toEqual({ made: 32, TooMany: 13 });
    await end(number);
    expect(await subscribe(number)).toBe('LeaseNotFound');
  });

  it('of a user are as many as may be, over all of his leases', async () => {
    const numbers = await Promise.all(Array.from({ length: 3 }, () => one(request())));
    await site.settled();
    await site.db.query(statement('no-old-subscriptions', 'DELETE FROM subscription'));
    await site.db.query(statement('many-subscriptions', `INSERT INTO subscription (id, account_id, lease_id, topic, consumer, created_at, next_at, paused)
      SELECT 'many-' || i, $1, 'i-0000000000000000' || i % 10, 'currentState', '{"address":"http://192.0.2.1/","properties":[]}', now(), now(), true FROM generate_series(1, 990) i`), [site.alice.accountId]);
    expect(tally(await Promise.all(Array.from({ length: 24 }, (_, i) => subscribe(numbers[i % 3] ?? 0))))).toEqual({ made: 10, TooMany: 14 });
    await site.db.query(statement('no-subscriptions', "DELETE FROM subscription WHERE id LIKE 'many-%'"));
    for (const n of numbers) await end(n);
  });
});

describe('a group', () => {
  it('is changed as one: what cannot be is named, what can be is changed', async () => {
    const members = await create(request({}, { minCount: 3, maxCount: 3 }));
    const group = members[0]?.grid?.group ?? '';
    await site.settled();
    await change(members[1]?.number ?? 0, 'shutdown');
    await site.settled();
    const fault = await site.manager.workspaces.change(site.alice, { group }, { to: 'pause' }).catch((e: unknown) => e);
    expect(fault).toMatchObject({ code: 'PartlyDone', reasons: [`workspace ${members[1]?.number} is Propagated`, `workspace ${members[0]?.number}: pause succeeded`, `workspace ${members[2]?.number}: pause succeeded`] });
    await site.settled();
    expect((await site.manager.workspaces.find(site.alice, { group })).map((w) => w.state)).toEqual(['Paused', 'Propagated', 'Paused']);
    await site.manager.workspaces.change(site.alice, { group }, { to: 'end' });
    await expect(site.manager.workspaces.find(site.alice, { group })).rejects.toMatchObject({ code: 'GroupNotFound' });
    await site.settled();
  });
});

describe('an ensemble', () => {
  it('waits without a node until it is done, then runs together', async () => {
    const first = await create(request({ ensemble: 'new' }, { minCount: 2, maxCount: 2 }));
    const key = first[0]?.grid?.ensemble ?? '';
    const second = await create(request({ ensemble: { join: key } }));
    expect([...first, ...second].map((w) => [w.state, w.node, w.nics.length])).toEqual([['Pending', null, 1], ['Pending', null, 1], ['Pending', null, 1]]);
    await site.manager.workspaces.launch(site.alice, key);
    await site.settled();
    expect((await site.manager.workspaces.report(site.alice, key)).map((w) => w.state)).toEqual(['Running', 'Running', 'Running']);
    await expect(site.manager.workspaces.launch(site.alice, key)).rejects.toMatchObject({ code: 'EnsembleDone' });
    await expect(create(request({ ensemble: { join: key } }))).rejects.toMatchObject({ code: 'EnsembleDone' });
    await site.manager.workspaces.change(site.alice, { ensemble: key }, { to: 'end' });
    await site.settled();
  });

  it('of which a part has no room stays open as a whole', async () => {
    const first = await create(request({ ensemble: 'new' }, { resources: { memoryMb: 1024 } }));
    const key = first[0]?.grid?.ensemble ?? '';
    const rest = await create(request({ ensemble: { join: key } }, { minCount: 2, maxCount: 2, resources: { memoryMb: 1024 } }));
    await expect(site.manager.workspaces.launch(site.alice, key)).rejects.toMatchObject({ code: 'NoCapacity' });
    expect((await site.manager.workspaces.report(site.alice, key)).map((w) => w.state)).toEqual(['Pending', 'Pending', 'Pending']);
    await end(rest[1]?.number ?? 0);
    await site.manager.workspaces.launch(site.alice, key);
    await site.settled();
    expect((await site.manager.workspaces.report(site.alice, key)).map((w) => w.state)).toEqual(['Running', 'Running']);
    await site.manager.workspaces.change(site.alice, { ensemble: key }, { to: 'end' });
    await site.settled();
  });

  it('of another, or that does not exist, is joined, done and reported by nobody', async () => {
    const first = await create(request({ ensemble: 'new' }));
    const key = first[0]?.grid?.ensemble ?? '';
    for (const join of [key, '00000000-0000-4000-8000-000000000000']) {
      await expect(create(request({ ensemble: { join } }), site.bob)).rejects.toMatchObject({ code: 'EnsembleNotFound' });
      await expect(site.manager.workspaces.launch(site.bob, join)).rejects.toMatchObject({ code: 'EnsembleNotFound' });
      await expect(site.manager.workspaces.report(site.bob, join)).rejects.toMatchObject({ code: 'EnsembleNotFound' });
    }
    await site.manager.workspaces.change(site.alice, { ensemble: key }, { to: 'end' });
    await expect(site.manager.workspaces.launch(site.alice, key)).rejects.toMatchObject({ code: 'EnsembleEmpty' });
  });
});

describe('time', () => {
  const over = (number: number): Promise<unknown> => site.db.query(statement('workspaces-over', "UPDATE lease SET ends_at = now() - interval '1 second' WHERE seq = $1"), [number]);
  const endOf = async (number: number): Promise<string> => {
    await site.manager.work.sweep();
    await site.settled();
    const [row] = await site.db.query(statement<{ state: string }>('workspaces-state', 'SELECT state FROM lease WHERE seq = $1'), [number]);
    return row?.state ?? '';
  };

  it('that is over has the disk saved first, where that was asked for', async () => {
    const number = await one(request({ saveAs: 'kept-disk' }));
    await state(number);
    await over(number);
    expect(await endOf(number)).toBe('ReadyForTransport');
    expect((await site.manager.images.list(site.alice)).map((i) => i.name)).toContain('kept-disk');
    expect(await endOf(number)).toBe('Terminated');
  });

  it('that is over ends a lease whose disk cannot be saved, after one attempt', async () => {
    const number = await one(request({ saveAs: 'never-kept' }));
    await state(number);
    await over(number);
    site.control.answer = (_, r) => (r.op === 'save' ? { code: 'DiskFull', message: 'no room' } : undefined);
    expect(await endOf(number)).toBe('Propagated');
    site.control.answer = () => undefined;
    expect(await endOf(number)).toBe('Terminated');
  });

  it('to gather an ensemble ends, and the ensemble with it', async () => {
    const first = await create(request({ ensemble: 'new' }, { minCount: 2, maxCount: 2 }));
    const key = first[0]?.grid?.ensemble ?? '';
    await site.db.query(statement('workspaces-old', "UPDATE ensemble SET created_at = created_at - interval '2 hours' WHERE id = $1"), [key]);
    await expect(create(request({ ensemble: { join: key } }))).rejects.toMatchObject({ code: 'EnsembleDone' });
    for (const w of first) await over(w.number);
    expect(await endOf(first[0]?.number ?? 0)).toBe('Terminated');
    await expect(site.manager.workspaces.launch(site.alice, key)).rejects.toMatchObject({ code: 'EnsembleEmpty' });
  });
});

it('what rests and what waits is nothing that fsck has to mend', async () => {
  const checked = await checkedSite(await openTestSite());
  try {
    for (const target of ['Unpropagated', 'Propagated', 'Paused'] as const) await checked.site.manager.workspaces.create(checked.site.alice, request({ target }));
    await checked.site.manager.workspaces.create(checked.site.alice, request({ ensemble: 'new' }));
    await checked.site.settled();
    expect(await checked.wrong()).toEqual([]);
    await checked.break("UPDATE lease SET target = NULL WHERE target = 'Unpropagated'");
    expect(await checked.wrong()).toEqual([expect.stringMatching(/^lease-idle/) as string]);
  } finally {
    await checked.close();
  }
});

it('in pilot mode an ensemble is one batch job, submitted when it is done', async () => {
  const p = await openPilotSite();
  const { workspaces } = p.site.manager;
  const ask = (r: CreateRequest): Promise<Workspace[]> => workspaces.create(p.site.alice, { ...r, resources: { memoryMb: 64, cores: 1 }, durationS: 3600 });
  try {
    const first = await ask(request({ ensemble: 'new' }));
    const key = first[0]?.grid?.ensemble ?? '';
    await ask(request({ ensemble: { join: key } }, { minCount: 2, maxCount: 2 }));
    await p.site.slots.poll();
    expect(p.lrm.submitted).toEqual([]);
    await workspaces.launch(p.site.alice, key);
    const { id } = await p.until(p.slot, (s) => s.state === 'Queued');
    expect(p.lrm.submitted).toHaveLength(1);
    await p.run('a', 'b', 'c');
    for (const host of ['a', 'b', 'c']) await p.reserved(id, host);
    await p.until(p.states, (s) => s.length === 3 && s.every((x) => x === 'Running'));
    expect((await workspaces.report(p.site.alice, key)).map((w) => w.visible)).toEqual(['Running', 'Running', 'Running']);
    await expectInvariants(p.site);
  } finally {
    await p.site.close();
  }
});
