import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createAdminClient } from '../../src/cli/client.ts';
import { Refused } from '../../src/cli/exit.ts';
import { Fault } from '../../src/lease/faults.ts';
import { aLease, aNode, openFakeSite, type FakeSite } from '../support/admin-fakes.ts';

let site: FakeSite;
beforeEach(async () => { site = await openFakeSite(); });
afterEach(() => site.close());

interface Answer { status: number; body: { code?: string; message?: string; reasons?: string[]; requestId?: string } & Record<string, unknown> }

function ask(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath: site.socket, method, path, agent: false, headers: { 'content-type': 'application/json', ...headers } }, (res) => {
      let text = '';
      res.on('data', (d: Buffer) => { text += d.toString(); });
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body: (text === '' ? {} : JSON.parse(text)) as Answer['body'] }));
    });
    req.on('error', reject);
    req.end(body);
  });
}

describe('every verb reaches its use case with what was sent', () => {
  const ID = 'i-0123456789abcdef0';
  const admin = expect.objectContaining({ door: 'admin', admin: true, name: 'admin' }) as unknown;
  test.each<[string, string, unknown, string, unknown[]]>([
    ['GET', '/v1/users', undefined, 'users.list', []],
    ['POST', '/v1/users', { name: 'alice' }, 'users.add', ['alice', false, []]],
    ['POST', '/v1/users', { name: 'alice', admin: true, dns: ['/O=Grid/CN=Alice'] }, 'users.add', ['alice', true, ['/O=Grid/CN=Alice']]],
    ['POST', '/v1/users/alice/dns', { dn: '/O=Grid/CN=A B' }, 'users.addDn', ['alice', '/O=Grid/CN=A B']],
    ['POST', '/v1/users/alice/certificates', { certificate: 'PEM' }, 'users.addCertificate', ['alice', 'PEM']],
    ['GET', '/v1/users/alice/certificates', undefined, 'users.certificates', ['alice']],
    ['DELETE', '/v1/users/alice/certificates/3f6c1e0b9a7d2c45', undefined, 'users.removeCertificate', ['alice', '3f6c1e0b9a7d2c45']],
    ['DELETE', '/v1/users/alice/dns/%2FO%3DGrid%2FCN%3DA%20B', undefined, 'users.removeDn', ['alice', '/O=Grid/CN=A B']],
    ['DELETE', '/v1/users/alice', undefined, 'users.remove', ['alice']],
    ['POST', '/v1/users/alice/keys', undefined, 'users.addKey', ['alice']],
    ['DELETE', '/v1/users/alice/keys/NIMB', undefined, 'users.deactivateKey', ['alice', 'NIMB']],
    ['GET', '/v1/nodes', undefined, 'nodes.list', []],
    ['POST', '/v1/nodes', { name: 'n1', memoryMb: 4, cores: 1, access: { transport: 'ssh', host: 'h', port: 22, user: 'root', hostKey: 'k' } }, 'nodes.add',
      [{ name: 'n1', zone: 'default', memoryMb: 4, cores: 1, networks: ['*'], access: { transport: 'ssh', host: 'h', port: 22, user: 'root', hostKey: 'k' } }]],
    ['PATCH', '/v1/nodes/n1', { active: false }, 'nodes.setActive', ['n1', false]],
    ['DELETE', '/v1/nodes/n1', undefined, 'nodes.remove', ['n1']],
    ['GET', '/v1/images', undefined, 'images.list', []],
    ['POST', '/v1/images', { name: 'a', file: '/a.raw' }, 'images.add', [{ name: 'a', owner: null, file: '/a.raw', description: '' }]],
    ['DELETE', '/v1/images?id=ami-1', undefined, 'images.remove', [{ id: 'ami-1' }]],
    ['DELETE', '/v1/images?name=a&owner=alice', undefined, 'images.remove', [{ name: 'a', owner: 'alice' }]],
    ['DELETE', '/v1/images?name=a', undefined, 'images.remove', [{ name: 'a', owner: null }]],
    ['GET', '/v1/networks', undefined, 'networks.list', []],
    ['POST', '/v1/networks', { name: 'p', kind: 'user', netmask: '24' }, 'networks.add', [{ name: 'p', kind: 'user', netmask: '24' }]],
    ['DELETE', '/v1/networks/p', undefined, 'networks.remove', ['p']],
    ['GET', '/v1/networks/p/addresses', undefined, 'networks.addresses', ['p']],
    ['POST', '/v1/networks/p/addresses', [{ ip: '192.0.2.1' }], 'networks.addAddresses', ['p', [{ ip: '192.0.2.1' }]]],
    ['DELETE', '/v1/networks/p/addresses/192.0.2.1', undefined, 'networks.removeAddress', ['p', '192.0.2.1']],
    ['GET', '/v1/leases?user=alice&live=false', undefined, 'leases.describe', [admin, { live: false, limit: 1000, account: 'alice' }]],
    ['PUT', `/v1/leases/${ID}/end`, { duration: '2h' }, 'leases.setEnd', [admin, [ID], { durationS: 7200 }]],
    ['PUT', `/v1/leases/${ID}/end`, { endsAt: 5 }, 'leases.setEnd', [admin, [ID], { endsAt: 5 }]],
    ['POST', `/v1/leases/${ID}/destroy`, { why: 'rack 2' }, 'leases.end', [admin, [ID], 'rack 2']],
    ['POST', `/v1/leases/${ID}/destroy`, undefined, 'leases.end', [admin, [ID], 'ended by an administrator']],
    ['GET', '/v1/slots', undefined, 'slots.list', [{ live: true }]],
    ['GET', '/v1/slots?live=false&user=alice&node=n1.example.org&partition=grid', undefined, 'slots.list', [{ live: false, user: 'alice', node: 'n1.example.org', partition: 'grid' }]],
    ['GET', '/v1/slots/sl-0123456789ab', undefined, 'slots.show', ['sl-0123456789ab']],
    ['POST', '/v1/slots/sl-0123456789ab/kill', { why: 'rack 2' }, 'slots.kill', [admin, 'sl-0123456789ab', 'rack 2']],
    ['POST', '/v1/kill-all', {}, 'slots.killAll', [admin, {}, 'all slots ended by an administrator']],
    ['POST', '/v1/kill-all', { node: 'n1', why: 'x' }, 'slots.killAll', [admin, { node: 'n1' }, 'x']],
    ['GET', `/v1/breakdown/${ID}`, undefined, 'breakdown.of', [ID]],
    ['POST', `/v1/leases/${ID}/forget`, undefined, 'leases.forget', [admin, [ID], 'forgotten by an administrator']],
    ['GET', '/v1/usage?user=alice&since=5', undefined, 'usage.list', [{ user: 'alice', since: 5 }]],
  ])('%s %s', async (method, path, body, name, args) => {
    site.on(name, () => []);
    const { status } = await ask(method, path, body === undefined ? undefined : JSON.stringify(body));
    expect([200, 204]).toContain(status);
    expect(site.calls).toEqual([{ name, args }]);
  });
});

