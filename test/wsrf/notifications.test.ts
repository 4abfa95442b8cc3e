/** Subscriptions are told: what changed, wrapped as containers of the time wrap it, again after a failure, not while paused, and by one of two services. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAddressPolicy } from '../../src/platform/outside/address-policy.ts';
import { createNotifier } from '../../src/workers/notifier.ts';
import { notify } from '../../src/wsrf/notify.ts';
import { clark } from '../../src/soap/names.ts';
import { readXml } from '../../src/soap/xml/read.ts';
import { childOf, elementsOf, textOf, type XmlElement } from '../../src/soap/xml/tree.ts';
import { ask, openWsrfSite, type Asked, type WsrfSite } from './door.ts';
import { GLOBUS_CORE, LIFETIME, NOTIFICATION, SIMPLE_TOPICS, TYPES, WORKSPACE } from '../../src/wsrf/wire/names.ts';

let wsrf: WsrfSite;
beforeAll(async () => {
  wsrf = await openWsrfSite({ config: { wsrf: { allowed_consumers: ['127.0.0.0/8'] } } });
  wsrf.notifier.start();
});
afterAll(() => wsrf?.close());

/** A client that listens, as the original's does. */
let consumer: Server;
let received: XmlElement[] = [];
let answers: number[] = [];
beforeEach(async () => {
  received = [];
  answers = [];
  consumer = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (c: Buffer) => chunks.push(c)).on('end', () => {
      const status = answers.shift() ?? 202;
      if (status < 300) received.push(readXml(Buffer.concat(chunks)));
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => consumer.listen(0, '127.0.0.1', resolve));
});
afterEach(() => new Promise((resolve) => consumer.close(resolve)));

const address = (): string => `http://127.0.0.1:${(consumer.address() as AddressInfo).port}/wsrf/services/NotificationConsumerService`;
const SUBSCRIBE = (topic: string, ns: string, more = ''): string => `<Subscribe xmlns="${NOTIFICATION}" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/03/addressing"><ConsumerReference>
  <wsa:Address>${address()}</wsa:Address><wsa:ReferenceProperties><k:NotificationConsumerKey xmlns:k="${GLOBUS_CORE}">the-consumer</k:NotificationConsumerKey></wsa:ReferenceProperties></ConsumerReference>
  <TopicExpression Dialect="${SIMPLE_TOPICS}" xmlns:t="${ns}">t:${topic}</TopicExpression>${more}</Subscribe>`;
const KEY = (number: number): string => `<w:WorkspaceKey xmlns:w="${WORKSPACE}">${number}</w:WorkspaceKey>`;
const lease = async (): Promise<number> => {
  const [w] = await wsrf.site.manager.workspaces.create(wsrf.site.alice, {
    minCount: 1, maxCount: 1, image: 'guest', grid: { name: 'http://x', nics: ['eth0'], architecture: 'x86', cores: false, target: null, saveAs: null, ensemble: null },
  });
  await wsrf.site.settled();
  return w?.number ?? 0;
};
const subscribe = (number: number, topic = 'currentState', ns: string = TYPES, more = ''): Promise<Asked> => ask(wsrf, 'WorkspaceService', SUBSCRIBE(topic, ns, more), KEY(number));
const manager = (key: string, body: string): Promise<Asked> => ask(wsrf, 'SubscriptionManagerService', body, `<k:SubscriptionKey xmlns:k="${GLOBUS_CORE}">${key}</k:SubscriptionKey>`);
const keyOf = ({ text }: Asked): string => /SubscriptionKey[^>]*>([^<]+)/.exec(text)?.[1] ?? '';
const change = (number: number, to: 'pause' | 'start' | 'end'): Promise<void> => wsrf.site.manager.workspaces.change(wsrf.site.alice, { number }, { to });

/** `before>after` of every change that came, in order. */
function told(): string[] {
  const all = (e: XmlElement, local: string): XmlElement[] => elementsOf(e).flatMap((c) => (c.local === local ? [c] : all(c, local)));
  return received.flatMap((message) => all(message, 'ResourcePropertyValueChangeNotification').map((n) => all(n, 'state').map((s) => textOf(s)).join('>')));
}

