/** Channels that pilots open, over real sockets. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { PassThrough } from 'node:stream';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { realClock } from '../../../src/control/agent/clock.ts';
import { DEFAULTS } from '../../../src/control/agent/config.ts';
import { openAgent } from '../../../src/control/agent/open.ts';
import type { Agent } from '../../../src/control/agent/open.ts';
import { createPilotChannels } from '../../../src/control/client/pilot-channels.ts';
import type { ChannelKey, PilotChannels } from '../../../src/control/client/pilot-channels.ts';
import { createTransports } from '../../../src/control/client/transports.ts';
import type { AgentLink } from '../../../src/control/client/transport.ts';
import type { NodeRef } from '../../../src/control/types.ts';
import type { Context, Log } from '../../../src/platform/context.ts';
import { encodeLine } from '../../../src/control/wire.ts';
import { HELLO } from './fake-agent.ts';
import { manualClock } from './manual-clock.ts';
import { collect, ctx, isDown, isUp, listRequest, nodeRef, quietLog, watched, type Watched } from './setup.ts';

const KEY: ChannelKey = { slot: 'sl-0123456789ab', host: 'c7', pilot: 'aaaaaaaaaaaaaaaa' };
const NEXT_LIFE: ChannelKey = { ...KEY, pilot: 'bbbbbbbbbbbbbbbb' };
const access = ({ slot, host, pilot }: ChannelKey) => ({ transport: 'pilot', slot, host, pilot }) as const;

let server: Server;
const sockets = new Set<Socket>();
const open: Watched[] = [];
beforeEach(async () => {
  server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((w) => w.client.close()));
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await new Promise((resolve) => server.close(resolve));
});

/** The pilot's end and the service's end of a connection. */
async function pair(): Promise<{ pilot: Socket; service: Socket; closed: Promise<void> }> {
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const pilot = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const service = await accepted;
  for (const s of [pilot, service]) sockets.add(s.on('error', () => undefined));
  const closed = new Promise<void>((resolve) => pilot.once('close', () => resolve()));
  pilot.resume();
  return { pilot, service, closed };
}

/** Offers a connection on which a scripted agent greets. */
async function offer(channels: PilotChannels, key: ChannelKey = KEY, node = 'c7'): ReturnType<typeof pair> {
  const ends = await pair();
  ends.pilot.write(encodeLine({ hello: { ...HELLO, node } }));
  channels.offer(key, ends.service);
  return ends;
}

function over(channels: PilotChannels, context: Context = ctx, key = KEY): Watched & { readonly node: NodeRef } {
  const node = nodeRef(1, access(key));
  const w = watched(context, {
    transport: createTransports(context, { agentProgram: '/nonexistent', privateKeyFile: '/nonexistent', pilotChannels: channels }),
    silenceMs: 60_000, reconnectMaxMs: 3_600_000,
  });
  w.client.setNodes([node]);
  open.push(w);
  return { ...w, node };
}