test('a lease is shown with its events; its console as base64', async () => {
  const lease = aLease();
  site.on('leases.describe', () => [lease]);
  site.on('leases.events', () => [{ seq: 1 }]);
  site.on('leases.console', () => ({ bytes: Buffer.from('hello'), at: 9 }));
  expect((await ask('GET', `/v1/leases/${lease.id}`)).body).toMatchObject({ id: lease.id, work: null, events: [{ seq: 1 }] });
  const work = { operation: 'remove', since: 5, askedAgain: 2, nextAt: 7, error: 'no answer' };
  site.on('work.of', () => work);
  expect((await ask('GET', `/v1/leases/${lease.id}`)).body).toMatchObject({ work });
  expect((await ask('GET', `/v1/leases/${lease.id}/console`)).body).toEqual({ output: 'aGVsbG8=', at: 9 });
});

test('the status names version, pid, endpoint, database and nodes', async () => {
  site.on('nodes.list', () => [aNode()]);
  expect((await ask('GET', '/v1/status')).body).toMatchObject({ version: '0.1.0', pid: 4711, ec2: 'http://127.0.0.1:8444/', nodes: [{ name: 'n1' }] });
});

describe('refusals', () => {
  test('a Fault keeps its code, status, message and reasons, and has the request id', async () => {
    site.on('users.remove', () => { throw new Fault('NodeInUse', 'no', ['i-1 runs there']); });
    const { status, body } = await ask('DELETE', '/v1/users/alice');
    expect(status).toBe(400);
    expect(body).toEqual({ code: 'NodeInUse', message: 'no', reasons: ['i-1 runs there'], requestId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
  });

  test('a mistake of ours is told without its text, and logged with it under the same request id', async () => {
    site.on('users.list', () => { throw new TypeError('secret internals'); });
    const { status, body } = await ask('GET', '/v1/users');
    expect(status).toBe(500);
    expect(JSON.stringify(body)).not.toContain('internals');
    expect(site.context.lines.find((l) => l.level === 'error')?.fields).toMatchObject({ requestId: body.requestId, error: expect.objectContaining({ message: 'secret internals' }) as unknown });
  });

  test.each<[string, string, string | undefined, number, string, RegExp]>([
    ['POST', '/v1/users', '{"name":', 400, 'RequestMalformed', /must be JSON/],
    ['POST', '/v1/users', '{"name":"../x","role":1}', 400, 'ParameterInvalid', /name: must be 1 to 64.*unknown key role/],
    ['POST', '/v1/users', undefined, 400, 'ParameterInvalid', /name: /],
    ['POST', '/v1/nodes', '{"name":"a","memoryMb":-1,"cores":1,"access":{"transport":"local","stateDir":"x"}}', 400, 'ParameterInvalid', /memoryMb.*access\.stateDir: must be an absolute path/],
    ['DELETE', '/v1/images', undefined, 400, 'ParameterInvalid', /id|name/],
    ['GET', '/v1/leases/i-zzz', undefined, 400, 'LeaseIdMalformed', /i-zzz/],
    ['PUT', '/v1/leases/i-0123456789abcdef0/end', '{"duration":"soon"}', 400, 'ParameterInvalid', /"soon" is no duration/],
    ['GET', '/v1/leases?limit=5000', undefined, 400, 'ParameterInvalid', /limit/],
    ['GET', '/v1/usage?since=x', undefined, 400, 'ParameterInvalid', /since/],
    ['GET', '/v1/usage?since=9007199254740991', undefined, 400, 'ParameterInvalid', /since/],
    ['GET', '/v1/events?after=garbage', undefined, 400, 'ParameterInvalid', /after: must be the cursor of an event/],
    ['GET', '/v1/events?after=1.x', undefined, 400, 'ParameterInvalid', /after: must be the cursor of an event/],
    ['GET', '/v1/events?after=18446744073709551616.1', undefined, 400, 'ParameterInvalid', /after: must be the cursor of an event/],
    ['GET', '/v1/slots?node=a%20b', undefined, 400, 'ParameterInvalid', /node: must be the name of a host/],
    ['POST', '/v1/kill-all', '{"nod":"n1"}', 400, 'ParameterInvalid', /unknown key nod/],
    ['GET', '/v1/doctor', undefined, 400, 'Unsupported', /does not look after itself/],
    ['GET', '/v1/nothing', undefined, 400, 'ActionUnknown', /no GET \/v1\/nothing/],
    ['GET', '/', undefined, 400, 'ActionUnknown', /no GET \//],
    ['GET', '/v1/users/%zz', undefined, 400, 'ActionUnknown|RequestMalformed', /./],
  ])('%s %s %s', async (method, path, sent, status, code, said) => {
    const { body, status: got } = await ask(method, path, sent);
    expect({ got, code: body.code }).toEqual({ got: status, code: expect.stringMatching(new RegExp(`^(?:${code})$`)) as string });
    expect([body.message, ...(body.reasons ?? [])].join(' ')).toMatch(said);
    expect(site.calls).toEqual([]);
  });

  test('a body over the limit', async () => {
    const { status, body } = await ask('POST', '/v1/users', JSON.stringify({ name: 'x'.repeat(9 * 1024 * 1024) }));
    expect({ status, code: body.code }).toEqual({ status: 413, code: 'RequestTooLarge' });
  });

  test('whatever JSON is sent, no use case sees it unchecked and no answer is a 500', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom('/v1/users', '/v1/nodes', '/v1/images', '/v1/networks', '/v1/networks/p/addresses'), fc.json(), async (path, json) => {
      const { status } = await ask('POST', path, json);
      expect(status).toBe(400);
    }), { numRuns: 60 });
    expect(site.calls).toEqual([]);
  });

  test('nor whatever is said in place of a cursor', async () => {
    await fc.assert(fc.asyncProperty(fc.string(), async (after) => {
      expect((await ask('GET', `/v1/events?${new URLSearchParams({ after }).toString()}`)).status).toBe(400);
    }), { numRuns: 60 });
    expect(site.calls).toEqual([]);
  });
});

