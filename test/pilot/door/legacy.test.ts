/** Pilots of the original: lines, digest with MD5 and one account for all, `OK` or `NOTOK`. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PilotRefusal } from '../../../src/manager/slots/inbox-refusal.ts';
import { readLegacy } from '../../../src/pilot/door/legacy-message.ts';
import { LEGACY_NOTIFY_PATH, CHANNEL_PATH } from '../../../src/pilot/protocol.ts';
import { realClock } from '../../../src/platform/real.ts';
import { hasPart } from '../../parts.ts';
import { testContext } from '../../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';
import { notification, post, send, type Reply } from './client.ts';
import { addSlot, changeSlot, messagesOf, openDoor, type PilotDoor } from './door.ts';

const run = promisify(execFile);
const ACCOUNT = { legacy_account: 'pilotaccount', legacy_secret: 'a-secret-of-the-site' };
const md5 = (s: string): string => createHash('md5').update(s).digest('hex');
let database: TestDatabase;
let door: PilotDoor;
beforeAll(async () => { database = await openTestDatabase(); });
afterAll(async () => { await database.close(); });
afterEach(async () => { await door.close(); });

const ask = (body: string, auth?: string, path = LEGACY_NOTIFY_PATH): Promise<Reply> =>
  send(door.port, { method: 'POST', path, headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...(auth === undefined ? {} : { Authorization: auth }) } }, body);
const nonceOf = (reply: Reply): string => /nonce="([^"]*)"/.exec(reply.headers['www-authenticate'] ?? '')?.[1] ?? '';
function proof(nonce: string, nc = 1, secret = ACCOUNT.legacy_secret, uri: string = LEGACY_NOTIFY_PATH): string {
  const count = nc.toString(16).padStart(8, '0');
  const response = md5(`${md5(`pilotaccount:pilotrealm:${secret}`)}:${nonce}:${count}:abc:auth:${md5(`POST:${uri}`)}`);
  return `Digest username="pilotaccount", realm="pilotrealm", nonce="${nonce}", uri="${uri}", response="${response}", algorithm="MD5", qop=auth, nc=${count}, cnonce="abc"`;
}
/** As the original's pilot: asked without credentials first. */
const tell = async (body: string, path: string = LEGACY_NOTIFY_PATH): Promise<Reply> => ask(body, proof(nonceOf(await ask(body, undefined, path)), 1, undefined, path), path);
const lines = (slot: { id: string }, host: string, state: string, code: number, said = ''): string => `${slot.id}+++${host}\n${state}\n${code}\n${said === '' ? '' : `${said}\n`}`;
const stamp = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace(/[T:]/g, '-');

describe('the life of a slot', () => {
  it('is stored as our own pilots\' messages are, each line form once', async () => {
    door = await openDoor(database.db, { config: ACCOUNT });
    const slot = await addSlot(database.db);
    const reservedAt = Math.floor(Date.now() / 1000) * 1000;
    const bodies = [
      lines(slot, 'n1', 'pilot-test', 0), lines(slot, 'n1', 'pilot-reserved', 0, stamp(reservedAt)), lines(slot, 'n1', 'pilot-reserved', 0, stamp(reservedAt)),
      lines(slot, 'n1', 'pilot-earlyunreserving', 0, stamp(reservedAt)), lines(slot, 'n1', 'pilot-killed', 0, 'wrksp-1,wrksp-22'), lines(slot, 'n1', 'pilot-unreserving', 0),
      lines(slot, 'n1', 'pilot-unreserving', 1, `'PILOT ERROR: can\\'t do \\(x \\& y\\)]eol[second line'`),
    ];
    for (const body of bodies) expect(await tell(body)).toMatchObject({ status: 200, text: 'OK' });
    const stored = await messagesOf(database.db, slot);
    expect(stored.map((m) => m.body)).toMatchObject([
      { state: 'reserved', code: 0, at: reservedAt }, { state: 'early-unreserving', at: reservedAt }, { state: 'killed', names: ['wrksp-1', 'wrksp-22'] },
      { state: 'unreserving', code: 0 }, { state: 'unreserving', code: 1, text: 'PILOT ERROR: can\'t do (x & y)\nsecond line' },
    ]);
    expect(stored[0]).toMatchObject({ at: reservedAt, pilot: '0000000000000000', part: 0, clock_offset_ms: null });
    expect(stored[0]?.id).toBe(createHash('sha256').update([`${slot.id}+++n1`, 'pilot-reserved', '0', stamp(reservedAt)].join('\n')).digest('hex').slice(0, 32));
  });

  it('finds the path in any case', async () => {
    door = await openDoor(database.db, { config: ACCOUNT });
    const slot = await addSlot(database.db);
    expect(await tell(lines(slot, 'n1', 'pilot-unreserving', 0), '/Pilot_Notification/V01/')).toMatchObject({ status: 200, text: 'OK' });
  });
});

