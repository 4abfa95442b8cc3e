/** Commands against what is no service, an old one, one that hangs up, and one that talks nonsense: one clear sentence, and an exit code. */
import { EventEmitter, once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createRaw, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildCli } from '../../src/cli/program.ts';
import type { Clock } from '../../src/platform/context.ts';
import { dataDirAt } from '../../src/platform/datadir.ts';
import { lockDataDir } from '../../src/platform/lock.ts';
import { realClock } from '../../src/platform/real.ts';
import { VERSION } from '../../src/platform/version.ts';
import { testContext } from '../support/context.ts';
import { manualClock, type ManualClock } from '../control/client/manual-clock.ts';

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

/** Waits are over at once, and counted. */
function hurried(): Clock {
  let skipped = 0;
  return {
    ...realClock, monotonic: () => skipped,
    after: (ms, then) => {
      skipped += ms;
      const soon = setImmediate(then);
      return { cancel: () => clearImmediate(soon) };
    },
  };
}

const nimbus = (...argv: string[]): Promise<{ code: number; out: string; err: string }> => nimbusOn(realClock, ...argv);

async function nimbusOn(connectionClock: Clock, ...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const ran = { code: -1, out: '', err: '' };
  const notHere = (): Promise<never> => Promise.reject(new Error('not here'));
  const cli = buildCli({
    io: { out: (t) => { ran.out += t; }, err: (t) => { ran.err += t; }, width: 80, watched: false, ask: () => Promise.resolve(null) },
    clock: hurried(), connectionClock, env: { NIMBUS_DATA: dir }, serve: notHere, installer: { install: notHere }, keyRotation: notHere, withoutService: { open: notHere, killJobs: notHere, doctor: notHere, fsck: notHere, backup: notHere, restore: notHere },
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

test.each(['user list', 'processes', 'usage', 'events', 'doctor', 'fsck', 'lease show i-0123456789abcdef0'])('an answer of another version that %s cannot read: 1, and the same sentence', async (command) => {
  await http((_req, res) => json(res, 200, { of: 'another shape' }, { 'x-nimbus-version': '0.0.9' }));
  expect(await nimbus(...command.split(' '))).toEqual({
    code: 1, out: '', err: `nimbus: the running service is nimbus 0.0.9, this command is ${VERSION}, and they do not understand each other; restart the service with the installed version\n`,
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

describe('a service that goes away', () => {
  const ours = { 'x-nimbus-version': VERSION };
  const node = (leases: number): object => ({ name: 'n1', leases, active: false, reachable: true });
  const away: ReadonlyArray<(res: ServerResponse) => void> = [
    (res) => void res.destroy(),
    (res) => json(res, 503, { code: 'Unavailable', message: 'The database does not answer.', reasons: [] }, ours),
  ];

  test('in the middle of several: what is done, what had no answer and what was not tried is said, 3', async () => {
    const gone = (): Promise<void> => http((req, res) => (req.url?.endsWith('/n2') === true ? void res.destroy() : json(res, 200, { name: 'n1' }, ours)));
    await gone();
    const { code, out, err } = await nimbus('node', 'activate', 'n1', 'n2', 'n3', 'n4');
    expect({ code, out, lines: err.split('\n').slice(0, 3) }).toEqual({ code: 3, out: 'n1 takes leases\n', lines: ['n2: no answer; it may be done or not', 'n3: not tried', 'n4: not tried'] });
    expect(err.split('\n')[3]).toMatch(/^nimbus: the service did not finish its answer/);
    const inJson = await nimbus('node', 'activate', 'n1', 'n2', 'n3', '--json');
    expect([inJson.code, JSON.parse(inJson.out)]).toMatchObject([3, [
      { item: 'n1', ok: true }, { item: 'n2', ok: false, error: { code: 'Unreachable' } }, { item: 'n3', ok: false, error: { code: 'NotTried' } }]]);
    expect(JSON.parse(inJson.err)).toMatchObject({ error: { code: 'Unreachable' } });
  });

  test('drain: nodes that were drained are told of, though another had no answer', async () => {
    await http((req, res) => (req.url?.endsWith('/n2') === true ? void res.destroy() : json(res, 200, { ...node(0), name: 'n1' }, ours)));
    const { code, out, err } = await nimbus('node', 'drain', 'n1', 'n2', 'n3');
    expect({ code, out, lines: err.split('\n').slice(0, 2) }).toEqual({ code: 3, out: 'n1 takes no new leases; it holds none\n', lines: ['n2: no answer; it may be done or not', 'n3: not tried'] });
  });

  test('drain --wait waits for one that is restarted or has lost its database', async () => {
    let looks = 0;
    await http((req, res) => {
      if (req.method === 'PATCH') return json(res, 200, node(1), ours);
      looks += 1;
      const answer = away[looks - 2];
      if (answer !== undefined) return answer(res);
      json(res, 200, [node(looks > 4 ? 0 : 1)], ours);
    });
    expect(await nimbus('node', 'drain', 'n1', '--wait')).toEqual({ code: 0, out: 'n1 takes no new leases; it holds none\n', err: '' });
    expect(looks).toBe(5);
  });

  test('and not for one that stays away: 3, and how to go on', async () => {
    await http((req, res) => (req.method === 'PATCH' ? json(res, 200, node(1), ours) : void res.destroy()));
    expect(await nimbus('node', 'drain', 'n1', '--wait')).toMatchObject({ code: 3, out: '', err: expect.stringContaining('; to go on, give the same command again\n') as string });
  });

  test('remove --end-leases: a removal whose answer was lost is one', async () => {
    const asked: string[] = [];
    await http((req, res) => {
      asked.push(`${req.method ?? ''} ${(req.url ?? '').replace(/\?.*/, '')}`);
      if (req.method === 'PATCH') return json(res, 200, node(0), ours);
      if (req.method === 'GET') return json(res, 200, [], ours);
      if (asked.filter((a) => a.startsWith('DELETE')).length === 1) return void res.destroy();
      json(res, 404, { code: 'NodeNotFound', message: 'No VMM node is named n1', reasons: [] }, ours);
    });
    expect(await nimbus('node', 'remove', 'n1', '--end-leases')).toEqual({ code: 0, out: 'n1 was removed\n', err: '' });
    expect(asked).toEqual(['PATCH /v1/nodes/n1', 'GET /v1/leases', 'DELETE /v1/nodes/n1', 'DELETE /v1/nodes/n1']);
    asked.length = 0;
    expect(await nimbus('node', 'remove', 'n1')).toMatchObject({ code: 3 });
  });
});

describe('a service that takes connections', () => {
  /** Resolves when one more request for the path has come. */
  const asked = new EventEmitter();
  const coming = (path: string): Promise<unknown> => once(asked, path);
  const SECOND = 1_000;

  test.each([['user', 'list'], ['fsck'], ['fsck', '--repair'], ['doctor'], ['image', 'remove', 'x'], ['status']])('and hangs, to %s %s: 3, within seconds, and nobody works on its database meanwhile', async (...argv) => {
    await serve(createRaw((s) => void s.on('data', (bytes) => asked.emit(/^[A-Z]+ ([^ ?]+)/.exec(bytes.toString())?.[1] ?? ''))));
    const clock = manualClock();
    const alive = coming('/v1/alive');
    const connected = once(server as Server, 'connection');
    const ran = nimbusOn(clock, ...argv);
    await connected;
    await clock.advance(SECOND);
    await alive;
    await clock.advance(8 * SECOND);
    expect(await ran).toEqual({
      code: 3, out: '', err: 'nimbus: the service takes connections and does not answer: no sign of life within 8 seconds; look at its log, or end it and start it again (VMs run on)\n',
    });
  });

  /** Answers what it is asked meanwhile; the command's own answer comes when `finish` is called. */
  async function slow(path: string, answer: unknown): Promise<() => void> {
    const held: ServerResponse[] = [];
    await http((req, res) => {
      const [at = ''] = (req.url ?? '').split('?');
      asked.emit(at);
      if (at === path) held.push(res);
      else res.writeHead(204, { 'x-nimbus-version': VERSION }).end();
    });
    return () => { for (const res of held) json(res, 200, answer, { 'x-nimbus-version': VERSION }); };
  }

  /** Says on `asked` which timers are set: `again` when the service has said that it lives. */
  function watchedClock(): ManualClock {
    const clock = manualClock();
    return { ...clock, after: (ms, fn) => { if (ms === 5 * SECOND) asked.emit('again'); return clock.after(ms, fn); } };
  }

  /** Time passes, and each time that it is asked the service says that it lives. */
  async function pass(clock: ManualClock, ms: number): Promise<void> {
    for (let gone = 0; gone < ms; gone += 5 * SECOND) {
      const again = coming('again');
      await clock.advance(5 * SECOND);
      await again;
    }
  }

  test.each<[string[], string, unknown]>([
    [['fsck', '--deep'], '/v1/fsck', { looked: { leases: 0, slots: 0, images: 0, nodes: 0, asked: 0 }, problems: [], mended: [], notes: [] }],
    [['fsck', '--repair'], '/v1/fsck', { looked: { leases: 0, slots: 0, images: 0, nodes: 0, asked: 0 }, problems: [], mended: [], notes: [] }],
    [['doctor'], '/v1/doctor', []],
  ])('and works for an hour and more on %s is waited for', async (argv, path, answer) => {
    const finish = await slow(path, answer);
    const clock = watchedClock();
    const came = coming(path);
    const ran = nimbusOn(clock, ...argv);
    await came;
    await pass(clock, 65 * 60 * SECOND);
    finish();
    expect(await ran).toMatchObject({ code: 0, err: '' });
  });

  test('and lives, but does not come to a short answer: 3, after two minutes', async () => {
    await slow('/v1/users', []);
    const clock = watchedClock();
    const came = coming('/v1/users');
    const ran = nimbusOn(clock, 'user', 'list');
    await came;
    await pass(clock, 115 * SECOND);
    await clock.advance(5 * SECOND);
    expect(await ran).toEqual({ code: 3, out: '', err: expect.stringMatching(/^nimbus: the service takes connections and does not answer: no answer within 2 minutes; [^\n]+\n$/) });
  });

  test('and is older, so that it does not know what it is asked meanwhile, is alive all the same', async () => {
    const held: ServerResponse[] = [];
    await http((req, res) => {
      asked.emit(req.url ?? '');
      if (req.url === '/v1/doctor') held.push(res);
      else json(res, 400, { code: 'ActionUnknown', message: 'no', reasons: [] }, { 'x-nimbus-version': '0.0.9' });
    });
    const clock = watchedClock();
    const came = coming('/v1/doctor');
    const ran = nimbusOn(clock, 'doctor');
    await came;
    await pass(clock, 5 * 60 * SECOND);
    for (const res of held) json(res, 200, [], { 'x-nimbus-version': '0.0.9' });
    expect(await ran).toMatchObject({ code: 0 });
  });
});

test('a service that has the directory and does not listen is not said to be absent', async () => {
  mkdirSync(join(dir, 'keys'));
  const lock = await lockDataDir(testContext(), dataDirAt(dir));
  try {
    const { code, err } = await nimbus('user', 'list');
    expect(code).toBe(3);
    expect(err).toMatch(new RegExp(`^nimbus: a nimbus service \\(pid ${process.pid} on .*\\) has .*data and does not listen at .*admin\\.sock: .*try again\\n$`));
  } finally {
    await lock.release();
  }
  expect((await nimbus('user', 'list')).err).toContain('no nimbus service runs');
});
