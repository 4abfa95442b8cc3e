/** Requests that stop being requests in their body, and connections that send on without reading. */
import { afterEach, expect, it } from 'vitest';
import { converse, rawRequest } from '../support/raw-http.ts';
import { form, openDoor, signV4, type OpenDoor } from './door.ts';

let door: OpenDoor;
afterEach(async () => { await door.close(); });

it('a body whose chunks cannot be read gets its coded answer', async () => {
  door = await openDoor();
  const answers = await converse(door.port, rawRequest('POST / HTTP/1.1', { 'Host': 'x', 'Transfer-Encoding': 'chunked' }, '-1\r\n\r\n'));
  expect(answers).toMatchObject([{ status: 400, code: 'MalformedQueryString' }]);
});

it('a body that never comes is told 408', async () => {
  door = await openDoor({ limits: { requestTimeout: 300, headersTimeout: 200, connectionsCheckingInterval: 50 } });
  const answers = await converse(door.port, rawRequest('POST / HTTP/1.1', { 'Host': 'x', 'Content-Length': '9' }, 'A'));
  expect(answers).toMatchObject([{ status: 408, code: 'RequestTimeout' }]);
});

it('one connection that sends on without reading leaves room for the others', async () => {
  door = await openDoor();
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => { release = resolve; });
  let carriedOut = 0;
  door.manager.leases.describe = () => {
    carriedOut += 1;
    return released.then(() => []);
  };
  const body = form({ Action: 'DescribeInstances' });
  const one = rawRequest('POST / HTTP/1.1', { ...signV4(door, body), Host: `127.0.0.1:${door.port}` }, body);
  const last = rawRequest('POST / HTTP/1.1', { ...signV4(door, body), Host: `127.0.0.1:${door.port}`, Connection: 'close' }, body);
  const pipelined = converse(door.port, one.repeat(600) + last);
  const other = form({ Action: 'DescribeRegions' });
  const elsewhere = rawRequest('POST / HTTP/1.1', { ...signV4(door, other), Host: `127.0.0.1:${door.port}`, Connection: 'close' }, other);
  await expect.poll(() => carriedOut, { interval: 5 }).toBe(1);
  expect(await converse(door.port, elsewhere)).toMatchObject([{ status: 200 }]);
  expect(carriedOut).toBe(1);
  release();
  expect((await pipelined).map((a) => a.status)).toEqual(Array.from({ length: 601 }, () => 200));
});
