import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createHttpCallback } from '../../../src/platform/outside/http.ts';
import { testContext } from '../../support/context.ts';

let answer: (req: IncomingMessage, res: ServerResponse, body: string) => void;
let url: string;
let close: () => void;
beforeEach(async () => {
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (c: Buffer) => chunks.push(c)).on('end', () => answer(req, res, Buffer.concat(chunks).toString()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/decide`;
  close = () => { server.closeAllConnections(); server.close(); };
});
afterEach(() => close());

const callback = (over: { tokenFile?: string; deadlineMs?: number } = {}) => createHttpCallback(testContext(), { url, tokenFile: '', deadlineMs: 10_000, ...over });

test('posts JSON with the token as it is now, and reads JSON', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'token-'));
  const tokenFile = join(dir, 'token');
  answer = (req, res, body) => res.end(JSON.stringify({ method: req.method, authorization: req.headers.authorization, body: JSON.parse(body) as unknown }));
  writeFileSync(tokenFile, 'first\n');
  const c = callback({ tokenFile });
  expect(await c.ask({ a: 1 })).toEqual({ method: 'POST', authorization: 'Bearer first', body: { a: 1 } });
  writeFileSync(tokenFile, 'second');
  expect(await c.ask({})).toMatchObject({ authorization: 'Bearer second' });
  rmSync(dir, { recursive: true });
  await expect(c.ask({})).rejects.toThrow('ENOENT');
});

test.each([
  ['a status of failure', (res: ServerResponse) => res.writeHead(500).end('{}'), 'it answered with status 500'],
  ['what is no JSON', (res: ServerResponse) => res.end('<html>'), 'its answer is no JSON'],
  ['more than it may', (res: ServerResponse) => res.end(`"${'x'.repeat(70_000)}"`), 'its answer is larger than 65536 bytes'],
  ['the way to somewhere else', (res: ServerResponse) => res.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), 'redirect'],
  ['nothing any more', (res: ServerResponse) => res.destroy(), 'other side closed'],
  ['half of it', (res: ServerResponse) => { res.writeHead(200, { 'content-length': '100' }).write('{'); res.destroy(); }, /other side closed|terminated|aborted/],
])('%s is a failure', async (_what, act, message) => {
  answer = (_req, res) => { act(res); };
  await expect(callback().ask({})).rejects.toThrow(message);
});

test('an answer that does not come, or does not end, is waited for no longer than the deadline', async () => {
  answer = () => undefined;
  await expect(callback({ deadlineMs: 50 }).ask({})).rejects.toThrow('it did not answer within 50 ms');
  answer = (_req, res) => { res.write('{'); };
  await expect(callback({ deadlineMs: 50 }).ask({})).rejects.toThrow('it did not answer within 50 ms');
});

test('nobody there is a failure that says so', async () => {
  close();
  await expect(callback().ask({})).rejects.toThrow('ECONNREFUSED');
});
