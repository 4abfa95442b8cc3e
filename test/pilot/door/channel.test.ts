/** The agent's channel: an HTTP connection that becomes a stream of lines. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { CHANNEL_PATH, NOTIFY_PATH } from '../../../src/pilot/protocol.ts';
import { createPilotChannels, type PilotChannels } from '../../../src/control/client/pilot-channels.ts';
import { createInbox } from '../../../src/manager/slots/inbox.ts';
import { createPilotServer } from '../../../src/pilot/door/server.ts';
import { pilotSections } from '../../../src/platform/config-pilot.ts';
import { testContext } from '../../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';
import { converse, openSocket } from '../../support/raw-http.ts';
import { channelHead, notification, post, type ChannelAsk } from './client.ts';
import { addSlot, openDoor, type PilotDoor, type TestSlot } from './door.ts';

let database: TestDatabase;
let door: PilotDoor;
beforeAll(async () => { database = await openTestDatabase(); });
afterAll(async () => { await database.close(); });
beforeEach(async () => { door = await openDoor(database.db); });
afterEach(async () => { await door.close(); });

const ask = async (slot: TestSlot, options?: ChannelAsk): Promise<string> => (await converse(door.port, channelHead(slot, options)))[0]?.text ?? '';

async function readUntil(socket: Socket, end: string): Promise<string> {
  let text = '';
  while (!text.includes(end)) text += String((await once(socket, 'data') as [Buffer])[0]);
  return text;
}

it('is handed over with the bytes that came behind the request, under the node\'s first name', async () => {
  const slot = await addSlot(database.db);
  await post(door.port, slot, notification(slot, { host: 'n1.cluster' }));
  const socket = await openSocket(door.port);
  socket.write(`${channelHead(slot, { host: 'N1' })}{"program":"workspace-control"}\n`);
  expect(await readUntil(socket, '\r\n\r\n')).toBe('HTTP/1.1 101 Switching Protocols\r\nUpgrade: nimbus-control\r\nConnection: Upgrade\r\n\r\n');
  await expect.poll(() => door.offered.length, { interval: 5 }).toBe(1);
  const [{ key, stream }] = door.offered as [PilotDoor['offered'][number]];
  expect(key).toEqual({ slot: slot.id, host: 'n1.cluster', pilot: '0123456789abcdef' });
  expect(await readUntil(stream as Socket, '\n')).toBe('{"program":"workspace-control"}\n');
  stream.write('{"program":"nimbus"}\n');
  expect(await readUntil(socket, '\n')).toBe('{"program":"nimbus"}\n');
  socket.end();
  await once(stream, 'end');
});

it('reaches the one who waits for the node, through the real desk', async () => {
  const ctx = testContext();
  const slot = await addSlot(database.db);
  const channels: PilotChannels = createPilotChannels(ctx);
  const inbox = createInbox({ ctx, db: database.db, stored: () => undefined });
  const server = createPilotServer(ctx, { inbox, channels }, { ...pilotSections.pilot.parse(undefined), listen: '127.0.0.1:0' });
  const { port } = await server.listen();
  const socket = await openSocket(port);
  try {
    const link = channels.transport({ transport: 'pilot', slot: slot.id, host: 'n1', pilot: '0123456789abcdef' }).open(AbortSignal.timeout(10_000));
    socket.write(`${channelHead(slot)}hello\n`);
    await readUntil(socket, '\r\n\r\n');
    expect(await link).toBeDefined();
    expect(channels.unclaimed).toBe(0);
  } finally {
    socket.destroy();
    channels.close();
    await server.close();
  }
});

it('is refused to who does not know the secret, as a notification is, and the connection ends', async () => {
  const slot = await addSlot(database.db);
  const text = await ask({ ...slot, secret: 'x' });
  expect(text).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/);
  expect(text).toContain(`nonce="${slot.nonce}"`);
  expect(door.offered).toEqual([]);
});

it('takes no counter twice, whether a notification or a channel used it', async () => {
  const slot = await addSlot(database.db);
  await post(door.port, slot, notification(slot), { cnonce: 'c', nc: 3 });
  expect(await ask(slot, { cnonce: 'c', nc: 3 })).toMatch(/^HTTP\/1\.1 409 /);
  const socket = await openSocket(door.port);
  socket.write(channelHead(slot, { cnonce: 'c', nc: 4 }));
  await readUntil(socket, '\r\n\r\n');
  socket.destroy();
  expect((await post(door.port, slot, notification(slot), { cnonce: 'c', nc: 4 })).code).toBe('Replayed');
});

it.each<[string, number, (slot: TestSlot) => ChannelAsk]>([
  ['another pilot than the node\'s', 403, () => ({ pilot: 'ffffffffffffffff' })],
  ['a host beyond the slot\'s nodes', 403, () => ({ host: 'n2' })],
  ['a host that is none', 400, () => ({ host: 'n 1' })],
  ['a pilot that is none', 400, () => ({ pilot: 'pilot' })],
  ['a body', 400, () => ({ headers: { 'Content-Length': '5' } })],
])('is refused to %s', async (_, status, options) => {
  const slot = await addSlot(database.db);
  await post(door.port, slot, notification(slot));
  expect(await ask(slot, options(slot))).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(door.offered).toEqual([]);
  expect(door.ctx.lines.filter((l) => l.message === 'a pilot\'s request is refused')).toHaveLength(1);
});

it('is refused to an ended slot', async () => {
  const slot = await addSlot(database.db, { state: 'Ended' });
  expect(await ask(slot)).toMatch(/^HTTP\/1\.1 410 /);
});

it('is the only thing that is upgraded, and to the only protocol', async () => {
  const slot = await addSlot(database.db);
  const head = channelHead(slot);
  for (const other of [head.replace(CHANNEL_PATH, NOTIFY_PATH), head.replace('nimbus-control', 'websocket'), head.replace('GET', 'POST')]) {
    expect((await converse(door.port, other))[0]).toMatchObject({ status: 400 });
  }
});

it('ends with the door, answered or not', async () => {
  const slot = await addSlot(database.db);
  const socket = await openSocket(door.port);
  socket.write(channelHead(slot));
  await readUntil(socket, '\r\n\r\n');
  const closed = once(socket, 'close');
  await door.server.close();
  await closed;
});
