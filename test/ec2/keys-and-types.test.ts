/** Key pairs and what the site offers, through the door, on a whole site: each action's success and each of its own errors. */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { statement } from '../../src/store/db.ts';
import { BOB } from './door.ts';
import { all, first, openSiteDoor, type SiteDoor } from './site-door.ts';

let door: SiteDoor;
beforeAll(async () => {
  door = await openSiteDoor({ nodes: [{ name: 'n1', memoryMb: 1024, cores: 4, zone: 'east' }, { name: 'n2', memoryMb: 1024, cores: 4, zone: 'west' }], config: { types: { 'm1.small': { memory_mb: 128, cores: 1 }, 'm1.large': { memory_mb: 512, cores: 2, disk_mb: 2048 } } } });
});
afterAll(() => door?.close());

const ask = (action: string, more: Readonly<Record<string, string>> = {}, who?: typeof BOB) => door.ask({ Action: action, ...more }, who);
const unescaped = (xml: string): string => xml.replaceAll('&#10;', '\n').replaceAll('&#13;', '\r');

describe('key pairs', () => {
  it.each(['rsa', 'ed25519'] as const)('a pair of type %s is made, and its private half comes once', async (type) => {
    const made = await ask('CreateKeyPair', { 'KeyName': `made-${type}`, 'KeyType': type, 'TagSpecification.1.ResourceType': 'key-pair', 'TagSpecification.1.Tag.1.Key': 'a', 'TagSpecification.1.Tag.1.Value': 'b' });
    const id = first(made, 'keyPairId');
    expect([id, unescaped(first(made, 'keyMaterial'))]).toEqual([expect.stringMatching(/^key-[0-9a-f]{17}$/), expect.stringMatching(/^-----BEGIN [A-Z ]*PRIVATE KEY-----\n/)]);
    if (type === 'rsa') expect(createPublicKey(createPrivateKey(unescaped(first(made, 'keyMaterial')))).asymmetricKeyType).toBe('rsa');
    const plain = await ask('DescribeKeyPairs', { 'KeyPairId.1': id });
    expect([first(plain, 'keyName'), first(plain, 'keyType'), first(plain, 'keyFingerprint'), all(plain, 'publicKey')]).toEqual([`made-${type}`, type, first(made, 'keyFingerprint'), []]);
    const shown = await ask('DescribeKeyPairs', { 'KeyName.1': `made-${type}`, 'IncludePublicKey': 'true' });
    expect(first(shown, 'publicKey')).toMatch(type === 'rsa' ? /^ssh-rsa AAAA/ : /^ssh-ed25519 AAAA/);
    expect(first(shown, 'createTime')).toMatch(/Z$/);
    expect((await ask('CreateKeyPair', { KeyName: `made-${type}` })).code).toBe('InvalidKeyPair.Duplicate');
    for (const [name, value] of [['key-pair-id', id], ['key-name', `made-${type}`], ['fingerprint', first(made, 'keyFingerprint')], ['tag:a', 'b']] as const) {
      expect(all(await ask('DescribeKeyPairs', { 'Filter.1.Name': name, 'Filter.1.Value.1': value, 'Filter.2.Name': 'key-name', 'Filter.2.Value.1': `*${type}` }), 'keyPairId'), name).toEqual([id]);
    }
    expect((await ask('DescribeKeyPairs', { 'KeyPairId.1': id }, BOB)).code).toBe('InvalidKeyPair.NotFound');
  });

  it('one is imported in its usual forms, and removed by name or by id', async () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const material = Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })).toString('base64');
    const ids: string[] = [];
    for (const name of ['by-name', 'by-id']) {
      const made = await ask('ImportKeyPair', { KeyName: name, PublicKeyMaterial: material });
      expect([first(made, 'keyName'), first(made, 'keyFingerprint')]).toEqual([name, expect.stringMatching(/./)]);
      ids.push(first(made, 'keyPairId'));
    }
    expect((await ask('ImportKeyPair', { KeyName: 'by-id', PublicKeyMaterial: material })).code).toBe('InvalidKeyPair.Duplicate');
    expect((await ask('ImportKeyPair', { KeyName: 'bad', PublicKeyMaterial: Buffer.from('no key').toString('base64') })).code).toBe('InvalidKey.Format');
    expect((await ask('ImportKeyPair', { KeyName: 'bad', PublicKeyMaterial: '*' })).code).toBe('InvalidKey.Format');
    expect((await ask('DeleteKeyPair', { KeyName: 'by-name', KeyPairId: ids[0] ?? '' })).code).toBe('InvalidParameterCombination');
    expect((await ask('DeleteKeyPair')).code).toBe('MissingParameter');
    expect((await ask('DeleteKeyPair', { KeyName: 'by-name', DryRun: 'true' })).code).toBe('DryRunOperation');
    expect(first(await ask('DeleteKeyPair', { KeyName: 'by-name' }), 'keyPairId')).toBe(ids[0]);
    expect(first(await ask('DeleteKeyPair', { KeyPairId: ids[1] ?? '' }, BOB), 'return')).toBe('true');
    expect(all(await ask('DescribeKeyPairs', { 'KeyPairId.1': ids[1] ?? '' }), 'keyName')).toEqual(['by-id']);
    expect(first(await ask('DeleteKeyPair', { KeyPairId: ids[1] ?? '' }), 'keyPairId')).toBe(ids[1]);
    for (const gone of [{ 'KeyPairId.1': ids[1] ?? '' }, { 'KeyName.1': 'by-name' }]) expect((await ask('DescribeKeyPairs', gone)).code).toBe('InvalidKeyPair.NotFound');
    expect(first(await ask('DeleteKeyPair', { KeyName: 'never-was' }), 'return')).toBe('true');
  });

  it('what cannot be had is refused, and there is a limit', async () => {
    expect((await ask('CreateKeyPair', { KeyName: 'x', KeyFormat: 'ppk' })).code).toBe('UnsupportedOperation');
    expect((await ask('CreateKeyPair', { KeyName: 'x', KeyType: 'dsa' })).code).toBe('InvalidParameterValue');
    for (const action of ['CreateKeyPair', 'ImportKeyPair']) {
      const tagged = { 'KeyName': 'x', 'PublicKeyMaterial': 'AAAA', 'TagSpecification.1.ResourceType': 'key-pair', 'TagSpecification.1.Tag.1.Key': 'aws:own', 'TagSpecification.1.Tag.1.Value': '' };
      expect((await ask(action, action === 'CreateKeyPair' ? { ...tagged, PublicKeyMaterial: '' } : tagged)).code, action).toMatch(/InvalidParameterValue|UnknownParameter/);
    }
    expect((await ask('CreateKeyPair', { KeyName: 'x', DryRun: 'true' })).code).toBe('DryRunOperation');
    await door.site.db.query(statement('test-keys', `INSERT INTO key_pair (account_id, name, id, type, public_key, fingerprint, created_at)
      SELECT $1, 'many' || n, 'key-' || lpad(to_hex(n), 17, '0'), 'rsa', '', '', now() FROM generate_series(1, 1000) n`), [door.site.bob.accountId]);
    const { publicKey } = generateKeyPairSync('ed25519');
    expect((await ask('CreateKeyPair', { KeyName: 'one-more', KeyType: 'ed25519' }, BOB)).code).toBe('KeyPairLimitExceeded');
    expect((await ask('ImportKeyPair', { KeyName: 'one-more', PublicKeyMaterial: Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })).toString('base64') }, BOB)).code).toBe('KeyPairLimitExceeded');
  });
});

