/** Key pairs: made here or brought along. The private half of a pair made here leaves in the answer and is kept nowhere. */
import { Fault } from '../lease/faults.ts';
import { createBatcher } from '../platform/batcher.ts';
import type { Context } from '../platform/context.ts';
import { newKeyPairId } from '../platform/ids.ts';
import type { Db, Queryable } from '../store/db.ts';
import { countKeyPairs, deleteKeyPair, findKeyPair, insertKeyPair, keyPairsOf, type KeyPairRow } from '../store/keys.ts';
import { lockBelongings } from '../store/tags.ts';
import { importedFingerprint } from './ssh-keys/fingerprint.ts';
import { generatePair, type NewKeyPair } from './ssh-keys/generate.ts';
import { openSshLine, parsePublicKey, type PublicKey } from './ssh-keys/public-key.ts';
import { checkTags, writeTags } from './tags.ts';
import type { Caller, KeyPairView, Manager } from './types.ts';

const MOST_PER_ACCOUNT = 1000;
/** An RSA pair costs a tenth of a second of a core: one at a time, and few may wait. */
const MOST_WAITING = 64;
/** EC2 API reference, CreateKeyPair: up to 255 ASCII characters, no spaces at the ends. */
const NAME = /^(?! )[\x20-\x7e]{1,255}(?<! )$/;

interface NewRow {
  readonly name: string;
  readonly key: PublicKey;
  readonly fingerprint: string;
  readonly tags: Readonly<Record<string, string>>;
}
interface Options {
  readonly dryRun?: boolean;
  readonly tags?: Readonly<Record<string, string>>;
}

export function keyCases({ ctx, db }: { readonly ctx: Context; readonly db: Db }): Manager['keys'] {
  const generator = createBatcher<{ type: 'rsa' | 'ed25519'; name: string }, NewKeyPair>({
    most: 1,
    mostWaiting: MOST_WAITING,
    full: () => new Fault('Busy', `${MOST_WAITING} requests for key pairs are waiting already`),
    run: (asked) => Promise.all(asked.map((a) => generatePair(a.type, ctx.random, a.name))),
  });

  /** What can be refused before a key is made or written. */
  async function check(q: Queryable, caller: Caller, name: string, options: Options): Promise<void> {
    if (await findKeyPair(q, caller.accountId, name) !== null) throw exists(name);
    const [count] = await q.query(countKeyPairs, [caller.accountId]);
    if ((count?.keys ?? 0) >= MOST_PER_ACCOUNT) throw new Fault('TooMany', `You have ${MOST_PER_ACCOUNT} key pairs, which is the most`, [], { ec2: 'KeyPairLimitExceeded' });
    if (options.dryRun === true) throw dryRun();
  }

  async function store(caller: Caller, row: NewRow, options: Options): Promise<KeyPairView> {
    const id = newKeyPairId(ctx.random);
    const now = ctx.clock.now();
    const line = openSshLine(row.key, row.name);
    await db.transaction(async (tx) => {
      await tx.query(lockBelongings, [caller.accountId]);
      await check(tx, caller, row.name, options);
      await tx.query(insertKeyPair, [caller.accountId, row.name, id, row.key.type, line, row.fingerprint, new Date(now)]);
      await writeTags(tx, [{ id, account_id: caller.accountId }], row.tags);
    });
    return { id, name: row.name, fingerprint: row.fingerprint, type: row.key.type, publicKey: line, createdAt: now };
  }

  return {
    async create(caller, name, type, options = {}) {
      checkName(name);
      const tags = options.tags ?? {};
      checkTags(tags);
      await check(db, caller, name, options);
      const pair = await generator.add({ type, name });
      const view = await store(caller, { name, key: pair.key, fingerprint: pair.fingerprint, tags }, options);
      return { ...view, material: pair.material };
    },

    async import(caller, name, material, options = {}) {
      checkName(name);
      const tags = options.tags ?? {};
      checkTags(tags);
      const key = parsePublicKey(material);
      return store(caller, { name, key, fingerprint: importedFingerprint(key), tags }, options);
    },

    async list(caller, { names, ids } = {}) {
      const all = (await db.query(keyPairsOf, [caller.accountId])).map(keyPairView);
      const missingName = names?.find((n) => !all.some((k) => k.name === n));
      if (missingName !== undefined) throw notFound(missingName);
      const missingId = ids?.find((i) => !all.some((k) => k.id === i));
      if (missingId !== undefined) throw new Fault('KeyPairNotFound', `The key pair ID '${missingId.slice(0, 255)}' does not exist`);
      return all.filter((k) => (names?.includes(k.name) ?? true) && (ids?.includes(k.id) ?? true));
    },

    async remove(caller, which, options = {}) {
      const [name, id] = 'name' in which ? [which.name, null] : [null, which.id];
      if (!NAME.test(name ?? id ?? '')) return null;
      return db.transaction(async (tx) => {
        await tx.query(lockBelongings, [caller.accountId]);
        const [row] = await tx.query(deleteKeyPair, [caller.accountId, name, id]);
        if (options.dryRun === true) throw dryRun();
        return row === undefined ? null : keyPairView(row);
      });
    },
  };
}

function checkName(name: string): void {
  if (!NAME.test(name)) throw new Fault('ParameterInvalid', 'Invalid value for KeyName: 1 to 255 printable ASCII characters, without spaces at the ends');
}

function keyPairView(row: KeyPairRow): KeyPairView {
  return { id: row.id, name: row.name, fingerprint: row.fingerprint, type: row.type, publicKey: row.public_key, createdAt: row.created_at };
}

const exists = (name: string): Fault => new Fault('KeyPairExists', `The keypair '${name}' already exists.`);
const notFound = (name: string): Fault => new Fault('KeyPairNotFound', `The key pair '${name.slice(0, 255)}' does not exist`);
const dryRun = (): Fault => new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