describe('a subscription to the current state', () => {
  it('is told each change, in order, as containers of the time tell it', async () => {
    const number = await lease();
    expect((await subscribe(number)).status).toBe(200);
    await change(number, 'pause');
    await vi.waitFor(() => expect(told()).toEqual(['Running>Paused']), { timeout: 60_000 });
    await wsrf.site.settled();
    await change(number, 'start');
    await vi.waitFor(() => expect(told()).toEqual(['Running>Paused', 'Paused>Running']), { timeout: 60_000 });
    const [first] = received;
    const header = childOf(first as XmlElement, '{http://schemas.xmlsoap.org/soap/envelope/}Header') as XmlElement;
    expect(textOf(childOf(header, clark(GLOBUS_CORE, 'NotificationConsumerKey')) as XmlElement)).toBe('the-consumer');
    expect(textOf(childOf(header, '{http://schemas.xmlsoap.org/ws/2004/03/addressing}Action') as XmlElement)).toBe('http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification/Notify');
    await change(number, 'end');
    await vi.waitFor(() => expect(told().at(-1)).toBe('Running>Cancelled'), { timeout: 60_000 });
  });

  it('is told again what its consumer did not take', async () => {
    const number = await lease();
    answers = [500, 503];
    await subscribe(number);
    await change(number, 'pause');
    await vi.waitFor(() => expect(told()).toEqual(['Running>Paused']), { timeout: 60_000 });
    await change(number, 'end');
  });

  it('is told by a message for each change where it wants that, and of none again that its consumer took', async () => {
    const number = await lease();
    const key = keyOf(await subscribe(number, 'currentState', TYPES, '<UseNotify>false</UseNotify>'));
    expect((await manager(key, `<PauseSubscription xmlns="${NOTIFICATION}"/>`)).status).toBe(200);
    for (const to of ['pause', 'start'] as const) {
      await change(number, to);
      await wsrf.site.settled();
    }
    answers = [202, 503];
    await manager(key, `<ResumeSubscription xmlns="${NOTIFICATION}"/>`);
    await change(number, 'end');
    await vi.waitFor(() => expect(told()).toEqual(['Running>Paused', 'Paused>Running', 'Running>Cancelled']), { timeout: 60_000 });
  });

  it('is told nothing while it is paused, and all of it when it goes on; nothing after its end', async () => {
    const number = await lease();
    const other = await lease();
    const key = keyOf(await subscribe(number));
    await subscribe(other);
    expect((await manager(key, `<PauseSubscription xmlns="${NOTIFICATION}"/>`)).status).toBe(200);
    await change(number, 'pause');
    await change(other, 'pause');
    // What another is told is told after: there was time for both.
    await vi.waitFor(() => expect(told()).toEqual(['Running>Paused']), { timeout: 60_000 });
    await manager(key, `<ResumeSubscription xmlns="${NOTIFICATION}"/>`);
    await vi.waitFor(() => expect(told()).toEqual(['Running>Paused', 'Running>Paused']), { timeout: 60_000 });
    expect((await manager(key, `<Destroy xmlns="${LIFETIME}"/>`)).status).toBe(200);
    expect((await manager(key, `<Destroy xmlns="${LIFETIME}"/>`)).text).toContain('ResourceUnknownFault');
    await wsrf.site.settled();
    await change(number, 'start');
    await change(other, 'start');
    await vi.waitFor(() => expect(told()).toHaveLength(3), { timeout: 60_000 });
    for (const n of [number, other]) await change(n, 'end');
  });

  it('is told once, by one of two services', async () => {
    const { site, descriptions, base } = wsrf;
    const policy = createAddressPolicy(['127.0.0.0/8']);
    const second = createNotifier(site.ctx, site.db, { deadlineMs: 60_000, deliver: (s, news) => notify({ ctx: site.ctx, codec: descriptions.codec, policy, base: () => base, deadlineMs: 60_000 }, s, news) });
    second.start();
    const number = await lease();
    await subscribe(number);
    for (const to of ['pause', 'start', 'pause', 'start', 'end'] as const) {
      await change(number, to);
      await site.settled();
    }
    const all = ['Running>Paused', 'Paused>Running', 'Running>Paused', 'Paused>Running', 'Running>Cancelled'];
    await vi.waitFor(() => expect(told()).toEqual(all), { timeout: 60_000 });
    await second.stop();
    expect(told()).toEqual(all);
  });
});

describe('a subscription to the end', () => {
  it('is told of it with its reason, and is over', async () => {
    const number = await lease();
    const key = keyOf(await subscribe(number, 'ResourceTermination', LIFETIME));
    await change(number, 'end');
    await vi.waitFor(() => expect(received).toHaveLength(1), { timeout: 60_000 });
    expect(JSON.stringify(received[0], (k, v: unknown) => (k === 'scope' ? undefined : v))).toContain(clark(LIFETIME, 'TerminationNotification'));
    await wsrf.site.settled();
    await vi.waitFor(async () => expect((await manager(key, `<GetResourceProperty xmlns="${NOTIFICATION.replace('wsn/2004/06/wsn-WS-BaseNotification', 'wsrf/2004/06/wsrf-WS-ResourceProperties')}" xmlns:n="${NOTIFICATION}">n:UseNotify</GetResourceProperty>`)).text).toContain('ResourceUnknownFault'), { timeout: 60_000 });
  });
});