describe('refused', () => {
  it.each([
    ['nothing', ''], ['no sender', 'sl-000000000000\npilot-test\n0\n'], ['two hosts', 'sl-000000000000+++a+++b\npilot-test\n0\n'], ['a host of a shell', 'sl-000000000000+++$(x)\npilot-test\n0\n'],
    ['no state', 'sl-000000000000+++a\n'], ['a state of Object', 'sl-000000000000+++a\nconstructor\n0\n'], ['no code', 'sl-000000000000+++a\npilot-test\n'],
    ['a code that is none', 'sl-000000000000+++a\npilot-test\n0x1\n'], ['no time', 'sl-000000000000+++a\npilot-reserved\n0\n'],
    ['a thirteenth month', 'sl-000000000000+++a\npilot-reserved\n0\n2026-13-01-00-00-00\n'], ['names with a path', 'sl-000000000000+++a\npilot-killed\n0\na,../b\n'],
  ])('406 NOTOK: %s', async (_, body) => {
    door = await openDoor(database.db, { config: ACCOUNT });
    const reply = await tell(body);
    expect(reply.status).toBe(406);
    expect(reply.text).toMatch(/^NOTOK: The notification cannot be read: /);
  });

  it('without the account in the configuration, nobody is asked to prove anything', async () => {
    door = await openDoor(database.db);
    const reply = await ask('x', proof('x'));
    expect(reply).toMatchObject({ status: 403, text: 'NOTOK: This service takes no notifications of this form: pilot.legacy_account is not set.' });
    expect(reply.headers['www-authenticate']).toBeUndefined();
  });

  it('a wrong secret, a forged nonce, a used counter; a nonce from before a restart is stale', async () => {
    door = await openDoor(database.db, { config: ACCOUNT });
    const slot = await addSlot(database.db);
    const body = lines(slot, 'n1', 'pilot-unreserving', 0);
    const nonce = nonceOf(await ask(body));
    expect((await ask(body, proof(nonce, 1, 'wrong'))).status).toBe(401);
    const forged = await ask(body, proof(`${nonce.slice(0, -1)}${nonce.endsWith('0') ? '1' : '0'}`));
    expect(forged.status).toBe(401);
    expect(forged.headers['www-authenticate']).toContain('stale=true');
    expect(await messagesOf(database.db, slot)).toEqual([]);
    expect((await ask(body, proof(nonce))).status).toBe(200);
    expect(await ask(body, proof(nonce))).toMatchObject({ status: 409 });
    expect((await ask(body, proof(nonce, 2))).status).toBe(200);
    await door.close();
    door = await openDoor(database.db, { config: ACCOUNT });
    expect((await ask(body, proof(nonce, 3))).headers['www-authenticate']).toContain('stale=true');
  });

  it('a nonce is stale after five minutes', async () => {
    let now = realClock.monotonic();
    door = await openDoor(database.db, { config: ACCOUNT, ctx: testContext({ clock: { ...realClock, monotonic: () => now } }) });
    const body = lines(await addSlot(database.db), 'n1', 'pilot-test', 0);
    const nonce = nonceOf(await ask(body));
    now += 299_000;
    expect((await ask(body, proof(nonce))).status).toBe(200);
    now += 2_000;
    const late = await ask(body, proof(nonce, 2));
    expect(late.headers['www-authenticate']).toContain('stale=true');
    expect((await ask(body, proof(nonceOf(late)))).status).toBe(200);
  });

  it('slots that are unknown or ended, and nodes that another pilot speaks for', async () => {
    door = await openDoor(database.db, { config: ACCOUNT });
    const slot = await addSlot(database.db);
    expect(await tell(lines({ id: 'sl-ffffffffffff' }, 'n1', 'pilot-unreserving', 0))).toMatchObject({ status: 410 });
    expect(await tell(lines({ id: '8f4b5a9e-0000-1111-2222-333344445555' }, 'n1', 'pilot-unreserving', 0))).toMatchObject({ status: 410 });
    await post(door.port, slot, notification(slot));
    expect(await tell(lines(slot, 'n1', 'pilot-unreserving', 0))).toMatchObject({ status: 403 });
    await changeSlot(database.db, slot, 'Ended');
    expect((await tell(lines(slot, 'n1', 'pilot-unreserving', 0))).text).toBe(`NOTOK: Slot ${slot.id} has ended.`);
    expect(door.ctx.lines.filter((l) => l.message === 'a pilot\'s request is refused').map((l) => l.fields['slot'])).toContain(slot.id);
  });
});