describe('what the site offers', () => {
  it('types with their figures', async () => {
    const shown = await ask('DescribeInstanceTypes', { 'InstanceType.1': 'm1.large' });
    expect([first(shown, 'defaultVCpus'), first(shown, 'sizeInMiB'), first(shown, 'totalSizeInGB'), first(shown, 'burstablePerformanceSupported'), first(shown, 'ebsOptimizedSupport')]).toEqual(['2', '512', '2', 'false', 'unsupported']);
    expect(all(await ask('DescribeInstanceTypes', { 'Filter.1.Name': 'ebs-info.nvme-support', 'Filter.1.Value.1': 'required' }), 'instanceType')).toEqual([]);
    expect(all(await ask('DescribeInstanceTypes', { 'Filter.1.Name': 'supported-boot-mode', 'Filter.1.Value.1': 'legacy-*' }), 'instanceType')).toEqual(['m1.large', 'm1.small']);
    expect((await ask('DescribeInstanceTypes', { 'InstanceType.1': 'm9.none' })).code).toBe('InvalidInstanceType');
    expect((await ask('DescribeInstanceTypes', { NextToken: 'x' })).code).toBe('InvalidNextToken');
  });

  it('offers them in the region, and in each zone, a page at a time', async () => {
    const region = await ask('DescribeInstanceTypeOfferings');
    expect([all(region, 'instanceType'), [...new Set(all(region, 'locationType'))], [...new Set(all(region, 'location'))]]).toEqual([['m1.large', 'm1.small'], ['region'], ['nimbus']]);
    const seen: string[] = [];
    for (let token = '', pages = 0; pages === 0 || token !== ''; pages += 1) {
      const page = await ask('DescribeInstanceTypeOfferings', { LocationType: 'availability-zone', MaxResults: '3', ...(token === '' ? {} : { NextToken: token }) });
      seen.push(...all(page, 'location').map((l, i) => `${l} ${all(page, 'instanceType')[i] ?? ''}`));
      token = first(page, 'nextToken');
    }
    expect(seen).toEqual(['east m1.large', 'east m1.small', 'west m1.large', 'west m1.small']);
    const narrowed = await ask('DescribeInstanceTypeOfferings', { 'LocationType': 'availability-zone-id', 'Filter.1.Name': 'location', 'Filter.1.Value.1': 'e*', 'Filter.2.Name': 'instance-type', 'Filter.2.Value.1': '*small' });
    expect(all(narrowed, 'instanceType')).toEqual(['m1.small']);
    expect((await ask('DescribeInstanceTypeOfferings', { LocationType: 'outpost' })).body).toContain('<instanceTypeOfferingSet/>');
    expect((await ask('DescribeInstanceTypeOfferings', { LocationType: 'moon' })).code).toBe('InvalidParameterValue');
    expect((await ask('DescribeInstanceTypeOfferings', { NextToken: 'x' })).code).toBe('InvalidNextToken');
  });

  it('no credits', async () => {
    const id = await door.run();
    expect((await ask('DescribeInstanceCreditSpecifications', { 'InstanceId.1': id })).body).toContain('<instanceCreditSpecificationSet/>');
    expect((await ask('DescribeInstanceCreditSpecifications', { 'InstanceId.1': 'i-x' })).code).toBe('InvalidInstanceID.Malformed');
    expect((await ask('DescribeInstanceCreditSpecifications', { 'InstanceId.1': 'i-00000000' })).code).toBe('InvalidInstanceID.NotFound');
    expect((await ask('DescribeInstanceCreditSpecifications', { 'Filter.1.Name': 'colour', 'Filter.1.Value.1': 'red' })).code).toBe('InvalidParameterValue');
  });

  it('ids of both lengths are ids everywhere', async () => {
    for (const [action, name, code] of [['DescribeInstances', 'InstanceId.1', 'InvalidInstanceID.NotFound'], ['StopInstances', 'InstanceId.1', 'InvalidInstanceID.NotFound'], ['DescribeImages', 'ImageId.1', 'InvalidAMIID.NotFound'], ['DeregisterImage', 'ImageId', 'InvalidAMIID.NotFound'], ['DescribeKeyPairs', 'KeyPairId.1', 'InvalidKeyPair.NotFound']] as const) {
      const prefix = { InstanceId: 'i-', ImageId: 'ami-', KeyPairId: 'key-' }[name.split('.')[0] ?? ''] ?? '';
      for (const digits of ['0abc1234', '0abc123400000000f']) expect((await ask(action, { [name]: prefix + digits })).code, `${action} ${digits}`).toBe(code);
      expect((await ask(action, { [name]: `${prefix}0abc12345` })).code, action).not.toBe(code);
    }
  });
});
