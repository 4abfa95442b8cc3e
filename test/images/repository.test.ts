import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { takeFile } from '../../src/images/intake.ts';
import { findImage } from '../../src/images/lookup.ts';
import { BUILTIN_NAME, createImageRepository, type ImageRepository, type Owner } from '../../src/images/repository.ts';
import { allImages } from '../../src/store/images.ts';
import { hasPart } from '../parts.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { lostByPowerCut } from '../support/power-cut.ts';
import { addAccount, addLease } from '../support/rows.ts';
import { onSmallDisk } from '../support/small-disk.ts';

let t: TestDatabase;
let work: string;
let directory: string;
let repository: ImageRepository;
let alice: Owner;
let bob: Owner;
let users = 0;
beforeAll(async () => {
  t = await openTestDatabase();
});
beforeEach(async () => {
  work = mkdtempSync(join(tmpdir(), 'images of '));
  directory = join(work, 'repository');
  repository = createImageRepository({ ctx: testContext(), db: t.db, directory });
  const owner = async (name: string): Promise<Owner> => ({ name, id: await addAccount(t.db, name) });
  alice = await owner(`alice-${(users += 1)}`);
  bob = await owner(`bob-${users}`);
});
afterEach(() => rmSync(work, { recursive: true, force: true }));
afterAll(() => t.close());

const fileOf = (bytes: Buffer): string => {
  const file = join(work, `file-${randomBytes(4).toString('hex')}`);
  writeFileSync(file, bytes);
  return file;
};
const filesIn = (folder: string): string[] => (existsSync(join(directory, folder)) ? readdirSync(join(directory, folder)) : []);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const add = (name: string, owner: Owner | null, bytes: Buffer) => repository.add({ name, owner, file: fileOf(bytes), description: '' });
const bytesOf = async (id: string): Promise<Buffer> => {
  const image = await findImage(t.db, alice.id, id);
  const chunks: Buffer[] = [];
  for await (const chunk of repository.open({ id: image.id, sha256: image.sha256, format: image.format, sizeBytes: image.size_bytes })) chunks.push(chunk);
  return Buffer.concat(chunks);
};

