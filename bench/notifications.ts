/**
 * 16, 256 and 1,024 pilots that report at the same moment, until all are stored and acknowledged: (a) each on a new connection, one
 * request that is authenticated already; (b) the original's way, a challenge first and the answer to it on a second connection;
 * (c) on connections that are open. Door, inbox and PostgreSQL are real; the pilots are another process, which makes what
 * it sends beforehand, as real ones do it on their own nodes. Medians of 7, all in one run.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { LEGACY_NOTIFY_PATH, NOTIFY_PATH, type Notification } from '../src/pilot/protocol.ts';
import { openDb, statement, type Db, type DbAddress } from '../src/store/db.ts';
import { testContext } from '../test/support/context.ts';
import { openTestDatabase } from '../test/support/database.ts';
import { authorization, message, newPilotId } from '../test/pilot/door/client.ts';
import { addSlot, openDoor, type TestSlot } from '../test/pilot/door/door.ts';
import { cpuMs, median } from './support/service.ts';

const SIZES = [16, 256, 1024];
const ROUNDS = 7;
const NODES_OF_A_SLOT = 16;
const TARGETS: Readonly<Record<number, { readonly fresh: number; readonly kept: number }>> = { 16: { fresh: 40, kept: 10 }, 256: { fresh: 250, kept: 60 }, 1024: { fresh: 600, kept: 250 } };
const MOST_OF_ORIGINAL = 0.7;
const ACCOUNT = { legacy_account: 'pilotaccount', legacy_secret: 'a-secret-of-the-site' };
const CHILD = 'notifications-child';

interface Door {
  readonly port: number;
  readonly address: DbAddress;
}

async function serve(): Promise<never> {
  const ctx = testContext();
  // Nothing reads the kept log here; it must not grow.
  ctx.lines.push = () => 0;
  const database = await openTestDatabase();
  const door = await openDoor(database.db, { ctx, config: ACCOUNT });
  const told: Door = { port: door.port, address: database.address };
  process.send?.(told);
  await once(process, 'disconnect');
  await door.close();
  await database.close();
  process.exit(0);
}

/** A pilot of a node of a slot. */
interface Pilot {
  readonly slot: TestSlot;
  readonly host: string;
  readonly pilot: string;
  nc: number;
}

async function newPilots(db: Db, count: number): Promise<Pilot[]> {
  const pilots: Pilot[] = [];
  while (pilots.length < count) {
    const slot = await addSlot(db, { nodes: NODES_OF_A_SLOT, hosts: Array.from({ length: NODES_OF_A_SLOT }, (_, i) => `node${i}`) });
    for (let i = 0; i < NODES_OF_A_SLOT; i += 1) pilots.push({ slot, host: `node${i}`, pilot: newPilotId(), nc: 0 });
  }
  return pilots;
}

const http = (path: string, headers: string, body: string): Buffer => Buffer.from(`POST ${path} HTTP/1.1\r\nHost: service\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`);

/** The next message of a pilot: that its node is ready, as long as real ones are. */
function report(p: Pilot): Buffer {
  const now = Date.now();
  const hostKeys = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ssh-rsa'].map((kind) => `${kind} ${'A'.repeat(120)}`);
  const body = JSON.stringify({
    v: 2, slot: p.slot.id, host: p.host, part: 0, pilot: p.pilot, sentAt: now,
    messages: [message({
      state: 'reserved', stamps: { 'pilot-start': now - 200, 'reduce-begun': now - 100, 'reduced': now - 10, 'notify': now },
      reserved: { memoryMb: 2048, until: now + 3_600_000, version: '0.1.0', agent: { user: 'nimbus', stateDir: `/var/tmp/workspace-pilot-1000/${p.slot.id}.${p.host}/control`, hostKeys } },
    })],
  } satisfies Notification);
  p.nc += 1;
  return http(NOTIFY_PATH, `Authorization: ${authorization(p.slot, body, { cnonce: p.pilot, nc: p.nc })}\r\n`, body);
}

const md5 = (s: string): string => createHash('md5').update(s).digest('hex');
function legacyReport(p: Pilot, nonce?: string): Buffer {
  const body = `${p.slot.id}+++${p.host}\npilot-reserved\n0\n${new Date().toISOString().slice(0, 19).replace(/[T:]/g, '-')}\n`;
  if (nonce === undefined) return http(LEGACY_NOTIFY_PATH, 'Connection: close\r\n', body);
  const response = md5(`${md5(`pilotaccount:pilotrealm:${ACCOUNT.legacy_secret}`)}:${nonce}:00000001:${p.pilot}:auth:${md5(`POST:${LEGACY_NOTIFY_PATH}`)}`);
  return http(LEGACY_NOTIFY_PATH, `Connection: close\r\nAuthorization: Digest username="pilotaccount", realm="pilotrealm", nonce="${nonce}", uri="${LEGACY_NOTIFY_PATH}", response="${response}", algorithm="MD5", qop=auth, nc=00000001, cnonce="${p.pilot}"\r\n`, body);
}