describe('who subscribes', () => {
  it.each([
    ['the service’s own machine', 'http://127.0.0.1:1/', 'SubscribeCreationFailedFault'],
    ['a name of it', 'http://localhost:1/', 'SubscribeCreationFailedFault'],
    ['its link', 'http://169.254.169.254/latest', 'SubscribeCreationFailedFault'],
    ['an IPv6 disguise of it', 'http://[::ffff:127.0.0.1]:1/', 'SubscribeCreationFailedFault'],
    ['a number that is it', 'http://2130706433:1/', 'SubscribeCreationFailedFault'],
    ['a file', 'file:///etc/passwd', 'SubscribeCreationFailedFault'],
  ])('cannot have notifications sent to %s', async (_, url, fault) => {
    const closed = await openWsrfSite();
    try {
      const { number } = (await closed.site.manager.workspaces.create(closed.site.alice, { minCount: 1, maxCount: 1, image: 'guest' }))[0] ?? { number: 0 };
      const answer = await ask(closed, 'WorkspaceService', SUBSCRIBE('currentState', TYPES).replace(address(), url), KEY(number));
      expect(answer.status).toBe(500);
      expect(answer.text).toContain(fault);
    } finally {
      await closed.close();
    }
  });

  it('does not make the service follow a redirection, nor a name that leads to it when it is told', async () => {
    const closed = await openWsrfSite();
    const [refused, asked] = [[] as string[], [] as string[]];
    consumer.prependListener('request', (request) => { asked.push(request.url ?? ''); });
    const open = createAddressPolicy(['127.0.0.0/8']);
    const redirecting = createServer((_, response) => response.writeHead(307, { location: address() }).end());
    await new Promise<void>((resolve) => redirecting.listen(0, '127.0.0.1', resolve));
    try {
      const tell = (policy: typeof open, url: string): Promise<void> => notify({ ctx: closed.site.ctx, codec: closed.descriptions.codec, policy, base: () => closed.base, deadlineMs: 60_000 },
        { number: 1, topic: 'currentState', consumer: { address: url, properties: [] }, wrapped: true }, [{ at: 0, before: 'Running', after: 'Paused', why: '' }])
        .catch((e: unknown) => { refused.push(String(e)); });
      // The subscription was taken: nobody could know then where the name would lead.
      const { number } = (await closed.site.manager.workspaces.create(closed.site.alice, { minCount: 1, maxCount: 1, image: 'guest' }))[0] ?? { number: 0 };
      const named = address().replace('127.0.0.1', 'turning.example.org');
      expect((await ask(closed, 'WorkspaceService', SUBSCRIBE('currentState', TYPES).replace(address(), named), KEY(number))).status).toBe(200);
      await tell(createAddressPolicy([], (_, __, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }])), named);
      await tell(open, `http://127.0.0.1:${(redirecting.address() as AddressInfo).port}/`);
      expect(refused).toEqual([expect.stringMatching(/turning\.example\.org is 127\.0\.0\.1, which is this machine itself/), expect.stringContaining('it answered with status 307')]);
      expect(asked).toEqual([]);
    } finally {
      await new Promise((resolve) => redirecting.close(resolve));
      await closed.close();
    }
  });

  it('hears of dialects and topics that there are not', async () => {
    const number = await lease();
    const body = SUBSCRIBE('currentState', TYPES);
    expect((await ask(wsrf, 'WorkspaceService', body.replace(SIMPLE_TOPICS, 'urn:other'), KEY(number))).text).toContain('TopicPathDialectUnknownFault');
    expect((await ask(wsrf, 'WorkspaceService', body.replace('t:currentState', 't:nothing'), KEY(number))).text).toContain('TopicNotSupportedFault');
    expect((await ask(wsrf, 'WorkspaceService', body.replace('t:currentState', 'u:currentState'), KEY(number))).text).toContain('InvalidTopicExpressionFault');
    expect((await ask(wsrf, 'WorkspaceService', body, KEY(number), 'bob')).text).toContain('ResourceUnknownFault');
    await change(number, 'end');
  });

  it('may ask for the current message instead', async () => {
    const number = await lease();
    const current = (topic: string, ns: string): Promise<Asked> => ask(wsrf, 'WorkspaceService', `<GetCurrentMessage xmlns="${NOTIFICATION}"><Topic Dialect="${SIMPLE_TOPICS}" xmlns:t="${ns}">t:${topic}</Topic></GetCurrentMessage>`, KEY(number));
    expect((await current('currentState', TYPES)).text).toMatch(/OldValue.*Propagated.*NewValue.*Running/s);
    expect((await current('ResourceTermination', LIFETIME)).text).toContain('NoCurrentMessageOnTopicFault');
    await change(number, 'end');
  });
});
