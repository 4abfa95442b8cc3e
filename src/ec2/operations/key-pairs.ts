/** CreateKeyPair, ImportKeyPair, DescribeKeyPairs, DeleteKeyPair. */
import { Fault } from '../../lease/faults.ts';
import { KEY_PAIR_ID } from '../../lease/ids.ts';
import type { KeyPairView } from '../../manager/types.ts';
import { filterBy, filters } from '../filters.ts';
import type { FilterTable } from '../filters.ts';
import { base64, boolean as booleanInput, list as inputList, required, string } from '../inputs.ts';
import { operation } from '../operation.ts';
import { boolean, list, optional, struct, text, time } from '../outputs.ts';
import { tagItems, tagSet, tagSpecifications, tagsFor } from '../tags.ts';

/** Longer than any public key that SSH knows, with its comment. */
const MAX_PUBLIC_KEY = 16_384;

/** Key names are the user's own words, but none that a shell or a path would read as more than a name. */
export const keyName = string({
  pattern: /^(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9 ._@:+=,-]*[A-Za-z0-9._@:+=,-])?$/,
  must: 'must be letters, digits, spaces and . _ - @ : + = , without ".."',
});
const keyPairId = string({ pattern: KEY_PAIR_ID, must: 'is not a key pair id' });

const created = { keyName: text, keyFingerprint: text, keyPairId: text, tagSet };

export const createKeyPair = operation({
  name: 'CreateKeyPair',
  summary: 'Makes a key pair; the private key is in the answer and kept nowhere.',
  input: {
    KeyName: required(keyName),
    KeyType: string({ oneOf: ['rsa', 'ed25519'] }),
    KeyFormat: string({ oneOf: ['pem', 'ppk'] }),
    TagSpecification: tagSpecifications,
  },
  output: { keyName: text, keyFingerprint: text, keyMaterial: text, keyPairId: text, tagSet },
  errors: ['KeyPairExists', 'TagRefused', 'TooMany', 'Unsupported'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    if (p.KeyFormat === 'ppk') throw new Fault('Unsupported', 'Keys are given in PEM form only; puttygen makes a ppk file of it.');
    const tags = tagsFor('key-pair', p.TagSpecification);
    const key = await manager.keys.create(caller, p.KeyName, p.KeyType === 'ed25519' ? 'ed25519' : 'rsa', { dryRun, tags });
    return { ...createdItem(key, tags), keyMaterial: key.material };
  },
});

export const importKeyPair = operation({
  name: 'ImportKeyPair',
  summary: 'Registers the public half of a key that the user has.',
  input: { KeyName: required(keyName), PublicKeyMaterial: required(base64(MAX_PUBLIC_KEY, 'KeyFormat')), TagSpecification: tagSpecifications },
  output: created,
  errors: ['KeyFormat', 'KeyPairExists', 'TagRefused', 'TooMany'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const tags = tagsFor('key-pair', p.TagSpecification);
    return createdItem(await manager.keys.import(caller, p.KeyName, p.PublicKeyMaterial, { dryRun, tags }), tags);
  },
});

function createdItem(key: KeyPairView, tags: Readonly<Record<string, string>>) {
  return { keyName: key.name, keyFingerprint: key.fingerprint, keyPairId: key.id, tagSet: tagItems(tags) };
}

interface TaggedKey extends KeyPairView {
  readonly tags: Readonly<Record<string, string>>;
}

const keyFilters: FilterTable<TaggedKey> = {
  'fingerprint': (k) => k.fingerprint,
  'key-name': (k) => k.name,
  'key-pair-id': (k) => k.id,
};

export const describeKeyPairs = operation({
  name: 'DescribeKeyPairs',
  summary: 'Shows the caller\'s key pairs.',
  input: { KeyName: inputList(keyName), KeyPairId: inputList(keyPairId), IncludePublicKey: booleanInput, Filter: filters },
  output: {
    keySet: list(struct({
      keyPairId: text, keyType: text, tagSet, publicKey: optional(text), createTime: time, keyName: text, keyFingerprint: text,
    })),
  },
  errors: ['KeyPairNotFound'],
  mutates: false,
  async run({ manager, caller }, p) {
    const keep = filterBy(p.Filter, keyFilters, (k) => k.tags);
    const keys = await named(p.KeyName, p.KeyPairId, (q) => manager.keys.list(caller, q));
    const tags = keys.length === 0 ? [] : await manager.tags.list(caller, { resourceIds: keys.map((k) => k.id) });
    const tagged = keys.map((k) => ({ ...k, tags: Object.fromEntries(tags.filter((t) => t.resourceId === k.id).map((t) => [t.key, t.value])) }));
    return {
      keySet: tagged.filter(keep).map((k) => ({
        keyPairId: k.id,
        keyType: k.type,
        tagSet: tagItems(k.tags),
        publicKey: p.IncludePublicKey === true ? k.publicKey : undefined,
        createTime: k.createdAt,
        keyName: k.name,
        keyFingerprint: k.fingerprint,
      })),
    };
  },
});

/** All, or those that either list names. */
async function named(names: readonly string[], ids: readonly string[], list: (query: { names?: readonly string[]; ids?: readonly string[] }) => Promise<KeyPairView[]>): Promise<KeyPairView[]> {
  if (names.length === 0 && ids.length === 0) return list({});
  const found = await Promise.all([names.length === 0 ? [] : list({ names }), ids.length === 0 ? [] : list({ ids })]);
  return [...new Map(found.flat().map((k) => [k.id, k])).values()];
}

export const deleteKeyPair = operation({
  name: 'DeleteKeyPair',
  summary: 'Forgets a key pair; one that does not exist is no fault.',
  input: { KeyName: keyName, KeyPairId: keyPairId },
  output: { return: boolean, keyPairId: optional(text) },
  errors: ['ParameterConflict'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    if (p.KeyName !== undefined && p.KeyPairId !== undefined) throw new Fault('ParameterConflict', 'KeyName and KeyPairId exclude each other.');
    const which = p.KeyName !== undefined ? { name: p.KeyName } : p.KeyPairId !== undefined ? { id: p.KeyPairId } : undefined;
    if (which === undefined) throw new Fault('ParameterMissing', 'The request must contain the parameter KeyName or KeyPairId');
    const removed = await manager.keys.remove(caller, which, { dryRun });
    return { return: true, keyPairId: removed?.id };
  },
});