const open = (port: number): Socket => connect({ port, host: '127.0.0.1', noDelay: true });

/** Writes the request and resolves with the answer when it is whole. */
function exchange(socket: Socket, bytes: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const head = text.indexOf('\r\n\r\n');
      if (head < 0 || text.length < head + 4 + Number(/\r\nContent-Length: (\d+)/i.exec(text)?.[1])) return;
      socket.off('data', onData).off('error', reject);
      resolve(text);
    };
    socket.on('data', onData).on('error', reject);
    socket.write(bytes);
  });
}

function mustBe(status: number, answer: string): string {
  if (!answer.startsWith(`HTTP/1.1 ${status} `)) throw new Error(`not ${status}: ${answer}`);
  return answer;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function onNewConnections(door: Door, pilots: readonly Pilot[]): Promise<number> {
  const requests = pilots.map(report);
  const sockets: Socket[] = [];
  const ms = await timed(() => Promise.all(requests.map(async (bytes) => {
    const socket = open(door.port);
    sockets.push(socket);
    mustBe(200, await exchange(socket, bytes));
  })));
  for (const socket of sockets) socket.destroy();
  return ms;
}

async function theOriginalsWay(door: Door, pilots: readonly Pilot[]): Promise<number> {
  const first = pilots.map((p) => legacyReport(p));
  return timed(() => Promise.all(pilots.map(async (p, i) => {
    const challenge = open(door.port);
    const answer = mustBe(401, await exchange(challenge, first[i] as Buffer));
    challenge.destroy();
    const socket = open(door.port);
    mustBe(200, await exchange(socket, legacyReport(p, /nonce="([0-9a-f]+)"/.exec(answer)?.[1] ?? '')));
    socket.destroy();
  })));
}

async function onKeptConnections(pilots: readonly Pilot[], sockets: readonly Socket[]): Promise<number> {
  const requests = pilots.map(report);
  return timed(() => Promise.all(requests.map(async (bytes, i) => mustBe(200, await exchange(sockets[i] as Socket, bytes)))));
}

const countMessages = statement<{ n: number }>('bench-messages', 'SELECT count(*)::int AS n FROM slot_message');
async function allStored(db: Db, expected: number): Promise<void> {
  const [row] = await db.query(countMessages);
  if (row?.n !== expected) throw new Error(`${row?.n} messages are stored, not ${expected}`);
}

async function measure(): Promise<void> {
  const child = fork(process.argv[1] ?? '', [CHILD]);
  const [door] = await once(child, 'message') as [Door];
  const db = openDb(door.address, { max: 2, log: testContext().log });
  let missed = false;
  try {
    console.log('pilots   new connections   the original\'s way   ratio   open connections   CPU of the service per new connection');
    let expected = 0;
    for (const size of SIZES) {
      const [fresh, original, kept, cpu]: number[][] = [[], [], [], []];
      const staying = await newPilots(db, size);
      const sockets = await Promise.all(staying.map(async () => {
        const socket = open(door.port);
        await once(socket, 'connect');
        return socket;
      }));
      // The first round of each also warms the code up, and is not counted.
      for (let round = 0; round <= ROUNDS; round += 1) {
        const [one, two] = [await newPilots(db, size), await newPilots(db, size)];
        const before = cpuMs(child.pid ?? 0);
        fresh?.push(await onNewConnections(door, one));
        cpu?.push((cpuMs(child.pid ?? 0) - before) / size);
        original?.push(await theOriginalsWay(door, two));
        kept?.push(await onKeptConnections(staying, sockets));
        await allStored(db, expected += 3 * size);
      }
      for (const socket of sockets) socket.destroy();
      const [a, b, c, d] = [fresh, original, kept, cpu].map((values) => median((values ?? []).slice(1))) as [number, number, number, number];
      console.log(`${String(size).padStart(6)} ${a.toFixed(1).padStart(14)} ms ${b.toFixed(1).padStart(18)} ms ${(a / b).toFixed(2).padStart(8)} ${c.toFixed(1).padStart(15)} ms ${d.toFixed(2).padStart(10)} ms`);
      const target = TARGETS[size];
      missed ||= target === undefined || a > target.fresh || c > target.kept || (size === Math.max(...SIZES) && a / b > MOST_OF_ORIGINAL);
    }
    console.log(`targets: new 40, 250, 600 ms; open 10, 60, 250 ms; at most ${MOST_OF_ORIGINAL} of the original's way at 1,024: ${missed ? 'MISSED' : 'met'}`);
  } finally {
    await db.close();
    await ended(child);
  }
  if (missed) process.exitCode = 1;
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.disconnect();
  await exit;
}

if (process.argv[2] === CHILD) await serve();
else await measure();
