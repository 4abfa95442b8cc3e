import fc from 'fast-check';
import { open as openFile } from 'node:fs/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { MAX_GROUP, MAX_LINE, PUT_CHUNK, PUT_WINDOW, type AgentRequest, type ServiceLine } from '../../../src/control/protocol.ts';
import { encodeGroup } from '../../../src/control/client/encode.ts';
import { isFault } from '../../../src/lease/faults.ts';
import { echo, fakeNode, succeed, type FakeAgent } from './fake-agent.ts';
import { manualClock } from './manual-clock.ts';
import { collect, ctx, imageOf, isDown, isUp, listRequest, overTransports, startRequest, type Watched } from './setup.ts';

const open: Watched[] = [];
const over: typeof overTransports = (...args) => {
  const w = overTransports(...args);
  open.push(w);
  return w;
};
afterEach(async () => {
  await Promise.all(open.splice(0).map((w) => w.client.close()));
});
const sentRequests = (agent: FakeAgent | undefined): AgentRequest[] =>
  (agent?.heard ?? []).flatMap((l) => ('do' in l ? (Array.isArray(l.do) ? (l.do as AgentRequest[]) : [l.do as AgentRequest]) : []));

describe('a channel', () => {
  test('greets, is up with the agent’s hello, and answers by id', async () => {
    const node = fakeNode({ onLine: echo });
    const { client, when } = over([node.transport]);
    expect((await when(1, isUp)).hello?.node).toBe('fake');
    expect(node.agents[0]?.heard[0]).toMatchObject({ hello: { program: 'nimbus', protocol: 2 } });
    const requests = [listRequest(), listRequest()];
    const answers = await collect(client, [{ nodeId: 1, requests }]);
    expect(answers.map((a) => a.id)).toEqual(requests.map((r) => r.id));
    expect(answers.every((a) => 'done' in a && a.done.ok)).toBe(true);
  });

  test('sends a group in one line a node', async () => {
    const nodes = [1, 2, 3].map(() => fakeNode({ onLine: echo }));
    const { client, when } = over(nodes.map((n) => n.transport));
    await Promise.all(nodes.map((_, i) => when(i + 1, isUp)));
    const calls = nodes.map((_, i) => ({ nodeId: i + 1, requests: [listRequest(), listRequest()] }));
    expect(await collect(client, calls)).toHaveLength(6);
    for (const n of nodes) expect(n.agents[0]?.heard.filter((l) => 'do' in l)).toHaveLength(1);
  });

  test('speaks protocol 1 with an older agent: one request a line, no image data', async () => {
    const node = fakeNode({
      hello: { protocols: [1] },
      onLine: (l, a) => echo(l, a, (r) => (r.op === 'list' ? succeed(r) : missing(r))),
    });
    const { client, when } = over([node.transport], { imageSource: () => { throw new Error('must not be asked'); } });
    await when(1, isUp);
    const start = startRequest(imageOf(Buffer.from('x')));
    const answers = await collect(client, [{ nodeId: 1, requests: [listRequest(), listRequest(), start] }]);
    const lines = node.agents[0]?.heard.filter((l) => 'do' in l) ?? [];
    expect(lines).toHaveLength(3);
    expect(lines.every((l) => 'do' in l && !Array.isArray(l.do))).toBe(true);
    expect(answers.find((a) => a.id === start.id)).toMatchObject({ done: { ok: false, error: { code: 'ImageMissing' } } });
  });

  test('refuses an agent that speaks no protocol of ours, naming both sides', async () => {
    const { when } = over([fakeNode({ hello: { protocols: [7, 8] } }).transport]);
    expect((await when(1, isDown)).reason).toMatch(/speaks protocols 7, 8, this service 1, 2/);
  });

  test('forgives what a shell prints before the hello, and quotes it when no hello comes', async () => {
    const good = fakeNode({ hello: null });
    const bad = fakeNode({ hello: null });
    const clock = manualClock();
    const { when } = over([good.transport, bad.transport], { helloMs: 300 }, { ...ctx, clock });
    await expect.poll(() => good.agents.length + bad.agents.length).toBe(2);
    good.agents[0]?.sayRaw('Welcome to node7\n');
    good.agents[0]?.say({ hello: { program: 'workspace-control', version: '1', protocols: [2], node: 'n', bootId: 'b', pid: 1, driver: 'qemu', at: 0 } });
    bad.agents[0]?.sayRaw('This account is currently not available.\n');
    await when(1, isUp);
    await clock.advance(300);
    expect((await when(2, isDown)).reason).toMatch(/no hello within 300 ms; the node says "This account is currently not available\."/);
  });

  test('loses what is outstanding when the link ends, comes back, and says both', async () => {
    const node = fakeNode({});
    const { client, when, states } = over([node.transport]);
    await when(1, isUp);
    const lost = collect(client, [{ nodeId: 1, requests: [listRequest()] }]);
    node.agents[0]?.hang('the cable was pulled');
    expect(await lost).toMatchObject([{ lost: 'unreachable', reason: 'the cable was pulled' }]);
    await when(1, isUp);
    expect(states.map((s) => s.reason)).toEqual([null, 'the cable was pulled', null]);
  });

  test('loses requests to a node that is down at once, with the node’s reason', async () => {
    const node = fakeNode({});
    node.refuse = 'nothing listens on the port';
    const { client, when } = over([node.transport]);
    await when(1, isDown);
    expect(await collect(client, [{ nodeId: 1, requests: [listRequest()] }])).toMatchObject([{ lost: 'unreachable', reason: 'nothing listens on the port' }]);
    const fault = await client.ask(1, listRequest()).catch((e: unknown) => e);
    expect(isFault(fault) && [fault.code, ...fault.reasons]).toEqual(['NodeUnreachable', 'node1: nothing listens on the port']);
  });

  test('ask gives the agent’s sentence as NodeRefused', async () => {
    const node = fakeNode({ onLine: (l, a) => echo(l, a, (r) => ({ id: r.id, ok: false, error: { code: 'NoSuchVm', message: 'There is no such VM.' }, stamps: {} })) });
    const { client } = over([node.transport]);
    const fault = await client.ask(1, listRequest()).catch((e: unknown) => e);
    expect(isFault(fault) && [fault.code, ...fault.reasons]).toEqual(['NodeRefused', 'node1: NoSuchVm: There is no such VM.']);
  });

  test('bounds outstanding requests: the rest is refused as busy', async () => {
    const { client, when } = over([fakeNode({}).transport], { maxOutstanding: 2, graceMs: 0 });
    await when(1, isUp);
    const answers = await collect(client, [{ nodeId: 1, requests: [listRequest(50), listRequest(50), listRequest(50)] }]);
    expect(answers.map((a) => ('lost' in a ? a.lost : 'done'))).toEqual(['busy', 'deadline', 'deadline']);
    expect(answers[0]).toMatchObject({ reason: '2 requests wait for the node already' });
    // None of the three waits any more; two others take their place.
    void collect(client, [{ nodeId: 1, requests: [listRequest(), listRequest()] }]);
    await expect(client.ask(1, listRequest())).rejects.toMatchObject({ code: 'Busy', message: 'Node node1 has too much to do.' });
  });

  test('a request sent twice is sent once and answered twice', async () => {
    let release: () => void = () => undefined;
    const node = fakeNode({ onLine: (l, a) => { if ('do' in l) release = () => echo(l, a); } });
    const { client, when } = over([node.transport]);
    await when(1, isUp);
    const request = listRequest();
    const both = [collect(client, [{ nodeId: 1, requests: [request] }]), collect(client, [{ nodeId: 1, requests: [request] }])];
    await expect.poll(() => sentRequests(node.agents[0]).length).toBe(1);
    release();
    expect((await Promise.all(both)).flat()).toHaveLength(2);
    expect(sentRequests(node.agents[0])).toHaveLength(1);
  });

  test('passes on acknowledgements, progress and events, and survives a listener that throws', async () => {
    const node = fakeNode({
      onLine(l, a) {
        if (!('do' in l)) return;
        const ids = (l.do as AgentRequest[]).map((r) => r.id);
        a.say({ ack: ids });
        for (const id of ids) a.say({ progress: { id, phase: 'received', at: 5 } });
        a.say({ event: { kind: 'vm-exited', lease: 'i-1', generation: 1, at: 1, reason: 'gone' } });
        echo(l, a);
      },
    });
    const { client, when } = over([node.transport]);
    await when(1, isUp);
    const seen: unknown[] = [];
    client.onVmEvent(() => { throw new Error('a listener’s mistake'); });
    client.onVmEvent((nodeId, e) => seen.push(['event', nodeId, e.lease]));
    const request = listRequest();
    await client.call([{ nodeId: 1, requests: [request] }], {
      onAck: (nodeId, ids) => seen.push(['ack', nodeId, ...ids]),
      onProgress: (nodeId, id, phase) => seen.push(['progress', nodeId, id, phase]),
      onAnswer: (a) => seen.push(['answer', a.id]),
    });
    expect(seen).toEqual([['ack', 1, request.id], ['progress', 1, request.id, 'received'], ['event', 1, 'i-1'], ['answer', request.id]]);
  });

  test('closes the channel of a node that is no longer declared, and opens anew when its way changed', async () => {
    const node = fakeNode({});
    const { client, when } = over([node.transport]);
    await when(1, isUp);
    const agent = node.agents[0];
    client.setNodes([{ id: 1, name: 'node1', access: { transport: 'local', stateDir: '/elsewhere', driver: 'simulated' } }]);
    expect(await agent?.closed).toBe('closed orderly');
    await expect.poll(() => client.state(1).up).toBe(true);
    client.setNodes([]);
    expect(await node.agents[1]?.closed).toBe('closed orderly');
    expect(client.state(1).reason).toBe('no such node');
  });
});