describe('clients that others wrote', () => {
  it.skipIf(!hasPart('python3'))('Python\'s HTTPDigestAuthHandler, which the original\'s pilot uses', async () => {
    door = await openDoor(database.db, { config: ACCOUNT });
    const slot = await addSlot(database.db);
    const script = `
import sys, urllib.request as u
url, secret, body = sys.argv[1:4]
passwords = u.HTTPPasswordMgrWithDefaultRealm()
passwords.add_password('pilotrealm', url, 'pilotaccount', secret)
opener = u.build_opener(u.HTTPDigestAuthHandler(passwords))
print([opener.open(url, data=body.encode()).read().decode() for _ in range(2)])`;
    const { stdout } = await run('/usr/bin/python3', ['-c', script, `${door.url}${LEGACY_NOTIFY_PATH}`, ACCOUNT.legacy_secret, lines(slot, 'n1', 'pilot-unreserving', 0)], { timeout: 60_000 });
    expect(stdout.trim()).toBe('[\'OK\', \'OK\']');
    expect(await messagesOf(database.db, slot)).toHaveLength(1);
  });

  it.skipIf(!hasPart('python3'))('our own form, written down again with Python\'s hashlib', async () => {
    door = await openDoor(database.db);
    const slot = await addSlot(database.db);
    const script = `
import sys, hashlib, urllib.request as u
url, path, user, secret, nonce, body = sys.argv[1:7]
h = lambda s: hashlib.sha256(s.encode()).hexdigest()
response = h(':'.join([h(user + ':nimbus-pilot:' + secret), nonce, '00000001', 'python', 'auth-int', h('POST:' + path + ':' + h(body))]))
header = 'Digest username="%s", realm="nimbus-pilot", nonce="%s", uri="%s", algorithm=SHA-256, qop=auth-int, nc=00000001, cnonce="python", response="%s"' % (user, nonce, path, response)
print(u.urlopen(u.Request(url + path, body.encode(), {'Authorization': header})).read().decode())`;
    const { stdout } = await run('/usr/bin/python3', ['-c', script, door.url, '/pilot_notification/v02/', slot.id, slot.secret, slot.nonce, JSON.stringify(notification(slot))], { timeout: 60_000 });
    expect(JSON.parse(stdout)).toMatchObject({ do: 'stay' });
    expect(await messagesOf(database.db, slot)).toHaveLength(1);
  });

  it.skipIf(!hasPart('curl'))('curl --digest, for the line form', async () => {
    door = await openDoor(database.db, { config: ACCOUNT });
    const slot = await addSlot(database.db);
    const { stdout } = await run('curl', ['--silent', '--digest', '--user', `pilotaccount:${ACCOUNT.legacy_secret}`, '--data-binary', lines(slot, 'n1', 'pilot-unreserving', 0), `${door.url}${LEGACY_NOTIFY_PATH}`], { timeout: 60_000 });
    expect(stdout).toBe('OK');
    expect(await messagesOf(database.db, slot)).toHaveLength(1);
  });

  it.skipIf(!hasPart('curl'))('curl --digest, for the channel: SHA-256, auth-int, the slot\'s nonce after a stale one', async () => {
    door = await openDoor(database.db);
    const slot = await addSlot(database.db);
    const headers = ['Connection: Upgrade', 'Upgrade: nimbus-control', 'Nimbus-Node: n1', 'Nimbus-Pilot: 0123456789abcdef'].flatMap((h) => ['--header', h]);
    // The channel stays open: curl is ended from this side as soon as it is offered.
    const curl = run('curl', ['--silent', '--include', '--http1.1', '--digest', '--user', `${slot.id}:${slot.secret}`, ...headers, `${door.url}${CHANNEL_PATH}`], { timeout: 60_000 });
    await expect.poll(() => door.offered.length, { interval: 10, timeout: 60_000 }).toBe(1);
    door.offered[0]?.stream.destroy();
    const { stdout } = await curl.catch((e: unknown) => e as { stdout: string });
    expect(stdout).toContain('HTTP/1.1 101 Switching Protocols');
  });
});

it('whatever the lines say, they are a notification or malformed', async () => {
  door = await openDoor(database.db);
  const line = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('sl-000000000000+++n1', 'pilot-reserved', 'pilot-killed', 'pilot-unreserving', '0', '1', '2026-01-02-03-04-05', 'a,b'));
  fc.assert(fc.property(fc.array(line, { maxLength: 6 }), fc.uint8Array({ maxLength: 3 }), (parts, tail) => {
    try {
      expect(readLegacy(Buffer.concat([Buffer.from(parts.join('\n')), tail]), Date.now()).messages).toHaveLength(1);
    } catch (e) {
      expect(e).toBeInstanceOf(PilotRefusal);
    }
  }), { numRuns: 500 });
});
