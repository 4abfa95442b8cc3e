/** Commands against what is no service, an old one, one that hangs up, and one that talks nonsense: one clear sentence, and an exit code. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createRaw, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildCli } from '../../src/cli/program.ts';
import { VERSION } from '../../src/platform/version.ts';

let dir: string;
let server: Server | undefined;
const sockets = new Set<Socket>();
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'st-')), 'data');
  mkdirSync(join(dir, 'run'), { recursive: true });
});
afterEach(async () => {
  for (const s of sockets) s.destroy();
  if (server !== undefined) await new Promise((resolve) => server?.close(resolve));
  server = undefined;
  rmSync(join(dir, '..'), { recursive: true });
});

const socket = (): string => join(dir, 'run', 'admin.sock');
async function serve(made: Server): Promise<void> {
  server = made.on('connection', (s: Socket) => sockets.add(s));
  await new Promise<void>((resolve) => made.listen(socket(), resolve));
}
const http = (answer: (req: IncomingMessage, res: ServerResponse) => void): Promise<void> => serve(createHttp(answer));
const json = (res: ServerResponse, status: number, body: unknown, headers: Record<string, string>): void => void res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));

async function nimbus(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const ran = { code: -1, out: '', err: '' };
  const notHere = (): Promise<never> => Promise.reject(new Error('not here'));
  const cli = buildCli({
    io: { out: (t) => { ran.out += t; }, err: (t) => { ran.err += t; }, width: 80, watched: false, ask: () => Promise.resolve(null) },
    env: { NIMBUS_DATA: dir }, serve: notHere, installer: { install: notHere }, keyRotation: notHere, withoutService: { open: notHere, killJobs: notHere, doctor: notHere, fsck: notHere, backup: notHere, restore: notHere },
  });
  ran.code = await cli.run(['node', 'nimbus', ...argv]);
  return ran;
}

test.each<[string, () => Promise<void>]>([
  ['another program with HTTP', () => http((_req, res) => json(res, 200, [], { server: 'nginx' }))],
  ['one that answers pages', () => http((_req, res) => void res.writeHead(404).end('<html>'))],
  ['one with another protocol', () => serve(createRaw((s) => void s.end('220 mail.example.org ESMTP\r\n')))],
  ['one of ours whose answer is no JSON', () => http((_req, res) => void res.writeHead(200, { 'x-nimbus-version': VERSION }).end('<'))],
])('%s is no nimbus service: 3', async (_what, start) => {
  await start();
  expect(await nimbus('user', 'list')).toEqual({ code: 3, out: '', err: `nimbus: what answers at ${socket()} is no nimbus service; name the service's own data directory with --data or NIMBUS_DATA\n` });
});

test.each<[string, Record<string, string>, string]>([
  ['of another version', { 'x-nimbus-version': '0.0.9' }, '0.0.9'],
  ['of before versions were said', { 'x-request-id': 'req-1' }, 'of an older version'],
])('a service %s that does not know the command says so: 1, and what to do', async (_what, headers, said) => {
  await http((req, res) => json(res, 400, { code: 'ActionUnknown', message: `There is no ${req.method ?? ''} ${req.url ?? ''}.`, reasons: [] }, headers));
  expect(await nimbus('user', 'list')).toEqual({
    code: 1, out: '',
    err: `nimbus: the running service is nimbus ${said}, this command is ${VERSION}, and they do not understand each other; restart the service with the installed version (ActionUnknown)\n  There is no GET /v1/users.\n`,
  });
});

test('what an older service does know is done', async () => {
  await http((_req, res) => json(res, 200, [], { 'x-nimbus-version': '0.0.9' }));
  expect(await nimbus('image', 'list')).toMatchObject({ code: 0 });
});

test('a refusal of the same version is the service’s own', async () => {
  await http((_req, res) => json(res, 400, { code: 'ParameterInvalid', message: 'The request has mistakes.', reasons: ['name: no'] }, { 'x-nimbus-version': VERSION }));
  expect((await nimbus('user', 'add', 'x')).err).toBe('nimbus: The request has mistakes. (ParameterInvalid)\n  name: no\n');
});

test('a service that hangs up in the middle: 3', async () => {
  await serve(createRaw((s) => void s.once('data', () => s.destroy())));
  const { code, err } = await nimbus('user', 'list');
  expect([code, err]).toEqual([3, expect.stringMatching(/^nimbus: the service did not finish its answer \([^\n]+\); look at its log, then try again\n$/)]);
});
