/** Images of every owner. */
import { Fault } from '../../lease/faults.ts';
import { allImages, allOrders } from '../../store/images.ts';
import { accountByName } from '../../store/users.ts';
import type { AdminManager } from '../admin-types.ts';
import { imageView } from '../images.ts';
import type { AdminDeps } from './deps.ts';

export function imageAdministration({ db, repository }: Pick<AdminDeps, 'db' | 'repository'>): AdminManager['images'] {
  async function ownerOf(name: string | null): Promise<{ id: number; name: string } | null> {
    if (name === null) return null;
    const [account] = await db.query(accountByName, [name]);
    if (account === undefined) throw new Fault('UserNotFound', `No user is named ${name}`);
    return account;
  }

  return {
    async add({ name, owner, file, description }) {
      return imageView(await repository.add({ name, owner: await ownerOf(owner), file, description }));
    },

    async list() {
      const made = (await db.query(allImages)).map((row) => ({ ...imageView(row), state: 'available' as const, reason: null }));
      return [...made, ...(await db.query(allOrders)).map((row) => ({ ...imageView(row), state: row.state, reason: row.reason }))];
    },

    remove: async (which) => imageView(await repository.remove(which)),
  };
}
