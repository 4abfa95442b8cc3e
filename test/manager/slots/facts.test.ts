/** What the batch system says of itself is asked for again while the service runs. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { World } from './faults-world.ts';

let w: World;
beforeEach(async () => { w = await World.open(); });
afterEach(async () => { await w.close(); });

/** The grace that the next pilot is told, s. */
async function toldGrace(): Promise<number | undefined> {
  const before = w.lrm.jobs.length;
  await w.service.manager.leases.create(w.site.alice, { minCount: 1, maxCount: 1, image: 'guest', durationS: 3600 });
  await w.until('a job', 30, () => Promise.resolve(w.lrm.jobs.length > before));
  const argv = w.lrm.jobs.at(-1)?.request.parts[0]?.argv ?? [];
  return Number(argv[argv.indexOf('--graceperiod') + 1]);
}

it('a grace that the site has changed is told to the pilots that come after', async () => {
  expect(await toldGrace()).toBe(5);
  w.lrm.facts_ = { ...w.lrm.facts_, graceS: 17 };
  await w.pass(615);
  expect(await toldGrace()).toBe(17);
});

it('what it said last holds while it says nothing', async () => {
  const { facts } = w.lrm;
  w.lrm.facts = () => Promise.reject(new Error('slurmctld is down'));
  await w.pass(615);
  expect(await toldGrace()).toBe(5);
  expect(w.ctx.lines.filter((l) => l.level === 'error').map((l) => l.message)).toContain('the batch system does not say what it is; trying again');
  w.lrm.facts = facts;
});
