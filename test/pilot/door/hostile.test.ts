/** Requests that no pilot sends: too large, too slow, too many, cut off. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { MAX_BODY, NOTIFY_PATH } from '../../../src/pilot/protocol.ts';
import { testContext } from '../../support/context.ts';
import { realClock } from '../../../src/platform/real.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';
import { converse, openSocket, rawRequest } from '../../support/raw-http.ts';
import { authorization, message, notification, post, send } from './client.ts';
import { addSlot, messagesOf, openDoor, type PilotDoor, type TestSlot } from './door.ts';

let database: TestDatabase;
let door: PilotDoor;
beforeAll(async () => { database = await openTestDatabase(); });
afterAll(async () => { await database.close(); });
afterEach(async () => { await door.close(); });

const SHORT = { requestTimeout: 300, headersTimeout: 200, connectionsCheckingInterval: 50 };
const written = (slot: TestSlot, nc: number, headers: Record<string, string> = {}, body = JSON.stringify(notification(slot))): string =>
  rawRequest(`POST ${NOTIFY_PATH} HTTP/1.1`, { Host: 'x', Authorization: authorization(slot, body, { cnonce: 'c', nc }), ...headers }, body);
const stillWorks = async (): Promise<void> => {
  const slot = await addSlot(database.db);
  expect((await post(door.port, slot, notification(slot))).status).toBe(200);
};

it('too large a body is refused, and the connection ends', async () => {
  door = await openDoor(database.db);
  const slot = await addSlot(database.db);
  const reply = await post(door.port, slot, 'x'.repeat(MAX_BODY + 1));
  expect(reply).toMatchObject({ status: 413, code: 'TooLarge' });
  const largest = notification(slot, { messages: [message({ code: 1, text: 'x' })] });
  const body = JSON.stringify(largest);
  expect((await post(door.port, slot, body + ' '.repeat(MAX_BODY - body.length))).status).toBe(200);
  expect(await messagesOf(database.db, slot)).toHaveLength(1);
});

it('too large a head is refused', async () => {
  door = await openDoor(database.db);
  expect(await converse(door.port, rawRequest(`POST ${NOTIFY_PATH} HTTP/1.1`, { Host: 'x', X: 'y'.repeat(20_000) }, 'z'))).toMatchObject([{ status: 431 }]);
  await stillWorks();
});

it('a body that breaks off leaves nothing behind', async () => {
  door = await openDoor(database.db);
  const slot = await addSlot(database.db);
  const socket = await openSocket(door.port);
  const request = written(slot, 1);
  await new Promise((resolve) => socket.write(request.slice(0, -10), resolve));
  socket.destroy();
  await stillWorks();
  expect(await messagesOf(database.db, slot)).toEqual([]);
  expect((await post(door.port, slot, notification(slot), { cnonce: 'c', nc: 1 })).status).toBe(200);
});

it('heads and bodies that come a byte at a time, or not at all, are told 408', async () => {
  door = await openDoor(database.db, { limits: SHORT });
  const slot = await addSlot(database.db);
  const silent = ['POST /', rawRequest(`POST ${NOTIFY_PATH} HTTP/1.1`, { 'Host': 'x', 'Content-Length': '9' }, 'A'), written(slot, 1).slice(0, -1)];
  for (const begun of silent) expect(await converse(door.port, begun)).toMatchObject([{ status: 408 }]);
  expect(await messagesOf(database.db, slot)).toEqual([]);
});

it('slow ones do not keep others waiting', async () => {
  door = await openDoor(database.db);
  const slot = await addSlot(database.db);
  const slow = await Promise.all(Array.from({ length: 50 }, async () => {
    const socket = await openSocket(door.port);
    socket.write(written(slot, 1).slice(0, -1));
    return socket;
  }));
  await stillWorks();
  for (const socket of slow) socket.destroy();
});

it('pipelined requests are answered in order, each counter once', async () => {
  door = await openDoor(database.db);
  const slot = await addSlot(database.db);
  const all = [1, 2, 2, 3].map((nc) => written(slot, nc)).join('') + written(slot, 4, { Connection: 'close' });
  expect((await converse(door.port, all)).map((a) => a.status)).toEqual([200, 200, 409, 200, 200]);
  expect(await messagesOf(database.db, slot)).toHaveLength(4);
});

it('a request that another protocol follows on the same connection is not mixed with it', async () => {
  door = await openDoor(database.db);
  const slot = await addSlot(database.db);
  const answers = await converse(door.port, written(slot, 1) + rawRequest('GET /pilot_channel/v02/ HTTP/1.1', { Host: 'x', Connection: 'Upgrade', Upgrade: 'nimbus-control' }));
  expect(answers.filter((a) => a.status === 101)).toEqual([]);
  await stillWorks();
});

it.each([
  ['no HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400], ['two lengths', rawRequest(`POST ${NOTIFY_PATH} HTTP/1.1`, { 'Host': 'x', 'Content-Length': '1', 'Transfer-Encoding': 'chunked' }, '0\r\n\r\n'), 400],
  ['chunks that cannot be read', rawRequest(`POST ${NOTIFY_PATH} HTTP/1.1`, { 'Host': 'x', 'Transfer-Encoding': 'chunked' }, '-1\r\n\r\n'), 400],
  ['another path', rawRequest('POST /etc/passwd HTTP/1.1', { Host: 'x' }), 404], ['another method', rawRequest(`GET ${NOTIFY_PATH} HTTP/1.1`, { Host: 'x' }), 405],
])('%s is refused', async (_, bytes, status) => {
  door = await openDoor(database.db);
  expect((await converse(door.port, Buffer.from(bytes, 'latin1')))[0]).toMatchObject({ status });
  await stillWorks();
});

it('a flood is logged in a few lines and counted in all', async () => {
  let now = realClock.monotonic();
  door = await openDoor(database.db, { ctx: testContext({ clock: { ...realClock, monotonic: () => now } }) });
  const [slot, other] = [await addSlot(database.db), await addSlot(database.db)];
  const forged = { ...slot, secret: 'x' };
  for (let i = 0; i < 40; i += 1) await post(door.port, forged, notification(slot));
  await post(door.port, other, '{', { cnonce: 'c', nc: 1 });
  const lines = () => door.ctx.lines.filter((l) => l.level === 'warn').map((l) => l.fields);
  expect(lines()).toHaveLength(6);
  // A slot that proves itself has its own lines, whatever its neighbours do.
  expect(lines().at(-1)).toMatchObject({ slot: other.id, code: 'Malformed' });
  expect(door.server.refused).toMatchObject({ NotAuthenticated: 40, Malformed: 1 });
  now += 60_001;
  await post(door.port, forged, notification(slot));
  expect(lines().slice(6)).toMatchObject([{ count: 35 }, { slot: slot.id }]);
});

it('no secret, password or signature is ever logged', async () => {
  door = await openDoor(database.db);
  const slot = await addSlot(database.db);
  await post(door.port, slot, notification(slot));
  await post(door.port, { ...slot, secret: 'other-secret' }, notification(slot));
  await send(door.port, { method: 'POST', path: NOTIFY_PATH, headers: { Authorization: `Basic ${slot.secret}` } }, slot.secret);
  expect(door.ctx.lines.length).toBeGreaterThan(0);
  expect(JSON.stringify(door.ctx.lines)).not.toContain(slot.secret);
});
