/** Whom jobs are charged to: `pilot.account_by`. */
import { afterEach, expect, it } from 'vitest';
import { policiesOf } from '../../support/policies.ts';
import { openPilotSite, type PilotSite } from './site.ts';

let p: PilotSite;
afterEach(async () => { await p.site.close(); });

const create = (count: number, over: { type?: string } = {}) =>
  p.site.manager.leases.create(p.site.alice, { minCount: count, maxCount: count, image: 'guest', durationS: 3600, ...over });

it('P12: jobs are charged to the user, with the cores and memory that his leases need', async () => {
  p = await openPilotSite({ pilot: { poll: 3600, account_by: 'user' } });
  await create(2, { type: 'm1.large' });
  await p.until(p.slot, (s) => s.job_id !== null);
  expect(p.lrm.submitted[0]).toMatchObject({ account: 'alice', parts: [{ nodes: 2, cores: 2, memoryMb: 512 }] });
});

it('jobs are charged to the group of the user, to the first by name of several, to the site’s account without one', async () => {
  p = await openPilotSite({ pilot: { poll: 3600, account_by: 'group', account: 'rest' } });
  const policies = policiesOf(p.site);
  for (const name of ['physics', 'chemistry']) await policies.set(name, {}, 'group');
  await policies.set('small', {}, 'template');
  await policies.assign('small', 'alice');
  const charged = async (): Promise<string | null | undefined> => {
    const before = p.lrm.submitted.length;
    await create(1);
    await p.until(() => Promise.resolve(p.lrm.submitted), (s) => s.length > before);
    return p.lrm.submitted.at(-1)?.account;
  };
  expect(await charged()).toBe('rest');
  await policies.assign('physics', 'alice');
  expect(await charged()).toBe('physics');
  await policies.assign('chemistry', 'alice');
  expect(await charged()).toBe('chemistry');
});
