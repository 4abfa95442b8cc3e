/** Agents that lie, babble or break off. The channel ends with a reason; nothing else is touched; nothing throws. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_LINE } from '../../../src/control/protocol.ts';
import { lineReader } from '../../../src/control/wire.ts';
import { readAgentLine } from '../../../src/control/client/lines.ts';
import { echo, fakeNode, HELLO } from './fake-agent.ts';
import { collect, isDown, isUp, listRequest, overTransports } from './setup.ts';

const turns = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i += 1) await new Promise((r) => setImmediate(r));
};

test.each<[string, unknown, RegExp]>([
  ['a second hello', { hello: HELLO }, /second hello/],
  ['an answer to nothing', { done: [{ id: 'op-x', ok: true, result: { vms: [] }, stamps: {} }] }, /answers what it was not asked/],
  ['an acknowledgement of nothing', { ack: ['op-x'] }, /acknowledges what it was not asked/],
  ['progress of nothing', { progress: { id: 'op-x', phase: 'received', at: 1 } }, /progress of what it was not asked/],
  ['a pong to no ping', { pong: 4711, at: 1 }, /ping that was not sent/],
  ['image data acknowledged that was not sent', { put: { sha256: 'ab', seq: 0, ok: true } }, /image data that was not sent/],
  ['a wrong type', { done: { id: 7, ok: true, result: {}, stamps: {} } }, /"done" with a wrong/],
  ['an unknown line', { please: 'give me root' }, /no line of this protocol: "\{.*please/],
  ['a prototype’s name', { constructor: 1 }, /no line of this protocol/],
])('%s ends the channel with its reason', async (_, line, reason) => {
  const bad = fakeNode({});
  const good = fakeNode({ onLine: echo });
  const { client, when } = overTransports([bad.transport, good.transport]);
  await Promise.all([when(1, isUp), when(2, isUp)]);
  const waiting = collect(client, [{ nodeId: 1, requests: [listRequest()] }]);
  bad.agents[0]?.say(line);
  expect(await waiting).toMatchObject([{ lost: 'unreachable', reason: expect.stringMatching(reason) as string }]);
  expect(await bad.agents[0]?.closed).toBe('closed broken');
  expect(await collect(client, [{ nodeId: 2, requests: [listRequest()] }])).toMatchObject([{ done: { ok: true } }]);
  await client.close();
});

test.each<[string, (say: (line: unknown) => void, id: string) => void]>([
  ['progress', (say, id) => { for (let i = 0; i < 100; i += 1) say({ progress: { id, phase: 'received', at: 1 } }); }],
  ['acknowledgements', (say, id) => { for (let i = 0; i < 100; i += 1) say({ ack: [id] }); }],
  ['events', (say) => { for (let i = 0; i < 5000; i += 1) say({ event: { kind: 'vm-exited', lease: 'i-1', generation: 1, at: 1, reason: '' } }); }],
])('endless %s end the channel', async (_, babble) => {
  const node = fakeNode({});
  const { client, when } = overTransports([node.transport]);
  await when(1, isUp);
  const request = listRequest();
  const waiting = collect(client, [{ nodeId: 1, requests: [request] }]);
  babble((l) => node.agents[0]?.say(l), request.id);
  expect(await waiting).toMatchObject([{ lost: 'unreachable', reason: expect.stringMatching(/broke the protocol/) as string }]);
  await client.close();
});

test('a line without end is dropped at the bound, before and after the hello', async () => {
  for (const hello of [undefined, null]) {
    const node = fakeNode(hello === null ? { hello } : {});
    const { client, when } = overTransports([node.transport]);
    await expect.poll(() => node.agents.length).toBe(1);
    for (let i = 0; i < 17; i += 1) node.agents[0]?.sayRaw(Buffer.alloc(MAX_LINE / 16, 'x'));
    expect((await when(1, isDown)).reason).toMatch(/a line is too long/);
    await client.close();
  }
});

test('no bytes of an agent make the client throw, hang or answer twice', async () => {
  const value = fc.oneof(
    fc.json().map((s) => JSON.parse(s) as unknown),
    fc.record({ done: fc.anything() }), fc.record({ ack: fc.anything() }), fc.record({ hello: fc.anything() }),
    fc.record({ put: fc.anything() }), fc.record({ pong: fc.anything(), at: fc.anything() }), fc.constant({ hello: HELLO }),
  );
  const piece = fc.oneof(value.map((v) => Buffer.from(`${safeJson(v)}\n`)), fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from(b)));
  await fc.assert(fc.asyncProperty(fc.array(piece, { maxLength: 20 }), fc.boolean(), async (pieces, greets) => {
    const node = fakeNode(greets ? {} : { hello: null });
    const { client } = overTransports([node.transport], { graceMs: 0 });
    await turns(3);
    const requests = [listRequest(20), listRequest(20)];
    const answers = collect(client, [{ nodeId: 1, requests }]);
    for (const p of pieces) node.agents[0]?.sayRaw(p);
    expect((await answers).map((a) => a.id).sort()).toEqual(requests.map((r) => r.id).sort());
    await client.close();
  }), { numRuns: 60 });
});

test('what is read of a line is a line of the protocol or a printable sentence', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), fc.anything().map(safeJson)), (text) => {
    const read = readAgentLine(text);
    if (typeof read === 'string') expect(read).toMatch(/^[\x20-\x7e…]*$/);
    else expect(Object.keys(read).length).toBeGreaterThan(0);
  }));
});

test('lines come out whole, however the stream is cut', () => {
  const text = fc.array(fc.string({ unit: 'binary' }).map((s) => s.replace(/\n/g, '')), { maxLength: 20 });
  fc.assert(fc.property(text, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (lines, cuts) => {
    const expected = lines.map((l) => Buffer.from(l).toString());
    const bytes = Buffer.from(lines.map((l) => `${l}\n`).join(''));
    const got: string[] = [];
    const read = lineReader((l) => got.push(l), () => { throw new Error('too long'); });
    for (let at = 0, i = 0; at < bytes.length; i += 1) {
      const size = cuts[i % cuts.length] ?? 1;
      read(bytes.subarray(at, at + size));
      at += size;
    }
    expect(got).toEqual(expected);
  }));
});

function safeJson(v: unknown): string {
  try {
    return JSON.stringify(v, (_k, x: unknown) => (typeof x === 'bigint' ? String(x) : x)) ?? 'null';
  } catch {
    return 'null';
  }
}
