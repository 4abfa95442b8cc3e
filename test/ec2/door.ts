/** A listener on a free port with a fake manager behind it, and ways to speak to it without a client library. */
import { createHash, createHmac } from 'node:crypto';
import type { ServerOptions } from 'node:http';
import { connect } from 'node:net';
import { configSchema, type Config } from '../../src/platform/config.ts';
import type { Clock } from '../../src/platform/context.ts';
import { realClock } from '../../src/platform/real.ts';
import { createEc2Server, type GridSide } from '../../src/ec2/server.ts';
import { testContext, type TestContext } from '../support/context.ts';
import './seen.ts';
import { fakeManager, type FakeAccount, type FakeManager } from './fake-manager.ts';

/** The keys of test/fixtures/ec2, and of a second user. */
export const ALICE = { accessKey: 'AKIDNIMBUSTEST000001', secret: 'secretNIMBUSTEST0123456789abcdefghijklmn' };
export const BOB = { accessKey: 'AKIDNIMBUSTEST000002', secret: 'anotherSECRET' };
export const alice: FakeAccount = { secret: ALICE.secret, accountId: 1, name: 'alice', ownerId: '111111111111', admin: false };
export const bob: FakeAccount = { secret: BOB.secret, accountId: 2, name: 'bob', ownerId: '222222222222', admin: false };

export interface OpenDoor {
  readonly ctx: TestContext;
  readonly manager: FakeManager;
  readonly url: string;
  readonly port: number;
  /** Wall clock of the door. */
  now: number;
  close(): Promise<void>;
}

export async function openDoor(options: { config?: Partial<Config['ec2']>; now?: number; monotonic?: () => number; limits?: ServerOptions; grid?: GridSide } = {}): Promise<OpenDoor> {
  const door = { now: options.now ?? Date.UTC(2026, 10, 22, 14, 45) };
  const clock: Clock = { ...realClock, monotonic: options.monotonic ?? (() => realClock.monotonic()), now: () => door.now };
  const ctx = testContext({ clock });
  const manager = fakeManager(() => door.now);
  manager.accounts.set(ALICE.accessKey, alice).set(BOB.accessKey, bob);
  const config = configSchema.parse({ ec2: { listen: '127.0.0.1:0', ...options.config } }).ec2;
  const server = createEc2Server(ctx, manager, config, options.grid, options.limits);
  const { url, port } = await server.listen();
  return Object.assign(door, { ctx, manager, url, port, close: () => server.close() });
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
  /** Error code, or '' */
  readonly code: string;
  readonly message: string;
}

export function reply(status: number, headers: Headers, body: string): Reply {
  const part = (name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(body)?.[1] ?? '';
  return { status, headers, body, code: part('Code'), message: part('Message') };
}

const hex = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();
export const basicTime = (ms: number): string => new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, '');

/** The headers that sign a POST of `body` to `/`. */
export function signV4(door: { now: number; port: number }, body: string | Buffer, who = ALICE): Record<string, string> {
  const date = basicTime(door.now);
  const scope = `${date.slice(0, 8)}/nimbus/ec2/aws4_request`;
  const canonical = `POST\n/\n\nhost:127.0.0.1:${door.port}\nx-amz-date:${date}\n\nhost;x-amz-date\n${hex(body)}`;
  const key = hmac(hmac(hmac(hmac(`AWS4${who.secret}`, date.slice(0, 8)), 'nimbus'), 'ec2'), 'aws4_request');
  const signature = hmac(key, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${hex(canonical)}`).toString('hex');
  return {
    'x-amz-date': date,
    'content-type': 'application/x-www-form-urlencoded',
    'authorization': `AWS4-HMAC-SHA256 Credential=${who.accessKey}/${scope}, SignedHeaders=host;x-amz-date, Signature=${signature}`,
  };
}

/** A form that names each request differently, so that replays are meant when they happen. */
export function form(params: Readonly<Record<string, string>>, version = '2016-11-15'): string {
  return new URLSearchParams({ Version: version, ...params }).toString();
}

/** Sends a signed POST. */
export async function post(door: Pick<OpenDoor, 'now' | 'port' | 'url'>, body: string | Buffer, who = ALICE, headers: Record<string, string> = {}): Promise<Reply> {
  const r = await fetch(`${door.url}/`, { method: 'POST', body, headers: { ...signV4(door, body, who), ...headers } });
  return reply(r.status, r.headers, await r.text());
}

export const ask = (door: OpenDoor, params: Readonly<Record<string, string>>, who = ALICE): Promise<Reply> => post(door, form(params), who);

/** Sends bytes as they are and reads one answer. */
export function sendRaw(port: number, bytes: Buffer | string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => { socket.write(bytes); });
    let got = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      got = Buffer.concat([got, chunk]);
      const text = got.toString();
      const end = text.indexOf('\r\n\r\n');
      const length = /\r\ncontent-length: *(\d+)/i.exec(text);
      if (end < 0 || length === null || Buffer.byteLength(text.slice(end + 4)) < Number(length[1])) return;
      socket.destroy();
      const lines = text.slice(0, end).split('\r\n');
      const headers = new Headers(lines.slice(1).map((l) => [l.slice(0, l.indexOf(':')), l.slice(l.indexOf(':') + 1).trim()] as [string, string]));
      resolve(reply(Number((lines[0] ?? '').split(' ')[1]), headers, text.slice(end + 4)));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`the door closed the connection after ${got.length} bytes`)));
  });
}
