/** The pilot and the service's real door, with a real database: each believes what the other says. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { PilotMessage } from '../../../src/pilot/protocol.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';
import { addSlot, changeSlot, messagesOf, openDoor, type PilotDoor, type TestSlot } from '../door/door.ts';
import { Node, bundlePilot } from './pilot.ts';
import type { Pilot, Sections } from './pilot.ts';

const scratch = mkdtempSync(join(tmpdir(), 'pilot-bundle-'));
const legacy = { legacy_account: 'pilotaccount', legacy_secret: 'a-secret-of-the-site' };
let program = '';
let database: TestDatabase;
let door: PilotDoor;
let node: Node;
beforeAll(async () => {
  program = await bundlePilot(scratch);
  database = await openTestDatabase();
});
afterAll(async () => {
  await database.close();
  rmSync(scratch, { recursive: true, force: true });
});
beforeEach(async () => {
  node = new Node(program);
  door = await openDoor(database.db, { config: legacy });
});
afterEach(async () => {
  await node.remove();
  await door.close();
});

const begin = (slot: TestSlot, whom: readonly string[], input?: string, config?: Sections): Pilot =>
  node.start(['-r', '-m', '64', '-d', '600', '-g', '20', '-i', slot.id, '-p', node.config(config), '-s', ...whom], input);
const credentials = (slot: TestSlot, channel: boolean): string => `${JSON.stringify({ slot: slot.id, contacts: [door.url], secret: slot.secret, nonce: slot.nonce, channel })}\n`;
const statesOf = async (slot: TestSlot): Promise<string[]> => (await messagesOf(database.db, slot)).map((m) => (m.body as PilotMessage).state);

it('every message is taken once, the channel is handed over, and the end is known', async () => {
  const slot = await addSlot(database.db);
  const pilot = begin(slot, ['--credentials', '-'], credentials(slot, true));
  await pilot.says('the channel to the service is open');
  await expect.poll(() => door.offered.length, { interval: 5, timeout: 60_000 }).toBe(1);
  expect(door.offered[0]?.key).toMatchObject({ slot: slot.id, host: 'node7' });
  pilot.signal('SIGTERM');
  expect(await pilot.ended).toBe(5);
  expect(await statesOf(slot)).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
});

it('a slot that is to be given back: the pilot hears of it in the answer', async () => {
  const slot = await addSlot(database.db);
  await changeSlot(database.db, slot, 'Releasing');
  const pilot = begin(slot, ['--credentials', '-'], credentials(slot, false));
  expect(await pilot.ended).toBe(0);
  expect(await statesOf(slot)).toEqual(['reserved', 'unreserving', 'restored']);
});

it('a slot that has ended: the node is given back at once', async () => {
  const slot = await addSlot(database.db, { state: 'Ended' });
  const pilot = begin(slot, ['--credentials', '-'], credentials(slot, false));
  expect(await pilot.ended).toBe(0);
  expect(await statesOf(slot)).toEqual([]);
  expect(node.left()).toEqual([]);
});

it('the original\'s form, with the site\'s account', async () => {
  const slot = await addSlot(database.db);
  const pilot = begin(slot, ['--contact', door.url], undefined, { http: { account: legacy.legacy_account, secret: legacy.legacy_secret } });
  await pilot.says('the service knows');
  pilot.signal('SIGTERM');
  expect(await pilot.ended).toBe(5);
  expect(await statesOf(slot)).toEqual(['reserved', 'early-unreserving', 'unreserving']);
});
