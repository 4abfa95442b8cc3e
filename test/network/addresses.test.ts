import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { giveOut } from '../../src/network/addresses.ts';
import type { Queryable } from '../../src/store/db.ts';
import { releaseLeases } from '../../src/store/leases.ts';
import { addressesOf } from '../../src/store/networks.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { addAccount, addImage, addLease, addNetwork } from '../support/rows.ts';

let t: TestDatabase;
let accountId: number;
let imageId: string;
beforeAll(async () => {
  t = await openTestDatabase();
  accountId = await addAccount(t.db, 'alice');
  imageId = await addImage(t.db, null, 'guest');
});
afterAll(() => t.close());

/** As their end does. */
const release = (q: Queryable, leases: readonly string[]): Promise<unknown> => q.query(releaseLeases, ['[]', '[]', '[]', new Date(), leases, leases.map(() => new Date())]);

const holders = async (networkId: number): Promise<Array<string | null>> =>
  (await t.db.query(addressesOf, [networkId])).map((a) => a.lease_id);

describe('addresses of a pool', () => {
  test('are leased in the order of the pool, and free again when released', async () => {
    const network = await addNetwork(t.db, 'ordered', 3);
    const [one, two] = [await addLease(t.db, { accountId, imageId }), await addLease(t.db, { accountId, imageId })];
    const given = await giveOut(t.db, network, [two, one]);
    expect([two, one].map((l) => [given.get(l)?.ip, given.get(l)?.hostname])).toEqual([['192.0.2.11', 'ordered-0'], ['192.0.2.12', 'ordered-1']]);
    expect(await holders(network.id)).toEqual([two, one, null]);
    await release(t.db, [two]);
    await release(t.db, [two, 'i-00000000']);
    expect(await holders(network.id)).toEqual([null, one, null]);
  });

  test('may be given out before the lease is written, in the same transaction', async () => {
    const network = await addNetwork(t.db, 'deferred', 1);
    await t.db.transaction(async (tx) => {
      const lease = `i-${'f'.repeat(17)}`;
      await giveOut(tx, network, [lease]);
      await expect(giveOut(tx, network, [lease])).rejects.toMatchObject({ code: 'NoAddress' });
      await release(tx, [lease]);
    });
  });

  test('two transactions at once never get the same, and do not wait for each other', async () => {
    const network = await addNetwork(t.db, 'shared', 4);
    const leases: string[] = [];
    for (let i = 0; i < 4; i += 1) leases.push(await addLease(t.db, { accountId, imageId }));
    await t.db.transaction(async (a) => {
      const first = await giveOut(a, network, leases.slice(0, 2));
      const second = await t.db.transaction((b) => giveOut(b, network, leases.slice(2)));
      expect(new Set([...first.values(), ...second.values()].map((x) => x.ip)).size).toBe(4);
    });
  });

  test('too few: the fault names the network, what is free and what was asked; nothing is taken', async () => {
    const network = await addNetwork(t.db, 'small', 2);
    await expect(t.db.transaction((tx) => giveOut(tx, network, ['i-0', 'i-1', 'i-2']))).rejects.toMatchObject({
      code: 'NoAddress', message: 'Network small has not enough free addresses', reasons: ['network small: 3 asked, 2 of 2 free'],
    });
    expect(await holders(network.id)).toEqual([null, null]);
  });

  test('an empty pool says how to fill it', async () => {
    const network = await addNetwork(t.db, 'empty', 0);
    await expect(t.db.transaction((tx) => giveOut(tx, network, ['i-0']))).rejects.toMatchObject({
      reasons: ['the pool of network empty is empty: nimbus network add-addresses fills it'],
    });
  });
});