describe('time', () => {
  const setting = (script: Parameters<typeof fakeNode>[0], silenceMs = 1000) => {
    const clock = manualClock();
    const node = fakeNode(script);
    const w = over([node.transport], { silenceMs, reconnectMaxMs: 4000 }, { ...ctx, clock });
    return { clock, node, ...w };
  };

  test('a silent node is down within the silence allowed, with that reason', async () => {
    const { clock, when } = setting({ mute: true });
    await when(1, isUp);
    const from = clock.monotonic();
    const down = when(1, isDown);
    await clock.advance(1000);
    expect((await down).reason).toBe('silent for 1000 ms');
    expect(clock.monotonic() - from).toBeLessThanOrEqual(1000);
  });

  test('a node that answers pings stays up; a service that was stopped itself does not blame the node', async () => {
    const { clock, client, when } = setting({});
    await when(1, isUp);
    await clock.advance(20_000);
    expect(client.state(1).up).toBe(true);
    clock.jump(60_000);
    await clock.advance(100);
    expect(client.state(1).up).toBe(true);
  });

  test('estimates the offset of the agent’s clock', async () => {
    const { clock, client, when } = setting({ clock: () => clock.now() + 90_000 });
    await when(1, isUp);
    await clock.advance(500);
    expect(client.state(1).clockOffsetMs).toBe(90_000);
  });

  test('a request without answer is lost at its deadline, and its late answer is forgiven', async () => {
    const late: ServiceLine[] = [];
    const { clock, client, node, when } = setting({ onLine: (l) => { if ('do' in l) late.push(l); } });
    await when(1, isUp);
    const answers = collect(client, [{ nodeId: 1, requests: [listRequest(3000)] }]);
    await clock.advance(5001);
    expect(await answers).toMatchObject([{ lost: 'deadline', reason: 'no answer to list within 5000 ms' }]);
    const [agent] = node.agents;
    if (agent !== undefined) for (const l of late) echo(l, agent);
    await clock.advance(100);
    expect(client.state(1).up).toBe(true);
  });

  test('attempts follow each other with growing, bounded pauses', async () => {
    const { clock, node, client } = setting({});
    let tries: number[] = [];
    await clock.advance(1);
    client.setNodes([]);
    const refusing = over([{ describe: 'dead', open: () => { tries.push(clock.monotonic()); return Promise.reject(new Error('dead')); } }], { reconnectMaxMs: 4000 }, { ...ctx, clock });
    tries = [];
    await clock.advance(60_000);
    const pauses = tries.slice(1).map((t, i) => t - (tries[i] ?? 0));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(4001);
    expect(pauses.slice(-5).every((p) => p >= 2000)).toBe(true);
    expect(pauses[0]).toBeLessThan(1000);
    await refusing.client.close();
    expect(node.agents).toHaveLength(1);
  });
});

