/** Notifications over a real socket into a real database: what is stored, what is acknowledged, what is refused. */
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { realClock } from '../../../src/platform/real.ts';
import { NOTIFY_PATH, type NotificationAnswer } from '../../../src/pilot/protocol.ts';
import { testContext } from '../../support/context.ts';
import { failingDb, type FailingDb } from '../../support/failing-db.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';
import { authorization, message, newPilotId, notification, post, send, type Reply } from './client.ts';
import { addSlot, bindNode, changeHosts, changeSlot, messagesOf, nodesOf, openDoor, type PilotDoor, type TestSlot } from './door.ts';

let database: TestDatabase;
let db: FailingDb;
let door: PilotDoor;
beforeAll(async () => { database = await openTestDatabase(); });
afterAll(async () => { await database.close(); });
beforeEach(async () => {
  db = failingDb(database.db);
  door = await openDoor(db);
});
afterEach(async () => { await door.close(); });

const answerOf = (reply: Reply): NotificationAnswer => JSON.parse(reply.text) as NotificationAnswer;
const ids = async (slot: TestSlot): Promise<string[]> => (await messagesOf(database.db, slot)).map((m) => m.id);
const refusalLines = () => door.ctx.lines.filter((l) => l.message === 'a pilot\'s request is refused').map((l) => l.fields);

describe('a notification', () => {
  it('is stored, then acknowledged with its ids', async () => {
    const slot = await addSlot(db);
    const n = notification(slot, { part: 2, messages: [message({ state: 'reserved', text: 'a\0b', stamps: { 'pilot-start': Date.now() - 500 }, reserved: { memoryMb: 512, until: Date.now() + 3_600_000, version: '0.1.0' } }), message()] });
    const reply = await post(door.port, slot, n);
    expect(reply.status).toBe(200);
    expect(answerOf(reply)).toMatchObject({ ack: n.messages.map((m) => m.id), do: 'stay' });
    const [first, second] = await messagesOf(database.db, slot);
    expect(first).toMatchObject({ id: n.messages[0]?.id, host: 'n1', pilot: n.pilot, part: 2, seq: n.messages[0]?.seq, body: { state: 'reserved', text: 'a\ufffdb', reserved: { memoryMb: 512, version: '0.1.0' } } });
    expect(second?.id).toBe(n.messages[1]?.id);
    expect(door.stored).toEqual([[slot.id]]);
  });

  it.each(['at once', 'after the service was started again'])('P10: sent again after a lost answer, %s, it is acknowledged again and stored once', async (when) => {
    const slot = await addSlot(db);
    const n = notification(slot);
    db.losesCommit = () => true;
    expect(await post(door.port, slot, n, { cnonce: 'c', nc: 1 })).toMatchObject({ status: 503, code: 'Unavailable' });
    db.losesCommit = () => false;
    if (when !== 'at once') {
      await door.close();
      door = await openDoor(db);
    }
    const again = await post(door.port, slot, { ...n, sentAt: Date.now() }, { cnonce: 'c', nc: 2 });
    expect(again.status).toBe(200);
    expect(answerOf(again).ack).toEqual([n.messages[0]?.id]);
    expect(await ids(slot)).toEqual([n.messages[0]?.id]);
    // Nothing new came with it: the commit whose answer was lost is the only one that stored.
    expect(door.stored).toEqual([]);
  });

  it('doubled and out of order, every message is there once', async () => {
    const slot = await addSlot(db);
    const [a, b, c] = [message(), message(), message()];
    const replies = [];
    for (const messages of [[b, c], [a], [a, b], [c]]) replies.push(await post(door.port, slot, notification(slot, { messages })));
    expect(replies.map((r) => r.status)).toEqual([200, 200, 200, 200]);
    expect((await ids(slot)).sort()).toEqual([a.id, b.id, c.id].sort());
    expect(door.stored).toEqual([[slot.id], [slot.id]]);
  });

  it('P9: of a slot whose job id is not written yet, it is taken', async () => {
    const slot = await addSlot(db, { state: 'Submitting' });
    expect((await post(door.port, slot, notification(slot))).status).toBe(200);
    expect(await ids(slot)).toHaveLength(1);
  });

  it('P13: that came while the database was away is refused with "again", and taken when it is back', async () => {
    const slot = await addSlot(db);
    await post(door.port, slot, notification(slot), { cnonce: 'c', nc: 1 });
    const n = notification(slot);
    db.fails = () => true;
    const away = await post(door.port, slot, n, { cnonce: 'c', nc: 2 });
    expect(away).toMatchObject({ status: 503, code: 'Unavailable', headers: { 'retry-after': '1' } });
    db.fails = () => false;
    expect((await post(door.port, slot, n, { cnonce: 'c', nc: 3 })).status).toBe(200);
    expect(await ids(slot)).toContain(n.messages[0]?.id);
  });

  it('of many pilots at once costs a few commits', async () => {
    const slot = await addSlot(db, { nodes: 100 });
    const before = db.count;
    const replies = await Promise.all(Array.from({ length: 100 }, (_, i) => post(door.port, slot, notification(slot, { host: `n${i}`, pilot: newPilotId() }))));
    expect(replies.map((r) => r.status)).toEqual(Array.from({ length: 100 }, () => 200));
    expect(await ids(slot)).toHaveLength(100);
    expect(db.count - before).toBeLessThan(200);
  });

  it('that only says "alive" is not stored, and refreshes its node', async () => {
    const slot = await addSlot(db);
    await bindNode(db, slot, 0, 'n1', '0123456789abcdef');
    const begun = Date.now();
    expect((await post(door.port, slot, notification(slot, { messages: [message({ state: 'alive' })] }))).status).toBe(200);
    expect(await ids(slot)).toEqual([]);
    expect(door.stored).toEqual([]);
    expect((await nodesOf(db, slot))[0]?.last_heard).toBeGreaterThanOrEqual(begun - 1);
  });

  it('of a dry run changes nothing, and keeps no place', async () => {
    const slot = await addSlot(db);
    expect((await post(door.port, slot, notification(slot, { host: 'elsewhere', messages: [message({ state: 'test' })] }))).status).toBe(200);
    expect(await ids(slot)).toEqual([]);
    expect((await post(door.port, slot, notification(slot, { host: 'n1' }))).status).toBe(200);
  });
});