describe('the channel of a borrowed node', () => {
  test('takes the stream that waits', async () => {
    const channels = createPilotChannels(ctx);
    await offer(channels);
    expect(channels.unclaimed).toBe(1);
    const w = over(channels);
    expect((await w.when(1, isUp)).hello?.node).toBe('c7');
    expect(channels.unclaimed).toBe(0);
  });

  test('takes a stream at once that comes while an attempt waits', async () => {
    const channels = createPilotChannels(ctx);
    const w = over(channels);
    await offer(channels);
    await w.when(1, isUp);
  });

  test('says what is missing, pauses, and a stream that comes then ends the pause', async () => {
    const clock = manualClock();
    const context = { ...ctx, clock };
    const channels = createPilotChannels(context);
    const w = over(channels, context);
    await clock.advance(10_000);
    expect(w.client.state(1)).toMatchObject({ up: false, reason: 'its pilot has not opened the channel' });
    const up = w.when(1, isUp);
    await offer(channels);
    await up; // no time has passed
  });

  test('a newer stream replaces one that is dead for the pilot, without a pause', async () => {
    const clock = manualClock();
    const context = { ...ctx, clock };
    const channels = createPilotChannels(context);
    const w = over(channels, context);
    const old = await offer(channels, KEY, 'old');
    await w.when(1, isUp);
    const up = w.when(1, (s) => s.hello?.node === 'new');
    await offer(channels, KEY, 'new');
    await up;
    await old.closed;
  });

  test('of two that wait the newer counts', async () => {
    const channels = createPilotChannels(ctx);
    const old = await offer(channels, KEY, 'old');
    await offer(channels, KEY, 'new');
    await old.closed;
    expect((await over(channels).when(1, isUp)).hello?.node).toBe('new');
  });

  test('another life of the pilot is refused, and disturbs nothing', async () => {
    const warnings: unknown[] = [];
    const log: Log = { ...quietLog, warn: (_message, fields) => void warnings.push(fields) };
    const channels = createPilotChannels({ ...ctx, log });
    await offer(channels);
    const w = over(channels);
    await w.when(1, isUp);
    await (await offer(channels, NEXT_LIFE)).closed;
    expect(warnings).toEqual([{ ...NEXT_LIFE, reason: `pilot ${KEY.pilot} has the node now` }]);
    expect(w.client.state(1).up).toBe(true);
  });

  test('a stream of another life that came first is not taken', async () => {
    const channels = createPilotChannels(ctx);
    const other = await offer(channels, NEXT_LIFE, 'other');
    const w = over(channels);
    await other.closed;
    await offer(channels);
    expect((await w.when(1, isUp)).hello?.node).toBe('c7');
  });

  test('when the node gets another pilot, its channel is taken and the old one closed', async () => {
    const channels = createPilotChannels(ctx);
    const w = over(channels);
    const old = await offer(channels);
    await w.when(1, isUp);
    w.client.setNodes([nodeRef(1, access(NEXT_LIFE))]);
    await old.closed;
    await offer(channels, NEXT_LIFE, 'next');
    expect((await w.when(1, isUp)).hello?.node).toBe('next');
  });

  test('a request waits for the first stream; a group call is told at once that the node is not there', async () => {
    const channels = createPilotChannels(ctx);
    const w = over(channels);
    const asked = w.client.ask(1, listRequest());
    const request = listRequest();
    expect(await collect(w.client, [{ nodeId: 1, requests: [request] }])).toEqual([
      { nodeId: 1, id: request.id, lost: 'unreachable', reason: 'not reached yet' },
    ]);
    await offer(channels).then(({ pilot }) => pilot.destroy());
    await expect(asked).rejects.toMatchObject({ code: 'NodeUnreachable' });
  });

  test('closing the client closes the channel', async () => {
    const channels = createPilotChannels(ctx);
    const w = over(channels);
    const ends = await offer(channels);
    await w.when(1, isUp);
    await w.client.close();
    await ends.closed;
  });

  test('without pilot mode the node says why it cannot be reached', async () => {
    const w = watched(ctx, { transport: createTransports(ctx, { agentProgram: '/nonexistent', privateKeyFile: '/nonexistent' }) });
    open.push(w);
    w.client.setNodes([nodeRef(1, access(KEY))]);
    expect((await w.when(1, isDown)).reason).toMatch(/not in pilot mode/);
  });
});

