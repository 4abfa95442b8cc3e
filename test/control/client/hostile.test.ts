/** Agents that lie, babble or break off. The channel ends with a reason; nothing else is touched; nothing throws. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_LINE, PUT_CHUNK, PUT_WINDOW, type AgentRequest, type Done, type ImageRef } from '../../../src/control/protocol.ts';
import type { ChannelState } from '../../../src/control/types.ts';
import { lineReader } from '../../../src/control/wire.ts';
import { readAgentLine } from '../../../src/control/client/lines.ts';
import { echo, fakeNode, HELLO, succeed } from './fake-agent.ts';
import { manualClock } from './manual-clock.ts';
import { collect, ctx, imageOf, isDown, isUp, listRequest, overTransports, startRequest } from './setup.ts';

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

test('an agent that talks and answers no ping is given up; its pings are not remembered for ever', async () => {
  const clock = manualClock();
  // Each ping is heard, and something else is said.
  const node = fakeNode({ mute: true, onLine: (l, agent) => { if ('ping' in l) agent.say({ ack: [] }); } });
  const { client, when } = overTransports([node.transport], { silenceMs: 1_000 }, { ...ctx, clock });
  await when(1, isUp);
  let down: ChannelState | undefined;
  void when(1, isDown).then((s) => { down = s; });
  for (let pings = 0; pings < 200 && down === undefined; pings += 1) await clock.advance(200);
  expect(down?.reason).toMatch(/talks, and answers no ping/);
  expect(node.agents[0]?.heard.filter((l) => 'ping' in l).length).toBeLessThanOrEqual(101);
  await client.close();
});

const lacking = (r: AgentRequest): Done => ({ id: r.id, ok: false, error: { code: 'ImageMissing', message: 'not here' }, stamps: {} });

function nodeThatTakesImages(): ReturnType<typeof fakeNode> {
  const taken = new Set<string>();
  return fakeNode({
    onLine(l, a) {
      if ('put' in l) {
        taken.add(l.put.sha256);
        a.say({ put: { sha256: l.put.sha256, seq: l.put.seq, ok: true, complete: l.put.last } });
      }
      echo(l, a, (r) => ('vm' in r && taken.has(r.vm.image.sha256) ? succeed(r) : lacking(r)));
    },
  });
}

test('of the transfers at a time two go to one node, so that one that takes no image keeps none from the others', async () => {
  const images = [1, 2, 3, 4].map((n) => imageOf(Buffer.alloc(n, n)));
  const bytes = new Map(images.map((i) => [i.sha256, Buffer.alloc(i.sizeBytes, i.sizeBytes)]));
  const greedy = fakeNode({ onLine: (l, a) => echo(l, a, lacking) });
  const good = nodeThatTakesImages();
  const { client, when } = overTransports([greedy.transport, good.transport], {
    maxUploads: 3, imageSource: async function* (i) { yield bytes.get(i.sha256) ?? Buffer.alloc(0); },
  });
  await Promise.all([when(1, isUp), when(2, isUp)]);
  const stuck = collect(client, [{ nodeId: 1, requests: images.slice(0, 3).map((i) => startRequest(i)) }]);
  await expect.poll(() => greedy.agents[0]?.heard.filter((l) => 'put' in l).length).toBe(2);
  expect(await collect(client, [{ nodeId: 2, requests: [startRequest(images[3] as ImageRef)] }])).toMatchObject([{ done: { ok: true } }]);
  expect(greedy.agents[0]?.heard.filter((l) => 'put' in l)).toHaveLength(2);
  await client.close();
  await stuck;
});

test('nodes that take images slowly, however many, let those go first who wait', async () => {
  const clock = manualClock();
  const large = imageOf(Buffer.alloc(20 * PUT_CHUNK, 1));
  const small = imageOf(Buffer.alloc(100, 2));
  // Each takes a chunk now and then, so that none of them ever stalls.
  const slow = [1, 2, 3].map(() => fakeNode({ onLine: (l, a) => echo(l, a, lacking) }));
  const good = nodeThatTakesImages();
  const { client, when } = overTransports([...slow.map((n) => n.transport), good.transport], {
    maxUploads: 2, silenceMs: 10 ** 9, imageSource: async function* (i) { yield Buffer.alloc(i.sizeBytes, i.sha256 === large.sha256 ? 1 : 2); },
  }, { ...ctx, clock });
  await Promise.all([1, 2, 3, 4].map((n) => when(n, isUp)));
  const stuck = collect(client, [1, 2, 3].map((nodeId) => ({ nodeId, requests: [startRequest(large, 10 ** 9)] })));
  const puts = (n: (typeof slow)[number]): number => n.agents[0]?.heard.filter((l) => 'put' in l).length ?? 0;
  await expect.poll(() => slow.filter((n) => puts(n) === PUT_WINDOW).length).toBe(2);
  let done: unknown;
  void collect(client, [{ nodeId: 4, requests: [startRequest(small, 10 ** 9)] }]).then((answers) => { done = answers; });
  for (let turn = 0; turn < 10 && done === undefined; turn += 1) {
    for (const n of slow) if (puts(n) > turn) n.agents[0]?.say({ put: { sha256: large.sha256, seq: turn, ok: true } });
    await clock.advance(5_000);
  }
  expect(done).toMatchObject([{ done: { ok: true } }]);
  // The third slow one had its turn too.
  expect(slow.filter((n) => puts(n) > 0)).toHaveLength(3);
  await client.close();
  await stuck;
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