it('HTTPS is the same, with the certificate of the configuration', async () => {
  const [tls_certificate, tls_key] = ['cert.pem', 'key.pem'].map((f) => join(import.meta.dirname, '../../fixtures/ec2-tls', f)) as [string, string];
  const secure = await openDoor(db, { config: { tls_certificate, tls_key } });
  try {
    expect(secure.url).toMatch(/^https:/);
    const slot = await addSlot(db);
    const body = JSON.stringify(notification(slot));
    const status = await new Promise((resolve, reject) => {
      const req = request(`${secure.url}${NOTIFY_PATH}`, { method: 'POST', agent: false, ca: readFileSync(tls_certificate), checkServerIdentity: () => undefined, headers: { Authorization: authorization(slot, body) } }, (res) => {
        res.resume();
        resolve(res.statusCode);
      });
      req.on('error', reject);
      req.end(body);
    });
    expect(status).toBe(200);
    expect(await ids(slot)).toHaveLength(1);
  } finally {
    await secure.close();
  }
});

describe('what a pilot is told', () => {
  it('is to go when its slot is released', async () => {
    const slot = await addSlot(db, { state: 'Releasing' });
    expect(answerOf(await post(door.port, slot, notification(slot))).do).toBe('release');
  });

  it.each(['Returning', 'Returned', 'Failed', 'Lost'])('is to go when its own node is %s, and others stay', async (state) => {
    const slot = await addSlot(db, { nodes: 2, state: 'Ready' });
    await bindNode(db, slot, 0, 'n1', 'aaaaaaaaaaaaaaaa', state);
    await bindNode(db, slot, 1, 'n2', 'bbbbbbbbbbbbbbbb');
    expect(answerOf(await post(door.port, slot, notification(slot, { host: 'n1', pilot: 'aaaaaaaaaaaaaaaa' }))).do).toBe('release');
    expect(answerOf(await post(door.port, slot, notification(slot, { host: 'n2', pilot: 'bbbbbbbbbbbbbbbb' }))).do).toBe('stay');
  });
});

