/** Users, their access keys and the names of their certificates. A secret is shown once, when it is made. */
import { normalSlash } from '../../grid/certificates/name.ts';
import { COMMON } from '../../images/repository.ts';
import { Fault } from '../../lease/faults.ts';
import { isName } from '../../lease/ids.ts';
import type { Random } from '../../platform/context.ts';
import { newAccessKey, newSecretKey } from '../../platform/ids.ts';
import type { Queryable } from '../../store/db.ts';
import {
  accountByName, allUsers, countActiveKeys, countDns, deactivateAccessKey, deleteDn, insertAccessKey, insertAccount, insertDn, liveLeasesOfAccount,
  lockAccount, removeAccount, type AccountRow,
} from '../../store/users.ts';
import type { AdminManager, NewCredentials } from '../admin-types.ts';
import type { AdminDeps } from './deps.ts';

const MOST_ACTIVE_KEYS = 10;
const MOST_DNS = 20;
/** Twelve random digits meet others' once in a very long while. */
const OWNER_ID_ATTEMPTS = 5;

export function userAdministration({ ctx, db, repository }: AdminDeps): Omit<AdminManager['users'], 'addCertificate' | 'certificates' | 'removeCertificate'> {
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

  async function insertName(tx: Queryable, account: Pick<AccountRow, 'id' | 'name'>, text: string): Promise<void> {
    const dn = normalSlash(text);
    if (dn === undefined) throw new Fault('ParameterInvalid', 'The name of a certificate is written in slash form, as "/O=Grid/CN=Alice"', [`${JSON.stringify(text.slice(0, 200))} is not`]);
    const [count] = await tx.query(countDns, [account.id]);
    if ((count?.dns ?? 0) >= MOST_DNS) throw new Fault('TooMany', `User ${account.name} has ${MOST_DNS} certificate names, which is the most: remove one first`);
    if ((await tx.query(insertDn, [dn, account.id, new Date(ctx.clock.now())])).length === 0) throw new Fault('DnTaken', `The certificate name ${dn} belongs to another user`);
  }

  return {
    async add(name, admin, dns = []) {
      if (!isName(name) || name === COMMON) {
        throw new Fault('ParameterInvalid', 'A user name is 1 to 64 letters, digits, ".", "_" or "-"', [name === COMMON ? `${COMMON} is the name of everyone's images` : `${JSON.stringify(name.slice(0, 100))} is not`]);
      }
      return db.transaction(async (tx) => {
        const account = await insert(tx, name, admin);
        for (const dn of dns) await insertName(tx, account, dn);
        return makeKey(tx, account);
      });
    },

    async list() {
      return (await db.query(allUsers)).map((u) => ({
        name: u.name, ownerId: u.owner_id, admin: u.admin, accessKeys: u.keys, dns: u.dns, createdAt: u.created_at,
      }));
    },

    async remove(name) {
      const removeFiles = await db.transaction(async (tx) => {
        const account = await lockedAccount(tx, name);
        const live = await tx.query(liveLeasesOfAccount, [account.id]);
        if (live.length > 0) throw new Fault('UserInUse', `User ${name} has live leases: end them first`, live.map((l) => `lease ${l.id} lives`));
        const files = await repository.removeAllOf(tx, account.id);
        await tx.query(removeAccount, [account.id, new Date(ctx.clock.now())]);
        return files;
      });
      await removeFiles();
    },

    addKey: (name) => db.transaction(async (tx) => {
      const account = await lockedAccount(tx, name);
      const [count] = await tx.query(countActiveKeys, [account.id]);
      if ((count?.keys ?? 0) >= MOST_ACTIVE_KEYS) throw new Fault('TooMany', `User ${name} has ${MOST_ACTIVE_KEYS} access keys, which is the most: deactivate one first`);
      return makeKey(tx, account);
    }),

    async deactivateKey(name, accessKey) {
      await db.transaction(async (tx) => {
        const account = await lockedAccount(tx, name);
        const rows = /^[\x21-\x7e]{1,128}$/.test(accessKey) ? await tx.query(deactivateAccessKey, [account.id, accessKey]) : [];
        if (rows.length === 0) throw new Fault('CredentialsUnknown', `User ${name} has no such access key`);
      });
    },

    addDn: (name, dn) => db.transaction(async (tx) => insertName(tx, await lockedAccount(tx, name), dn)),

    async removeDn(name, dn) {
      await db.transaction(async (tx) => {
        const account = await lockedAccount(tx, name);
        const rows = await tx.query(deleteDn, [account.id, normalSlash(dn) ?? '']);
        if (rows.length === 0) throw new Fault('DnUnknown', `User ${name} has no such certificate name`);
      });
    },
  };
}

export async function lockedAccount(tx: Queryable, name: string): Promise<AccountRow> {
  const [account] = isName(name) ? await tx.query(lockAccount, [name]) : [];
  if (account === undefined) throw new Fault('UserNotFound', `No user is named ${name.slice(0, 64)}`);
  return account;
}

/** EC2 owner ids are 12 digits. */
function newOwnerId(random: Random): string {
  return String(random.bytes(6).readUIntBE(0, 6) % 1e12).padStart(12, '0');
}