describe('streams that nobody takes', () => {
  test('are closed after a minute, or when they end', async () => {
    const clock = manualClock();
    const channels = createPilotChannels({ ...ctx, clock });
    const ends = await offer(channels);
    await clock.advance(59_000);
    expect(channels.unclaimed).toBe(1);
    await clock.advance(1_000);
    await ends.closed;
    expect(channels.unclaimed).toBe(0);
    const gone = await offer(channels);
    const seen = new Promise((resolve) => gone.service.once('close', resolve));
    gone.pilot.destroy();
    gone.service.resume();
    await seen;
    expect(channels.unclaimed).toBe(0);
  });

  test('are bounded in number, and closed with the service', async () => {
    const channels = createPilotChannels(ctx);
    const streams = Array.from({ length: 5000 }, () => new PassThrough());
    streams.forEach((stream, i) => channels.offer({ ...KEY, host: `c${i}` }, stream));
    expect(channels.unclaimed).toBe(4096);
    expect(streams.filter((s) => s.destroyed)).toHaveLength(5000 - 4096);
    const last = await offer(channels, { ...KEY, host: 'late' });
    await last.closed;
    const replaced = await pair();
    channels.offer({ ...KEY, host: 'c1' }, replaced.service); // a node that waits already may come anew
    expect(channels.unclaimed).toBe(4096);
    channels.close();
    await replaced.closed;
    expect(streams.every((s) => s.destroyed)).toBe(true);
    expect(channels.unclaimed).toBe(0);
    await (await offer(channels)).closed;
  });

  test('whatever comes in whatever order, a node has one stream at most, the last of the right pilot', async () => {
    const step = fc.constantFrom('offer', 'other', 'open', 'drop', 'unwant', 'want' as const);
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const channels = createPilotChannels(ctx);
      const transport = channels.transport(access(KEY));
      const given: Socket[] = [];
      const links: AgentLink[] = [];
      const attempts: AbortController[] = [];
      let unsubscribe: (() => void) | undefined;
      for (const what of steps) {
        if (what === 'offer' || what === 'other') {
          const { service } = await pair();
          given.push(service);
          channels.offer(what === 'offer' ? KEY : NEXT_LIFE, service);
        }
        if (what === 'want') unsubscribe ??= transport.onReady?.(() => undefined);
        if (what === 'unwant') { unsubscribe?.(); unsubscribe = undefined; }
        if (what === 'drop') links.at(-1)?.close('orderly');
        if (what === 'open') {
          attempts.at(-1)?.abort(new Error('the next attempt'));
          const attempt = new AbortController();
          attempts.push(attempt);
          void transport.open(attempt.signal).then((link) => { links.push(link); }, () => undefined);
        }
        await new Promise((resolve) => setImmediate(resolve));
        const live = given.filter((s) => !s.destroyed);
        expect(live.length).toBeLessThanOrEqual(2); // the one in use may be on its orderly way out
        expect(live.filter((s) => links.every((l) => l.readable !== s)).length).toBe(channels.unclaimed);
      }
      attempts.at(-1)?.abort(new Error('over'));
      unsubscribe?.();
      for (const link of links) link.close('broken');
      channels.close();
      await new Promise((resolve) => setImmediate(resolve));
      expect(given.filter((s) => !s.destroyed)).toEqual([]);
    }), { numRuns: 60 });
  });
});

describe('with a real agent', () => {
  let dir: string;
  let agent: Agent;
  const released: string[] = [];
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'nimbus pilot '));
    agent = await openAgent({
      stateDir: dir, driver: 'simulated', config: DEFAULTS, clock: realClock, persistent: true, inJob: true, onRelease: (why) => { released.push(why); },
    });
  });
  afterEach(async () => {
    await agent.stop('the test is over');
    rmSync(dir, { recursive: true, force: true });
  });
  const dial = async (channels: PilotChannels): Promise<Socket> => {
    const { pilot, service } = await pair();
    agent.serve({ input: pilot, output: pilot, name: 'channel' });
    channels.offer(KEY, service);
    return service;
  };

  test('requests go over the channel, a lost channel is replaced, and the node is given back', async () => {
    const channels = createPilotChannels(ctx);
    const w = over(channels);
    const first = await dial(channels);
    expect((await w.client.ask(1, listRequest())).result).toEqual({ vms: [] });
    const down = w.when(1, isDown);
    first.destroy();
    await down;
    await dial(channels);
    await w.when(1, isUp);
    await w.client.release(1, 'scancel said:\n\u001b[31mnode is wanted');
    await vi.waitFor(() => expect(released).toEqual(['scancel said: [31mnode is wanted']), { interval: 1, timeout: 60_000 });
  });
});
