import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ask, form, openDoor, post, signV4, type OpenDoor } from './door.ts';

let door: OpenDoor | undefined;
afterEach(async () => {
  await door?.close();
  door = undefined;
});
const open = async (...args: Parameters<typeof openDoor>): Promise<OpenDoor> => (door = await openDoor(...args));
const describeInstances = form({ Action: 'DescribeInstances' });
const text = async (r: IncomingMessage): Promise<string> => {
  let body = '';
  for await (const chunk of r) body += String(chunk);
  return body;
};

describe('the listener', () => {
  it('keeps connections, names itself, and gives every answer the id that its log lines have', async () => {
    const d = await open({ config: { server_header: 'Jetty(6.1)' } });
    const first = await ask(d, { Action: 'DescribeInstances' });
    expect(first.headers.get('server')).toBe('Jetty(6.1)');
    expect(first.headers.get('connection')).toBe('keep-alive');
    const id = first.headers.get('x-amzn-requestid');
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const run = await ask(d, { Action: 'RunInstances', ImageId: 'guest', MinCount: '1', MaxCount: '1', ClientToken: 't' });
    expect(d.manager.mutations[0]?.caller.requestId).toBe(run.headers.get('x-amzn-requestid'));
    expect(d.ctx.lines.find((l) => l.message === 'RunInstances')?.fields).toMatchObject({ requestId: run.headers.get('x-amzn-requestid'), user: 'alice' });
  });

  it('never logs what proves a client', async () => {
    const d = await open();
    await ask(d, { Action: 'DescribeInstances' });
    await ask(d, { Action: 'DescribeInstances' }, { accessKey: 'AKIDNOBODY', secret: 'tell-nobody' });
    const log = JSON.stringify(d.ctx.lines);
    for (const secret of ['secretNIMBUSTEST', 'tell-nobody', 'Signature=']) expect(log).not.toContain(secret);
  });

  it('asks for the body of a client that waits to send it', async () => {
    const d = await open();
    const req = httpRequest(d.url, { method: 'POST', headers: { ...signV4(d, describeInstances), 'expect': '100-continue', 'content-length': describeInstances.length } });
    req.flushHeaders();
    await once(req, 'continue');
    req.end(describeInstances);
    const [res] = await once(req, 'response') as [IncomingMessage];
    expect([res.statusCode, await text(res)]).toEqual([200, expect.stringContaining('<reservationSet/>')]);
  });

  it('reads user data in the URL of a GET', async () => {
    const d = await open();
    const query = form({ Action: 'DescribeInstances', UserData: Buffer.alloc(16_384, 0xfb).toString('base64') });
    const r = await fetch(`${d.url}/?${query}`);
    // Unsigned, so refused, but read.
    expect([r.status, await r.text()]).toEqual([403, expect.stringContaining('MissingAuthenticationToken')]);
  });

  it('answers any path', async () => {
    const d = await open();
    for (const path of ['/', '/services/Eucalyptus/', '/services/Cloud']) {
      const r = await fetch(d.url + path, { method: 'POST', body: describeInstances, headers: signV4(d, describeInstances) });
      expect(r.status).toBe(200);
    }
  });

  it('names the public address, its port being one that clients may sign', async () => {
    const d = await open({ config: { public_address: 'cloud.example.org:443' } });
    expect((await ask(d, { Action: 'DescribeRegions' })).body).toContain('<regionEndpoint>cloud.example.org</regionEndpoint>');
  });

  it('speaks TLS', async () => {
    const pem = (name: string): string => join(import.meta.dirname, '../fixtures/ec2-tls', name);
    const d = await open({ config: { tls_certificate: pem('cert.pem'), tls_key: pem('key.pem') } });
    expect(d.url).toBe(`https://127.0.0.1:${d.port}`);
    const req = httpsRequest(d.url, { method: 'POST', ca: readFileSync(pem('cert.pem')), agent: false, headers: signV4(d, describeInstances) });
    req.end(describeInstances);
    const [res] = await once(req, 'response') as [IncomingMessage];
    expect([res.statusCode, await text(res)]).toEqual([200, expect.stringContaining('DescribeInstancesResponse')]);
  });

  it('says why it cannot listen', async () => {
    const d = await open();
    await expect(openDoor({ config: { listen: `127.0.0.1:${d.port}` } })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});

describe('under load', () => {
  it('refuses requests beyond its bound with 503, and serves again afterwards', async () => {
    const d = await open();
    const describeNow = d.manager.leases.describe;
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => { release = resolve; });
    d.manager.leases.describe = (caller, query) => released.then(() => describeNow(caller, query));
    const asked = Array.from({ length: 530 }, () => ask(d, { Action: 'DescribeInstances' }));
    expect(await Promise.race(asked)).toMatchObject({ status: 503, code: 'RequestLimitExceeded' });
    release();
    expect(new Set((await Promise.all(asked)).map((r) => r.status))).toEqual(new Set([200, 503]));
    expect((await ask(d, { Action: 'DescribeInstances' })).status).toBe(200);
  });

  it('survives clients that go away in the middle', async () => {
    const d = await open();
    for (const bytes of ['POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc', 'POST / HT', 'GET / HTTP/1.1\r\nHost: x\r\n\r\nGET']) {
      const socket = connect(d.port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(bytes);
      socket.resetAndDestroy();
      await once(socket, 'close');
    }
    expect((await post(d, describeInstances)).status).toBe(200);
    expect(d.ctx.lines.filter((l) => l.level === 'error')).toEqual([]);
  });
});

describe('closing', () => {
  it('finishes what has begun and takes nothing new', async () => {
    const d = await openDoor();
    let go: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      d.manager.leases.describe = () => new Promise((answer) => { go = () => { answer([]); }; resolve(); });
    });
    const answer = ask(d, { Action: 'DescribeInstances' });
    await begun;
    const closed = d.close();
    go();
    expect(await answer).toMatchObject({ status: 200 });
    expect((await answer).headers.get('connection')).toBe('close');
    await closed;
    await expect(fetch(d.url)).rejects.toThrow();
  });

  it('may be asked for twice', async () => {
    const d = await openDoor();
    await d.close();
    await d.close();
  });
});
