/** Users and their access keys. A secret is shown once, when it is made. */
import { COMMON } from '../../images/repository.ts';
import { Fault } from '../../lease/faults.ts';
import { isName } from '../../lease/ids.ts';
import type { Random } from '../../platform/context.ts';
import { newAccessKey, newSecretKey } from '../../platform/ids.ts';
import type { Queryable } from '../../store/db.ts';
import {
  accountByName, allUsers, countActiveKeys, deactivateAccessKey, insertAccessKey, insertAccount, liveLeasesOfAccount, lockAccount,
  removeAccount, type AccountRow,
} from '../../store/users.ts';
import type { AdminManager, NewCredentials } from '../admin-types.ts';
import type { AdminDeps } from './deps.ts';

const MOST_ACTIVE_KEYS = 10;
/** Twelve random digits meet others' once in a very long while. */
const OWNER_ID_ATTEMPTS = 5;

export function userAdministration({ ctx, db, repository }: AdminDeps): AdminManager['users'] {
  async function makeKey(tx: Queryable, account: Pick<AccountRow, 'id' | 'name' | 'owner_id'>): Promise<NewCredentials> {
    const [accessKey, secretKey] = [newAccessKey(ctx.random), newSecretKey(ctx.random)];
    await tx.query(insertAccessKey, [accessKey, account.id, secretKey, new Date(ctx.clock.now())]);
    return { name: account.name, ownerId: account.owner_id, accessKey, secretKey };
  }

  async function insert(tx: Queryable, name: string, admin: boolean): Promise<Pick<AccountRow, 'id' | 'name' | 'owner_id'>> {
    for (let attempt = 0; attempt < OWNER_ID_ATTEMPTS; attempt += 1) {
      const ownerId = newOwnerId(ctx.random);
      const [row] = await tx.query(insertAccount, [name, ownerId, admin, new Date(ctx.clock.now())]);
      if (row !== undefined) return { id: row.id, name, owner_id: ownerId };
      if ((await tx.query(accountByName, [name])).length > 0) throw new Fault('UserExists', `A user named ${name} exists already`);
    }
    throw new Error('no free owner id was found');
  }

  return {
    async add(name, admin) {
      if (!isName(name) || name === COMMON) {
        throw new Fault('ParameterInvalid', 'A user name is 1 to 64 letters, digits, ".", "_" or "-"', [name === COMMON ? `${COMMON} is the name of everyone's images` : `${JSON.stringify(name.slice(0, 100))} is not`]);
      }
      return db.transaction(async (tx) => makeKey(tx, await insert(tx, name, admin)));
    },

    async list() {
      return (await db.query(allUsers)).map((u) => ({
        name: u.name, ownerId: u.owner_id, admin: u.admin, accessKeys: u.keys, createdAt: u.created_at,
      }));
    },

    async remove(name) {
      const removeFiles = await db.transaction(async (tx) => {
        const account = await locked(tx, name);
        const live = await tx.query(liveLeasesOfAccount, [account.id]);
        if (live.length > 0) throw new Fault('UserInUse', `User ${name} has live leases: end them first`, live.map((l) => `lease ${l.id} lives`));
        const files = await repository.removeAllOf(tx, account.id);
        await tx.query(removeAccount, [account.id, new Date(ctx.clock.now())]);
        return files;
      });
      await removeFiles();
    },

    addKey: (name) => db.transaction(async (tx) => {
      const account = await locked(tx, name);
      const [count] = await tx.query(countActiveKeys, [account.id]);
      if ((count?.keys ?? 0) >= MOST_ACTIVE_KEYS) throw new Fault('TooMany', `User ${name} has ${MOST_ACTIVE_KEYS} access keys, which is the most: deactivate one first`);
      return makeKey(tx, account);
    }),

    async deactivateKey(name, accessKey) {
      await db.transaction(async (tx) => {
        const account = await locked(tx, name);
        const rows = /^[\x21-\x7e]{1,128}$/.test(accessKey) ? await tx.query(deactivateAccessKey, [account.id, accessKey]) : [];
        if (rows.length === 0) throw new Fault('CredentialsUnknown', `User ${name} has no such access key`);
      });
    },
  };
}

async function locked(tx: Queryable, name: string): Promise<AccountRow> {
  const [account] = isName(name) ? await tx.query(lockAccount, [name]) : [];
  if (account === undefined) throw new Fault('UserNotFound', `No user is named ${name.slice(0, 64)}`);
  return account;
}

/** EC2 owner ids are 12 digits. */
function newOwnerId(random: Random): string {
  return String(random.bytes(6).readUIntBE(0, 6) % 1e12).padStart(12, '0');
}