describe('clocks', () => {
  it('a moment is stored on the service\'s clock, however wrong the pilot\'s is', async () => {
    const slot = await addSlot(db);
    for (const wrong of [-86_400_000, 0, 86_400_000]) {
      const sentAt = Date.now() + wrong;
      const m = message({ at: sentAt - 2_000 });
      await post(door.port, slot, notification(slot, { sentAt, messages: [m] }));
      const row = (await messagesOf(database.db, slot)).find((r) => r.id === m.id);
      expect(row!.received_at - row!.at).toBe(2_000);
      expect(row?.body.at).toBe(m.at);
      // The offset is too small by the request's way, and never too great.
      expect(row?.clock_offset_ms).toBeLessThanOrEqual(wrong);
    }
  });

  it('nothing happened before the slot or after the message had arrived', async () => {
    const slot = await addSlot(db, { createdAt: Date.now() - 10_000 });
    const sentAt = Date.now();
    const [old, future] = [message({ at: 0, stamps: { 'pilot-start': 1 } }), message({ at: sentAt + 1_000_000 })];
    await post(door.port, slot, notification(slot, { sentAt, messages: [old, future] }));
    const rows = new Map((await messagesOf(database.db, slot)).map((r) => [r.id, r]));
    const [first, last] = [rows.get(old.id)!, rows.get(future.id)!];
    expect(first.received_at - first.at).toBeLessThan(20_000);
    expect(first.body.stamps?.['pilot-start']).toBe(first.body.at);
    expect(last.at).toBe(last.received_at);
    expect(last.body.at).toBe(sentAt);
  });

  it('the offset of a node is the one of the request that was quickest', async () => {
    await door.close();
    // Its clock stands still: no request takes longer than is said here.
    const arrival = Date.now();
    door = await openDoor(db, { ctx: testContext({ clock: { ...realClock, now: () => arrival } }) });
    const slot = await addSlot(db);
    await bindNode(db, slot, 0, 'n1', '0123456789abcdef');
    const offsets = [];
    for (const delay of [900, 5, 300]) {
      await post(door.port, slot, notification(slot, { sentAt: arrival + 60_000 - delay, messages: [message({ state: 'alive' })] }));
      offsets.push((await nodesOf(db, slot))[0]!.clock_offset_ms);
    }
    expect(offsets).toEqual([60_000 - 900, 60_000 - 5, 60_000 - 5]);
  });
});

