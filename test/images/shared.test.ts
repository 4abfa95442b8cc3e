/** A directory of images is one database's: it is marked once, and no other database takes it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { isTheRepository } from '../../src/images/shared.ts';
import { testContext } from '../support/context.ts';
import { lostByPowerCut } from '../support/power-cut.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';

const ctx = testContext();
let one: TestDatabase;
let other: TestDatabase;
let root: string;
beforeAll(async () => { [one, other] = [await openTestDatabase(), await openTestDatabase()]; });
afterAll(() => Promise.all([one.close(), other.close()]));
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'shared-')); });
afterEach(() => rmSync(root, { recursive: true, force: true }));

const whose = ({ db }: TestDatabase, directory: string, alone = true): Promise<string> => isTheRepository({ ctx, db }, join(root, directory), alone);
const mark = (directory: string): string => readFileSync(join(root, directory, '.repository'), 'utf8');

it('a new directory is marked, kept, and known again', async () => {
  expect(await lostByPowerCut(root, async () => expect(await whose(one, 'a')).toBe('own'))).toEqual([]);
  const made = mark('a');
  expect(made).toMatch(/^[0-9a-f]{32}$/);
  expect([await whose(one, 'a'), await whose(one, 'a', false)]).toEqual(['own', 'own']);
  // One without a mark is another one, unless nobody else can have the right one.
  expect(await whose(one, 'b', false)).toBe('other');
  expect(await whose(one, 'b')).toBe('own');
  expect(mark('b')).toBe(made);
});

it('another database’s is refused and left as it is: also by one that has none yet, or is alone', async () => {
  expect(await whose(one, 'a')).toBe('own');
  const made = mark('a');
  expect([await whose(other, 'a'), await whose(other, 'a', false)]).toEqual(['strange', 'strange']);
  expect(await whose(other, 'c')).toBe('own');
  expect([await whose(other, 'a'), await whose(other, 'a', false)]).toEqual(['strange', 'strange']);
  expect(mark('a')).toBe(made);
  // What the refusal says: without the mark it is taken.
  rmSync(join(root, 'a', '.repository'));
  expect(await whose(other, 'a')).toBe('own');
  expect(mark('a')).toBe(mark('c'));
  expect(await whose(one, 'a')).toBe('strange');
  writeFileSync(join(root, 'a', '.repository'), '');
  expect(await whose(one, 'a')).toBe('strange');
});
