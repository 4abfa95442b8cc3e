/** Images of every owner. */
import { Fault } from '../../lease/faults.ts';
import { allImages } from '../../store/images.ts';
import { accountByName } from '../../store/users.ts';
import type { AdminManager } from '../admin-types.ts';
import { imageView } from '../images.ts';
import type { AdminDeps } from './deps.ts';

export function imageAdministration({ db, repository }: AdminDeps): AdminManager['images'] {
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

    list: async () => (await db.query(allImages)).map(imageView),

    remove: async (which) => imageView(await repository.remove(which)),
  };
}