const missing = (r: AgentRequest) => ({ id: r.id, ok: false as const, error: { code: 'ImageMissing' as const, message: 'not here' }, stamps: {} });

describe('images', () => {
  const bytes = Buffer.alloc(PUT_CHUNK * 20 + 77, 'nimbus');
  const image = imageOf(bytes);
  const source = async function* () {
    for (let i = 0; i < bytes.length; i += 100_000) yield bytes.subarray(i, i + 100_000);
  };

  /** Keeps images as a real agent does; `acks` may hold back. */
  function storingNode(answerPut: (put: Extract<ServiceLine, { put: unknown }>['put'], agent: FakeAgent) => void) {
    const stored: Buffer[] = [];
    let whole = false;
    const node = fakeNode({
      onLine(l, a) {
        if ('put' in l) {
          stored[l.put.seq] = Buffer.from(l.put.data, 'base64');
          whole ||= l.put.last;
          answerPut(l.put, a);
        }
        echo(l, a, (r) => (whole ? succeed(r) : missing(r)));
      },
    });
    return { node, stored };
  }
  const acknowledge = (put: { sha256: string; seq: number; last: boolean }, a: FakeAgent): void =>
    a.say({ put: { sha256: put.sha256, seq: put.seq, ok: true, ...(put.last ? { complete: true } : {}) } });

  test('what an agent lacks is sent once for all who ask, and the requests are repeated with their ids', async () => {
    const { node, stored } = storingNode(acknowledge);
    let opened = 0;
    const { client, when } = over([node.transport], { imageSource: () => { opened += 1; return source(); } });
    await when(1, isUp);
    const requests = [startRequest(image), startRequest(image), startRequest(image)];
    const answers = await collect(client, [{ nodeId: 1, requests }]);
    expect(answers.every((a) => 'done' in a && a.done.ok)).toBe(true);
    expect(opened).toBe(1);
    expect(Buffer.concat(stored).equals(bytes)).toBe(true);
    const ids = sentRequests(node.agents[0]).map((r) => r.id);
    expect(ids.sort()).toEqual([...requests, ...requests].map((r) => r.id).sort());
  });

  test('no more chunks are under way than the window allows', async () => {
    const waiting: (() => void)[] = [];
    let most = 0;
    const { node } = storingNode((put, a) => {
      waiting.push(() => acknowledge(put, a));
      most = Math.max(most, waiting.length);
    });
    const { client, when } = over([node.transport], { imageSource: source });
    await when(1, isUp);
    let over_ = false;
    const answers = collect(client, [{ nodeId: 1, requests: [startRequest(image)] }]).finally(() => { over_ = true; });
    await expect.poll(() => waiting.length).toBe(PUT_WINDOW);
    while (!over_) {
      waiting.shift()?.();
      await new Promise((r) => setImmediate(r));
    }
    expect(await answers).toMatchObject([{ done: { ok: true } }]);
    expect(most).toBe(PUT_WINDOW);
  });

  test('an agent’s refusal of the image is the request’s answer', async () => {
    const { node } = storingNode((put, a) => a.say({ put: { sha256: put.sha256, seq: put.seq, ok: false, error: { code: 'DiskFull', message: 'No room.' } } }));
    const { client, when } = over([node.transport], { imageSource: source });
    await when(1, isUp);
    expect(await collect(client, [{ nodeId: 1, requests: [startRequest(image)] }])).toMatchObject([{ done: { ok: false, error: { code: 'DiskFull' } } }]);
    expect(client.state(1).up).toBe(true);
  });

  test.each([
    ['too few bytes', async function* () { yield bytes.subarray(10); }, /it has \d+ of the recorded/],
    ['too many bytes', async function* () { yield bytes; yield Buffer.from('x'); }, /more than the recorded/],
    ['a failing disk', async function* () { yield bytes.subarray(0, 10); throw new Error('EIO'); }, /EIO/],
    ['no file, whose place is not its user’s concern', async function* () { yield* []; await openFile('/nowhere/ami-1.raw'); }, /^The repository cannot give image [^/]*: no such file or directory\.$/],
  ])('a source with %s fails the request, not the channel', async (_, broken, reason) => {
    const { node } = storingNode(acknowledge);
    const { client, when } = over([node.transport], { imageSource: broken });
    await when(1, isUp);
    const [answer] = await collect(client, [{ nodeId: 1, requests: [startRequest(image)] }]);
    expect(answer).toMatchObject({ done: { ok: false, error: { code: 'ImageMissing', message: expect.stringMatching(reason) as string } } });
    expect(client.state(1).up).toBe(true);
  });

  test('an agent that never acknowledges ends the transfer, one that goes away loses the request', async () => {
    const stuck = storingNode(() => undefined);
    const gone = storingNode((_put, a) => a.hang('gone'));
    const start = async (node: typeof stuck.node, uploadStallMs?: number): ReturnType<typeof collect> => {
      const { client, when } = over([node.transport], { imageSource: source, ...(uploadStallMs === undefined ? {} : { uploadStallMs }) });
      await when(1, isUp);
      return collect(client, [{ nodeId: 1, requests: [startRequest(image)] }]);
    };
    expect(await start(stuck.node, 100)).toMatchObject([{ done: { ok: false, error: { code: 'DeadlineExceeded' } } }]);
    expect(await start(gone.node)).toMatchObject([{ lost: 'unreachable', reason: 'gone' }]);
  });
});

describe('groups in lines', () => {
  test('no line is longer than the protocol allows, none carries too many, every request is in exactly one', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: MAX_LINE + 10 }), { maxLength: 12 });
    fc.assert(fc.property(sizes, fc.integer({ min: 0, max: 600 }), fc.constantFrom(1 as const, 2 as const), (long, many, protocol) => {
      const requests = [...long.map((n, i) => ({ ...listRequest(), id: `l${i}`, requestId: 'ü'.repeat(n / 2) })), ...Array.from({ length: many }, () => listRequest())];
      const { bytes, tooLong } = encodeGroup(requests, protocol);
      const lines = bytes.split('\n').slice(0, -1);
      const groups = lines.map((l) => (JSON.parse(l) as { do: AgentRequest[] | AgentRequest }).do);
      for (const l of lines) expect(Buffer.byteLength(l) + 1).toBeLessThanOrEqual(MAX_LINE);
      for (const g of groups) expect(Array.isArray(g) ? g.length : 1).toBeLessThanOrEqual(protocol === 1 ? 1 : MAX_GROUP);
      expect([...groups.flat(), ...tooLong].map((r) => r.id).sort()).toEqual(requests.map((r) => r.id).sort());
    }), { numRuns: 25 });
  });
});