describe('the socket', () => {
  test('is its owner’s alone', () => {
    expect(statSync(site.socket).mode & 0o777).toBe(0o600);
  });

  test('that a dead service left is taken over', async () => {
    const { dataDir } = site;
    await site.close();
    const { openDataDir } = await import('../../src/platform/datadir.ts');
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(join(openDataDir(dataDir).run, 'other.sock'), resolve));
    const { renameSync } = await import('node:fs');
    renameSync(join(dataDir, 'run', 'other.sock'), join(dataDir, 'run', 'admin.sock'));
    dead.close();
    site = await openFakeSite(dataDir);
    site.on('users.list', () => []);
    expect((await ask('GET', '/v1/users')).status).toBe(200);
  });

  test('that was removed is there again, and the log says so', async () => {
    rmSync(site.socket);
    await expect(ask('GET', '/v1/alive')).rejects.toThrow('ENOENT');
    await expect.poll(() => existsSync(site.socket), { timeout: 20_000 }).toBe(true);
    expect(await ask('GET', '/v1/alive')).toMatchObject({ status: 204 });
    expect(statSync(site.socket).mode & 0o777).toBe(0o600);
    expect(site.context.lines).toContainEqual(expect.objectContaining({ level: 'warn', message: 'the admin socket was removed, and is there again' }));
  }, 30_000);

  test('says that it lives without asking anybody', async () => {
    expect(await ask('GET', '/v1/alive')).toMatchObject({ status: 204 });
  });

  test('works in a directory that is too deep for its name', async () => {
    await site.close();
    const deep = join(mkdtempSync(join(tmpdir(), 'ad-')), 'd'.repeat(90), 'data');
    site = await openFakeSite(deep);
    site.on('users.remove', () => { throw new Fault('UserNotFound', 'no user'); });
    await expect(createAdminClient(deep).delete('/v1/users/x')).rejects.toThrow(Refused);
  });
});