describe('refused, with nothing changed and a line that names the slot', () => {
  const nothingChanged = async (slot: TestSlot): Promise<void> => { expect(await ids(slot)).toEqual([]); };

  it('unauthenticated: the challenge has the slot\'s nonce, with which the next request is taken', async () => {
    const slot = await addSlot(db);
    const body = JSON.stringify(notification(slot));
    const first = await send(door.port, { method: 'POST', path: NOTIFY_PATH, headers: { Authorization: authorization(slot, body, { nonce: 'x' }) } }, body);
    expect(first).toMatchObject({ status: 401, code: 'NotAuthenticated' });
    expect(first.headers['www-authenticate']).toBe(`Digest realm="nimbus-pilot", qop="auth-int", algorithm=SHA-256, nonce="${slot.nonce}", stale=true`);
    await nothingChanged(slot);
    expect((await post(door.port, slot, body)).status).toBe(200);
  });

  it('without credentials: a challenge, and no line, as it is how most clients begin', async () => {
    const reply = await send(door.port, { method: 'POST', path: NOTIFY_PATH }, '{}');
    expect(reply.status).toBe(401);
    expect(reply.headers['www-authenticate']).toMatch(/^Digest realm="nimbus-pilot", qop="auth-int", algorithm=SHA-256, nonce="[0-9a-f]{32}"$/);
    expect(refusalLines()).toEqual([]);
    expect(door.server.refused.NotAuthenticated).toBe(0);
  });

  it('forged: another secret, another slot\'s credentials, a body that was changed, another path', async () => {
    const [slot, other] = [await addSlot(db), await addSlot(db)];
    const n = notification(slot);
    const body = JSON.stringify(n);
    const with_ = (auth: string, path = NOTIFY_PATH): Promise<Reply> => send(door.port, { method: 'POST', path, headers: { Authorization: auth } }, body);
    expect((await post(door.port, { ...slot, secret: other.secret }, n)).status).toBe(401);
    expect((await with_(authorization(slot, `${body} `))).status).toBe(401);
    expect((await with_(authorization(slot, body, { uri: `${NOTIFY_PATH}?x` }))).status).toBe(401);
    expect((await with_(authorization(slot, body, { method: 'PUT' }))).status).toBe(401);
    expect((await with_(authorization(slot, body).replace('auth-int', 'auth'))).status).toBe(401);
    expect(refusalLines().map((l) => l['slot'])).toEqual(Array.from({ length: 5 }, () => slot.id));
    expect(await post(door.port, other, n)).toMatchObject({ status: 403, code: 'NotInJob' });
    expect(refusalLines().at(-1)).toMatchObject({ slot: other.id, proved: true });
    await nothingChanged(slot);
    expect(door.server.refused).toMatchObject({ NotAuthenticated: 5, NotInJob: 1 });
  });

  it('of an unknown slot: told apart from a wrong secret by nothing', async () => {
    const slot = await addSlot(db);
    const unknown: TestSlot = { id: 'sl-0123456789ab', secret: slot.secret, nonce: slot.nonce };
    const strange: TestSlot = { ...unknown, id: 'x\' OR 1' };
    const replies = [];
    for (const s of [{ ...slot, secret: 'wrong', nonce: 'x' }, unknown, unknown, strange]) replies.push(await post(door.port, s, notification(slot)));
    const shape = (r: Reply): string => `${r.status} ${r.text} ${r.headers['www-authenticate']?.replace(/nonce="[0-9a-f]{32}"/, 'nonce')}`;
    expect(new Set(replies.map(shape)).size).toBe(1);
    expect(replies[1]?.headers['www-authenticate']).toBe(replies[2]?.headers['www-authenticate']);
  });

  it('of an ended slot', async () => {
    const slot = await addSlot(db, { state: 'Ended' });
    expect(await post(door.port, slot, notification(slot))).toMatchObject({ status: 410, code: 'SlotEnded' });
    expect(refusalLines()).toMatchObject([{ slot: slot.id, code: 'SlotEnded', host: 'n1', proved: true }]);
    await nothingChanged(slot);
  });

  it('of a slot that ended between two requests', async () => {
    const slot = await addSlot(db);
    await post(door.port, slot, notification(slot));
    await changeSlot(db, slot, 'Ended');
    expect((await post(door.port, slot, notification(slot))).code).toBe('SlotEnded');
    expect(await ids(slot)).toHaveLength(1);
  });

  it('replayed: the same bytes, and a counter that was passed', async () => {
    const slot = await addSlot(db);
    const n = notification(slot);
    expect((await post(door.port, slot, n, { cnonce: 'c', nc: 5 })).status).toBe(200);
    expect(await post(door.port, slot, n, { cnonce: 'c', nc: 5 })).toMatchObject({ status: 409, code: 'Replayed' });
    expect((await post(door.port, slot, notification(slot), { cnonce: 'c', nc: 4 })).code).toBe('Replayed');
    expect((await post(door.port, slot, notification(slot), { cnonce: 'c', nc: 6 })).status).toBe(200);
    expect(await ids(slot)).toHaveLength(2);
  });

  it('replayed after a restart: nothing is accepted twice, and the pilot goes on', async () => {
    const slot = await addSlot(db);
    const n = notification(slot);
    await post(door.port, slot, n, { cnonce: 'c', nc: 7 });
    await door.close();
    door = await openDoor(db);
    expect((await post(door.port, slot, n, { cnonce: 'c', nc: 7 })).code).toBe('Replayed');
    expect((await post(door.port, slot, notification(slot, { pilot: 'ffffffffffffffff' }), { cnonce: 'd', nc: 1 })).code).toBe('NotInJob');
    expect((await post(door.port, slot, n, { cnonce: 'c', nc: 8 })).status).toBe(200);
    expect(await ids(slot)).toHaveLength(1);
  });

  it('counters that another process used meanwhile', async () => {
    const slot = await addSlot(db);
    const other = await openDoor(db);
    try {
      await post(door.port, slot, notification(slot), { cnonce: 'c', nc: 1 });
      const n = notification(slot);
      expect((await post(other.port, slot, n, { cnonce: 'c', nc: 2 })).status).toBe(200);
      expect((await post(door.port, slot, notification(slot), { cnonce: 'c', nc: 2 })).status).not.toBe(200);
      expect((await post(door.port, slot, n, { cnonce: 'c', nc: 2 })).code).toBe('Replayed');
      expect(await ids(slot)).toHaveLength(2);
    } finally {
      await other.close();
    }
  });

  it('of a host that is not in the job, once the batch system says which are', async () => {
    const slot = await addSlot(db, { nodes: 2, hosts: ['node1.cluster', 'Node2'] });
    expect(await post(door.port, slot, notification(slot, { host: 'node3' }))).toMatchObject({ status: 403, code: 'NotInJob' });
    expect(refusalLines()).toMatchObject([{ slot: slot.id, host: 'node3' }]);
    await nothingChanged(slot);
    expect((await post(door.port, slot, notification(slot, { host: 'NODE1' }))).status).toBe(200);
    expect((await post(door.port, slot, notification(slot, { host: 'node2.cluster.example.org' }))).status).toBe(200);
  });

  it('of more hosts than the slot has nodes', async () => {
    const slot = await addSlot(db, { nodes: 2 });
    const tell = (host: string): Promise<Reply> => post(door.port, slot, notification(slot, { host }));
    expect([await tell('a'), await tell('b'), await tell('c'), await tell('A.example.org')].map((r) => r.status)).toEqual([200, 200, 403, 200]);
    expect(new Set((await messagesOf(database.db, slot)).map((m) => m.host))).toEqual(new Set(['a', 'b']));
    await changeHosts(db, slot, ['b']);
    expect((await tell('a')).code).toBe('NotInJob');
  });

  it('of a pilot from a previous life of the slot', async () => {
    const slot = await addSlot(db);
    await post(door.port, slot, notification(slot, { pilot: 'aaaaaaaaaaaaaaaa' }));
    expect(await post(door.port, slot, notification(slot, { pilot: 'bbbbbbbbbbbbbbbb' }))).toMatchObject({ status: 403, code: 'NotInJob' });
    expect(await ids(slot)).toHaveLength(1);
  });

  it('of more pilot processes than a slot can have had', async () => {
    const slot = await addSlot(db);
    const statuses = [];
    for (let i = 0; i < 21; i += 1) statuses.push((await post(door.port, slot, notification(slot, { messages: [message({ state: 'alive' })] }), { cnonce: `c${i}` })).status);
    expect(statuses).toEqual([...Array.from({ length: 20 }, () => 200), 403]);
    expect((await post(door.port, slot, notification(slot), { cnonce: 'c3', nc: 2 })).status).toBe(200);
  });

  it.each([
    ['no JSON', () => '{'], ['no UTF-8', () => Buffer.from('{"v":"\xff"}', 'latin1')], ['another version', (s: TestSlot) => ({ ...notification(s), v: 1 })],
    ['a host with a newline', (s: TestSlot) => ({ ...notification(s), host: 'n1\nn2' })], ['a host with a shell\'s characters', (s: TestSlot) => ({ ...notification(s), host: '$(reboot)' })],
    ['a pilot that is none', (s: TestSlot) => ({ ...notification(s), pilot: '../..' })], ['no messages', (s: TestSlot) => ({ ...notification(s), messages: [] })],
    ['too many messages', (s: TestSlot) => ({ ...notification(s), messages: Array.from({ length: 65 }, () => message()) })],
    ['an unknown state', (s: TestSlot) => ({ ...notification(s), messages: [{ ...message(), state: 'rebooted' }] })],
    ['a number that is none', (s: TestSlot) => ({ ...notification(s), messages: [{ ...message(), seq: 1.5 }] })],
    ['a time after all times', (s: TestSlot) => ({ ...notification(s), sentAt: 1e300 })],
    ['an id with a path', (s: TestSlot) => ({ ...notification(s), messages: [{ ...message(), id: '../etc/passwd' }] })],
    ['a host key with a newline', (s: TestSlot) => ({ ...notification(s), messages: [{ ...message(), state: 'reserved', reserved: { memoryMb: 1, until: 1, version: '1', agent: { user: 'u', stateDir: '/s', hostKeys: ['ssh-ed25519 A\nssh-rsa B'] } } }] })],
    ['an account with an option', (s: TestSlot) => ({ ...notification(s), messages: [{ ...message(), state: 'reserved', reserved: { memoryMb: 1, until: 1, version: '1', agent: { user: '-oProxyCommand=x', stateDir: '/s', hostKeys: [] } } }] })],
  ])('malformed: %s', async (_, make) => {
    const slot = await addSlot(db);
    const made = make(slot);
    expect(await post(door.port, slot, typeof made === 'string' || Buffer.isBuffer(made) ? made : JSON.stringify(made))).toMatchObject({ status: 400, code: 'Malformed' });
    expect(refusalLines()).toMatchObject([{ slot: slot.id, code: 'Malformed', proved: true }]);
    await nothingChanged(slot);
  });

  it('a message that a database cannot hold does not spoil those beside it', async () => {
    const slot = await addSlot(db, { nodes: 3 });
    const text = '\ud800 half a character';
    const replies = await Promise.all(['a', 'b', 'c'].map((host) => post(door.port, slot, notification(slot, { host, messages: [message({ code: 4, text })] }))));
    expect(replies.map((r) => r.status)).toEqual([200, 200, 200]);
    expect((await messagesOf(database.db, slot)).map((m) => m.body.text)).toEqual(Array.from({ length: 3 }, () => '\ufffd half a character'));
  });
});
