/** The whole service against what the Internet sends: every refusal is coded, nothing is written, nothing leaks, service goes on. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from 'vitest';
import { form } from '../ec2/door.ts';
import { openContents, type Contents } from '../support/contents.ts';
import { askAs, newUser, portOf, sendBody, signedHeaders, type Keys } from '../support/query.ts';
import { converse, openSocket, rawRequest } from '../support/raw-http.ts';
import { startServe, type Serve } from '../support/serve.ts';

const SITE = '[[local_nodes]]\nname = "n1"\ndriver = "simulated"\nmemory_mb = 4096\ncores = 32\n';
const RUN = { Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '1', MaxCount: '1' };
const LIST = { Action: 'DescribeInstances' };
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

let serve: Serve;
let contents: Contents;
let port: number;
let alice: Keys;
let before: Readonly<Record<string, string>>;

beforeAll(async () => {
  serve = await startServe(SITE);
  port = portOf(serve);
  alice = await newUser(serve, 'alice');
  contents = await openContents(serve.dataDir);
});
afterAll(async () => {
  await contents?.close();
  expect(await serve?.stop()).toBe(0);
});
beforeEach(async () => { before = await contents.read(); });
afterEach(async () => {
  expect(await contents.read()).toEqual(before);
  expect(serve.log()).not.toMatch(/"level":"error"/);
});

const signed = (body: string): Record<string, string> => ({ Host: `127.0.0.1:${port}`, ...signedHeaders(serve, alice, body) });
const ask = (params: Readonly<Record<string, string>>, who = alice): ReturnType<typeof sendBody> => askAs(serve, who)(params);
const serves = async (): Promise<void> => { expect(await ask(LIST)).toMatchObject({ status: 200 }); };
function expectCoded(r: { status: number; code: string; body?: string; text?: string }, status: number, code: string): void {
  const body = r.body ?? r.text ?? '';
  expect([r.status, r.code], body).toEqual([status, code]);
  expect(body).toMatch(/<RequestID>[0-9a-f-]{36}<\/RequestID>/);
  expect(body).not.toMatch(/\bat .*\.(?:ts|js|mjs|cjs):\d|node_modules|postgres|\/src\//);
}

describe('credentials', () => {
  // Who is not authenticated leaves nothing at all.
  let signatures: number;
  beforeEach(async () => { signatures = await contents.signatures(); });
  afterEach(async () => { expect(await contents.signatures()).toBe(signatures); });

  it('unsigned, of nobody, wrongly signed, of another body, stale, in the future', async () => {
    const body = form(RUN);
    expectCoded(await sendBody(serve, body, FORM), 403, 'MissingAuthenticationToken');
    expectCoded(await ask(RUN, { accessKey: 'NIMBNOBODY', secret: 'x' }), 403, 'InvalidClientTokenId');
    expectCoded(await ask(RUN, { ...alice, secret: 'wrong' }), 403, 'SignatureDoesNotMatch');
    expectCoded(await sendBody(serve, form({ ...RUN, MaxCount: '2' }), signedHeaders(serve, alice, body)), 403, 'SignatureDoesNotMatch');
    for (const off of [-3_600_000, 3_600_000]) {
      expectCoded(await sendBody(serve, body, signedHeaders(serve, alice, body, Date.now() + off)), 400, 'RequestExpired');
    }
    for (const accessKey of ["' OR 1=1 --", '../../x', 'x'.repeat(5000), '\u{1f600}']) {
      const r = await sendBody(serve, `${body}&AWSAccessKeyId=${encodeURIComponent(accessKey)}&SignatureVersion=2&SignatureMethod=HmacSHA256&Timestamp=${encodeURIComponent(new Date().toISOString())}&Signature=x`, FORM);
      expect([401, 403], r.body).toContain(r.status);
    }
  });
});

describe('requests', () => {
  it.each<[string, Record<string, string>, string]>([
    ['an unknown action', { Action: 'FlyToTheMoon' }, 'InvalidAction'], ['an unknown parameter', { ...RUN, Colour: 'red' }, 'UnknownParameter'],
    ['an absurd count', { ...RUN, MinCount: '999999999', MaxCount: '999999999' }, 'InstanceLimitExceeded'], ['a negative count', { ...RUN, MinCount: '-1' }, 'InvalidParameterValue'],
    ['more than a group may have', { ...RUN, MinCount: '101', MaxCount: '101' }, 'InstanceLimitExceeded'],
    ['a path for an image', { ...RUN, ImageId: '../../etc/shadow' }, 'InvalidAMIID.Malformed'], ['an unknown image', { ...RUN, ImageId: 'ami-00000000000000000' }, 'InvalidAMIID.NotFound'],
    ['a path for a key', { ...RUN, KeyName: '../x' }, 'InvalidParameterValue'], ['an unknown key', { ...RUN, KeyName: 'nobody' }, 'InvalidKeyPair.NotFound'],
    ['a shell for a type', { ...RUN, InstanceType: 'm1.small;reboot' }, 'InvalidParameterValue'], ['an unknown type', { ...RUN, InstanceType: 'm9.huge' }, 'InvalidParameterValue'],
    ['an unknown zone', { ...RUN, 'Placement.AvailabilityZone': 'mars-1' }, 'InvalidParameterValue'],
    ['an unknown lease', { Action: 'TerminateInstances', 'InstanceId.1': 'i-00000000000000000' }, 'InvalidInstanceID.NotFound'],
    ['a path for a lease', { Action: 'GetConsoleOutput', InstanceId: '../../x' }, 'InvalidInstanceID.Malformed'],
    ['a negative time', { ...RUN, 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'nimbus:duration', 'TagSpecification.1.Tag.1.Value': '-1h' }, 'InvalidParameterValue'],
    ['a time beyond all policy', { ...RUN, 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'nimbus:duration', 'TagSpecification.1.Tag.1.Value': '99999999d' }, 'InvalidParameterValue'],
    ['no public key', { Action: 'ImportKeyPair', KeyName: 'k', PublicKeyMaterial: Buffer.from('ssh-rsa $(reboot)').toString('base64') }, 'InvalidKey.Format'],
    ['a tag on nothing', { Action: 'CreateTags', 'ResourceId.1': 'i-00000000000000000', 'Tag.1.Key': 'a', 'Tag.1.Value': 'b' }, 'InvalidInstanceID.NotFound'],
  ])('with %s', async (_what, params, code) => { expectCoded(await ask(params), 400, code); });

  it.each<[string, string | Buffer, number, string]>([
    ['cut percent-encoding', 'Action=%4', 400, 'MalformedQueryString'], ['octets that are no UTF-8', Buffer.from([0x41, 0x3d, 0xff]), 400, 'MalformedQueryString'],
    ['NUL', 'Action=a%00b', 400, 'MalformedQueryString'], ['10,000 parameters', Array.from({ length: 10_000 }, (_, i) => `InstanceId.${i}=i-1`).join('&'), 413, 'RequestEntityTooLarge'],
    ['2 MiB', 'a'.repeat(2 * 2 ** 20), 413, 'RequestEntityTooLarge'],
  ])('with %s', async (_what, body, status, code) => {
    expectCoded(await sendBody(serve, body, FORM), status, code);
  });

  it('that are XML, well-formed, malformed, or meant to blow up', async () => {
    const laughs = `<!DOCTYPE a [<!ENTITY a "ha">${Array.from({ length: 20 }, (_, i) => `<!ENTITY a${i} "&a${i - 1};&a${i - 1};">`).join('')}]><a>&a19;</a>`;
    for (const body of ['<a/>', '<a><b></a>', laughs, '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>']) {
      const r = await sendBody(serve, body, { 'content-type': 'text/xml' });
      expect(r.status, r.body).toBe(500);
      expect(r.body).toMatch(/<faultcode>aws:Client\.InvalidSOAPRequest<\/faultcode>.*<aws:RequestId>[0-9a-f-]{36}<\/aws:RequestId>/);
      expect(r.body).not.toMatch(/haha|root:/);
    }
  });
});

describe('HTTP that two readers would read differently', () => {
  const next = 'GET /?Action=Smuggled HTTP/1.1\r\nHost: x\r\n\r\n';
  const POST = 'POST / HTTP/1.1';
  it.each<[string, string]>([
    ['a length and chunks', rawRequest(POST, { 'Host': 'x', 'Content-Length': '5', 'Transfer-Encoding': 'chunked' }, `0\r\n\r\n${next}`)],
    ['two lengths', `${POST}\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: ${next.length}\r\n\r\n${next}`],
    ['a list of lengths', rawRequest(POST, { 'Host': 'x', 'Content-Length': `0, ${next.length}` }, next)],
    ['a signed length', rawRequest(POST, { 'Host': 'x', 'Content-Length': '+5' }, next)],
    ['a negative length', rawRequest(POST, { 'Host': 'x', 'Content-Length': '-5' }, next)],
    ['a hexadecimal length', rawRequest(POST, { 'Host': 'x', 'Content-Length': '0x5' }, next)],
    ['a length beyond all numbers', rawRequest(POST, { 'Host': 'x', 'Content-Length': '99999999999999999999999' }, next)],
    ['a coding that is not the last', rawRequest(POST, { 'Host': 'x', 'Transfer-Encoding': 'chunked, identity' }, `0\r\n\r\n${next}`)],
    ['space before the colon', rawRequest(POST, { 'Host': 'x', 'Transfer-Encoding ': 'chunked' }, `0\r\n\r\n${next}`)],
    ['a folded header', `${POST}\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n${next}`],
    ['NUL in a header', rawRequest(POST, { 'Host': 'x', 'X-A': 'a\0b' }, next)],
    ['a bare CR in a header', rawRequest(POST, { 'Host': 'x', 'X-A': 'a\rContent-Length: 5' }, next)],
    ['another version', `POST / HTTP/9.9\r\nHost: x\r\n\r\n${next}`],
    ['another protocol', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${next}`],
    ['a negative chunk', rawRequest(POST, { 'Host': 'x', 'Transfer-Encoding': 'chunked' }, `-1\r\n\r\n${next}`)],
    ['an endless chunk', rawRequest(POST, { 'Host': 'x', 'Transfer-Encoding': 'chunked' }, `fffffffffffffffff\r\na\r\n${next}`)],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ])('%s: one coded refusal, and what follows is not read', async (_what, bytes) => {
    const all = await converse(port, Buffer.from(bytes, 'latin1'));
    expect(all.map((a) => a.status)).toEqual([400]);
    expectCoded(all[0]!, 400, 'MalformedQueryString');
    await serves();
  });

  it('an unknown coding: what follows is not read', async () => {
    const bytes = rawRequest(POST, { 'Host': 'x', 'Transfer-Encoding': 'xchunked' }, `0\r\n\r\n${next}`);
    expect((await converse(port, bytes)).filter((a) => a.status !== 400)).toEqual([]);
    await serves();
  });

  it('headers beyond the limit: 431', async () => {
    for (const head of [{ 'X-A': 'a'.repeat(140_000) }, Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`X-${i}`, 'a'.repeat(30)]))]) {
      const all = await converse(port, rawRequest('GET / HTTP/1.1', { Host: 'x', ...head }));
      expectCoded(all[0]!, 431, 'RequestEntityTooLarge');
    }
    await serves();
  });

  it('headers that stand twice do not sign twice', async () => {
    const body = form(LIST);
    const head = signed(body);
    const twice = rawRequest('POST / HTTP/1.1', { ...head, Connection: 'close' }, body).replace('\r\n\r\n', `\r\nAuthorization: ${head['authorization']}\r\nHost: elsewhere\r\n\r\n`);
    const [one, ...more] = await converse(port, twice);
    expect(more).toEqual([]);
    expect([400, 401, 403], one?.text).toContain(one?.status);
    expect(one?.code).not.toBe('');
  });
});

describe('HTTP that is unusual and right', () => {
  it('chunks, pipelined requests, HTTP/1.0', async () => {
    const body = form(LIST);
    const chunked = rawRequest('POST / HTTP/1.1', { ...signed(body), 'Transfer-Encoding': 'chunked' }, `${body.length.toString(16)};x=y\r\n${body}\r\n0\r\nTrailer: x\r\n\r\n`);
    const whole = rawRequest('POST / HTTP/1.1', signed(body), body);
    const last = rawRequest('POST / HTTP/1.1', { ...signed(body), Connection: 'close' }, body);
    expect((await converse(port, chunked + whole + last)).map((a) => a.status)).toEqual([200, 200, 200]);
    expect((await converse(port, rawRequest('POST / HTTP/1.0', signed(body), body))).map((a) => a.status)).toEqual([200]);
  });

  it('pipelined requests are answered one by one, in order', async () => {
    const last = rawRequest('GET / HTTP/1.1', { Host: 'x', Connection: 'close' });
    const gets = Array.from({ length: 300 }, (_, i) => rawRequest(i % 2 === 0 ? 'GET /?Action=%zz HTTP/1.1' : 'GET / HTTP/1.1', { Host: 'x' }));
    const codes = (await converse(port, gets.join('') + last)).map((a) => a.code);
    expect(codes).toEqual([...gets.map((_, i) => (i % 2 === 0 ? 'MalformedQueryString' : 'MissingAuthenticationToken')), 'MissingAuthenticationToken']);
    await serves();
  });
});

describe('clients that do not end', () => {
  it('10,000 connections at once are held within a bound, and the service answers when they go', { timeout: 360_000 }, async () => {
    const sockets: Socket[] = [];
    let closed = 0;
    let enough: () => void = () => undefined;
    const refused = new Promise<void>((resolve) => { enough = resolve; });
    for (let i = 0; i < 50; i++) {
      sockets.push(...await Promise.all(Array.from({ length: 200 }, async () => {
        const socket = await openSocket(port);
        socket.on('close', () => { if (++closed >= 10_000 - 4096) enough(); });
        socket.resume().write('POST / HTTP/1.1\r\nHost: x\r\n');
        return socket;
      })));
    }
    await refused;
    await Promise.all(sockets.filter((socket) => !socket.closed).map((socket) => {
      socket.destroy();
      return once(socket, 'close');
    }));
    await expect.poll(() => ask(LIST).then((r) => r.status, () => 0), { timeout: 60_000 }).toBe(200);
  });

  it('heads that trickle, bodies that never come and silence are ended with 408 or a close', { timeout: 600_000 }, async () => {
    const silent = await openSocket(port);
    const trickling = await openSocket(port);
    trickling.write('POST / HTTP/1.1\r\nHost: x\r\n');
    const drip = setInterval(() => trickling.write('X: y\r\n'), 500);
    try {
      const [stalled] = await Promise.all([
        converse(port, rawRequest('POST / HTTP/1.1', { 'Host': 'x', 'Content-Length': '100' }, 'Action=')),
        once(silent.resume(), 'close'), once(trickling.resume(), 'close'),
      ]);
      expect(stalled.filter((a) => a.status !== 408)).toEqual([]);
    } finally {
      clearInterval(drip);
    }
    await serves();
  });
});
