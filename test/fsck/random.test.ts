/** Anything that has one right answer, broken in any number and order, is mended; a site under load has no findings. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isFault } from '../../src/lease/faults.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite } from '../support/site.ts';
import { checkedSite, populate, type Checked } from './site.ts';

let c: Checked;
beforeAll(async () => {
  c = await checkedSite(await openTestSite());
  await populate(c);
});
afterAll(() => c.close());

/** What a lost write, a write too many or a hand could leave; `$1` picks one of what there is. */
const ONE = (table: string, where = 'true'): string => `(SELECT id FROM ${table} WHERE ${where} ORDER BY id OFFSET $1::int % greatest(1, (SELECT count(*)::int FROM ${table} WHERE ${where})) LIMIT 1)`;
const HARM: readonly string[] = [
  `UPDATE lease SET final = NOT final WHERE id = ${ONE('lease')}`,
  `UPDATE lease SET holding = NOT holding WHERE id = ${ONE('lease', "state <> 'Corrupted'")}`,
  `UPDATE lease SET ended_at = NULL WHERE id = ${ONE('lease')}`,
  `UPDATE lease SET ends_at = NULL WHERE id = ${ONE('lease')}`,
  `UPDATE lease SET generation = 0 WHERE id = ${ONE('lease')}`,
  `UPDATE network_address SET lease_id = NULL WHERE id = ${ONE('network_address')}`,
  `UPDATE network_address SET lease_id = ${ONE('lease', "state = 'Terminated'")} WHERE lease_id IS NULL`,
  `DELETE FROM usage_interval WHERE stop_at IS NULL AND lease_id = ${ONE('lease')}`,
  `UPDATE usage_interval SET stop_at = NULL WHERE lease_id = ${ONE('lease')}`,
  `UPDATE usage_record SET closed_at = NULL, charged_minutes = NULL WHERE lease_id = ${ONE('lease')}`,
  `UPDATE usage_record SET closed_at = now(), charged_minutes = 0, reserved_s = 1 WHERE lease_id = ${ONE('lease')}`,
  `UPDATE intent SET state = 'open', next_at = now() WHERE id = ${ONE('intent')}`,
  `UPDATE intent SET finished_at = NULL WHERE id = ${ONE('intent')}`,
  `UPDATE intent SET node_id = ${ONE('vmm_node')}, state = 'open', finished_at = NULL, next_at = now() WHERE id = ${ONE('intent')}`,
  `INSERT INTO lease_group (id, account_id, request_hash, created_at) SELECT 'r-' || $1::text, min(id), '', now() FROM account ON CONFLICT DO NOTHING`,
  `UPDATE vmm_node SET memory_used = $1::int, cores_used = $1::int % 16 WHERE id = ${ONE('vmm_node')}`,
];

it('whatever was broken, --repair leaves a site that is right', async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(HARM.length - 1), fc.nat(999)), { minLength: 1, maxLength: 6 }), async (harms) => {
    for (const [harm, pick] of harms) await c.break(HARM[harm] ?? '', pick);
    const report = await c.fsck({ repair: true });
    expect(report.problems, JSON.stringify(report)).toEqual([]);
    await c.site.monitor.reload();
    await c.site.dispatcher.poll();
    await c.site.settled();
    expect(await c.wrong({ repair: true })).toEqual([]);
    await expectInvariants(c.site);
  }), { numRuns: 40 });
});

it('what is in flight is no finding: leases come and go while it looks', async () => {
  const { site } = c;
  let on = true;
  const churn = async (): Promise<number> => {
    let made = 0;
    for (; on; made += 1) {
      const networks = made % 2 === 0 ? ['lab'] : undefined;
      // Room and addresses come back when the nodes have answered.
      const group = await site.manager.leases.create(site.alice, { minCount: 2, maxCount: 2, image: 'guest', networks }).catch((e: unknown) => {
        if (isFault(e)) return undefined;
        throw e;
      });
      if (group !== undefined) await site.manager.leases.end(site.alice, group.leases.map((l) => l.id), '');
      await site.manager.work.recorder.idle();
    }
    return made;
  };
  const users = [churn(), churn(), churn()];
  for (let i = 0; i < 8; i++) expect(await c.fsck()).toMatchObject({ problems: [], notes: [] });
  on = false;
  for (const made of await Promise.all(users)) expect(made).toBeGreaterThan(0);
  await site.settled();
  expect(await c.wrong()).toEqual([]);
});