describe('add', () => {
  test('what the table knows is on disk, in directories that are', async () => {
    const file = fileOf(randomBytes(1024));
    expect(await lostByPowerCut(work, async () => {
      await repository.tidy();
      await repository.add({ name: 'lasting', owner: alice, file, description: '' });
    })).toEqual([]);
  });

  test('a raw image lies in its owner’s directory, readable by nobody else, with its digest in the table', async () => {
    const bytes = randomBytes(700_416);
    const image = await add('disk', alice, bytes);
    expect(image).toMatchObject({ name: 'disk', owner: alice.name, format: 'raw', size_bytes: 700_416, sha256: sha256(bytes), file: join(alice.name, `${image.id}.raw`) });
    expect(readFileSync(repository.path(image.file)).equals(bytes)).toBe(true);
    expect(statSync(repository.path(image.file)).mode & 0o777).toBe(0o600);
    expect((await bytesOf(image.id)).equals(bytes)).toBe(true);
  });

  test('gzip is undone; the digest is of what is stored', async () => {
    const bytes = Buffer.concat([Buffer.alloc(300_032, 1), randomBytes(1024)]);
    const image = await add('packed', alice, Buffer.concat([gzipSync(bytes.subarray(0, 1000)), gzipSync(bytes.subarray(1000))]));
    expect(image).toMatchObject({ format: 'raw', size_bytes: bytes.length, sha256: sha256(bytes) });
    expect((await bytesOf(image.id)).equals(bytes)).toBe(true);
  });

  test('common images are for the group too', async () => {
    const image = await add(`shared-${users}`, null, Buffer.alloc(512));
    expect(image).toMatchObject({ owner: null, file: join('common', `${image.id}.raw`) });
    expect(statSync(repository.path(image.file)).mode & 0o777).toBe(0o640);
  });

  test('a packed qcow2 with a backing file is refused, and nothing stays', async () => {
    const head = Buffer.alloc(65536);
    head.write('QFI\xfb\0\0\0\x03\0\0\0\0\0\0\x01\0\0\0\0\x0b', 'latin1');
    await expect(add('spy', alice, gzipSync(head))).rejects.toMatchObject({ code: 'ParameterInvalid', reasons: [expect.stringContaining('backing file')] });
    expect(filesIn(alice.name)).toEqual([]);
  });

  test.each([
    ['cut gzip', gzipSync(randomBytes(5000)).subarray(0, 3000), 'damaged or cut'], ['an empty file', Buffer.alloc(0), 'empty'], ['a text', Buffer.from('#!/bin/sh\n'), 'no disk image: 10 bytes'],
    ['a gzip of nothing', gzipSync(Buffer.alloc(0)), 'empty'],
  ])('%s is refused, and nothing stays', async (_, bytes, why) => {
    await expect(add('bad', alice, bytes)).rejects.toMatchObject({ reasons: [expect.stringContaining(why)] });
    expect(filesIn(alice.name)).toEqual([]);
  });

  test('what is no file, or cannot be read, is refused at once', async () => {
    const fifo = join(work, 'fifo');
    spawnSync('mkfifo', [fifo]);
    for (const file of [join(work, 'absent'), work, fifo, '/dev/zero']) {
      await expect(repository.add({ name: 'x', owner: alice, file, description: '' })).rejects.toMatchObject({ code: 'ParameterInvalid' });
    }
  });

  test.each(['', '../x', 'a/b', 'a..b', '.x', 'x\0', 'x'.repeat(65), 'ami-12345678', 'ami-name'])('the name %j is refused', async (name) => {
    await expect(add(name, alice, Buffer.alloc(512))).rejects.toMatchObject({ code: 'ParameterInvalid' });
  });

  test('a name is taken once per owner, also at the same moment; the loser’s file goes', async () => {
    const both = await Promise.allSettled([add('same', alice, Buffer.alloc(512)), add('same', alice, Buffer.alloc(512))]);
    expect(both.map((r) => r.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(filesIn(alice.name)).toHaveLength(1);
    await add('same', bob, Buffer.alloc(512));
  });

  test('an image that swells beyond the limit is stopped there', async () => {
    const draft = join(work, 'draft');
    const bomb = fileOf(gzipSync(Buffer.alloc(5_000_000)));
    await expect(takeFile(bomb, { draft, mode: 0o600, dirMode: 0o700 }, 1_000_000)).rejects.toMatchObject({ reasons: [expect.stringContaining('more than 1000000 bytes')] });
    expect(existsSync(draft)).toBe(false);
  });

  test.skipIf(!hasPart('mounts'))('a full disk is said to be full, and the space is given back', async () => {
    const small = join(work, 'small');
    await onSmallDisk(small, '128k', async () => {
      const full = createImageRepository({ ctx: testContext(), db: t.db, directory: small });
      await expect(full.add({ name: 'big', owner: alice, file: fileOf(randomBytes(1_000_000)), description: '' })).rejects.toMatchObject({ code: 'RepositoryFull', message: 'The image repository has no space left' });
      await full.add({ name: 'little', owner: alice, file: fileOf(randomBytes(61_440)), description: '' });
    });
  });
});

describe('lookup', () => {
  test('by id or name, the caller’s own first, then common, never another’s', async () => {
    const [common, own] = [await add(`both-${users}`, null, Buffer.alloc(512)), await add(`both-${users}`, alice, Buffer.alloc(512, 1))];
    expect((await findImage(t.db, alice.id, `both-${users}`)).id).toBe(own.id);
    expect((await findImage(t.db, bob.id, `both-${users}`)).id).toBe(common.id);
    expect((await findImage(t.db, alice.id, own.id)).id).toBe(own.id);
    expect((await findImage(t.db, alice.id, common.id)).id).toBe(common.id);
    await expect(findImage(t.db, bob.id, own.id)).rejects.toMatchObject({ code: 'ImageNotFound', message: `The image id '[${own.id}]' does not exist` });
    await expect(findImage(t.db, bob.id, 'nothing')).rejects.toMatchObject({ code: 'ImageNotFound' });
  });

  test.each(['ami-xyz', 'ami-', '../../etc/passwd', '/etc/passwd', '', 'x\0', 'a b'])('%j is malformed', async (text) => {
    await expect(findImage(t.db, alice.id, text)).rejects.toMatchObject({ ec2: 'InvalidAMIID.Malformed' });
  });
});

describe('remove', () => {
  test('takes row and file; the name is free again', async () => {
    const image = await add('gone', alice, Buffer.alloc(512));
    expect((await repository.remove({ name: 'gone', owner: alice.name })).id).toBe(image.id);
    expect(filesIn(alice.name)).toEqual([]);
    await expect(findImage(t.db, alice.id, image.id)).rejects.toMatchObject({ code: 'ImageNotFound' });
    await expect(repository.remove({ id: image.id })).rejects.toMatchObject({ code: 'ImageNotFound' });
    await add('gone', alice, Buffer.alloc(512));
  });

  test('is refused while live leases use it, and names them', async () => {
    const image = await add('used', alice, Buffer.alloc(512));
    await addLease(t.db, { accountId: alice.id, imageId: image.id, ended: true });
    const lease = await addLease(t.db, { accountId: alice.id, imageId: image.id });
    await expect(repository.remove({ id: image.id })).rejects.toMatchObject({ code: 'ImageInUse', reasons: [`lease ${lease} uses it`] });
    expect((await bytesOf(image.id)).length).toBe(512);
  });
});

describe('the built-in guest', () => {
  const builtin = async () => (await t.db.query(allImages)).find((i) => i.owner === null && i.name === BUILTIN_NAME);
  const [first, second] = [Buffer.alloc(2048, 1), Buffer.alloc(2048, 2)];

  test('is put once, replaced when its bytes change, and stays removed when an administrator removed it', async () => {
    await repository.ensureBuiltin(first);
    const one = await builtin();
    expect(one).toMatchObject({ format: 'raw', sha256: sha256(first) });
    await repository.ensureBuiltin(first);
    expect(await builtin()).toEqual(one);

    const lease = await addLease(t.db, { accountId: alice.id, imageId: one!.id });
    await repository.ensureBuiltin(second);
    const two = await builtin();
    expect(two).toMatchObject({ sha256: sha256(second) });
    await repository.tidy();
    // The lease may still have to fetch the old one.
    expect((await bytesOf(two!.id)).equals(second)).toBe(true);
    expect(readFileSync(repository.path(one!.file)).equals(first), lease).toBe(true);

    rmSync(repository.path(two!.file));
    await repository.ensureBuiltin(second);
    const three = await builtin();
    expect(readFileSync(repository.path(three!.file)).equals(second)).toBe(true);

    await repository.remove({ id: three!.id });
    await repository.ensureBuiltin(second);
    expect(await builtin()).toBeUndefined();

    const own = await add(BUILTIN_NAME, null, Buffer.alloc(512));
    await repository.ensureBuiltin(second);
    expect((await builtin())?.id).toBe(own.id);
  });
});

test('tidy removes what interrupted additions left and nothing else', async () => {
  const image = await add('kept', alice, Buffer.alloc(512));
  mkdirSync(join(directory, 'common'), { recursive: true });
  writeFileSync(join(directory, 'common', '.incoming-ami-1'), '');
  writeFileSync(join(directory, alice.name, '.incoming-ami-2'), '');
  writeFileSync(join(directory, alice.name, 'notes of the administrator'), '');
  await repository.tidy();
  expect(filesIn('common')).toEqual([]);
  expect(filesIn(alice.name).sort()).toEqual([`${image.id}.raw`, 'notes of the administrator'].sort());
});
