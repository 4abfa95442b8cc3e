/** Requests as grid clients send them, over a socket: what is understood, what is answered, and what is refused before anything is done. */
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDispatcher } from '../../src/soap/dispatch.ts';
import { BaseFault, SoapFault } from '../../src/soap/message/fault.ts';
import { readReply, requestEnvelope } from '../../src/soap/message/client.ts';
import { readXml } from '../../src/soap/xml/read.ts';
import { attributeOf, childOf, elementsOf, makeElement, textOf, type XmlElement } from '../../src/soap/xml/tree.ts';
import { openSocket } from '../support/raw-http.ts';
import { testContext } from '../support/context.ts';
import { KEY, startServices, WS, WT, type TestServer } from './server.ts';

const WSA = 'http://schemas.xmlsoap.org/ws/2004/03/addressing';
const SOAP = 'http://schemas.xmlsoap.org/soap/envelope/';
const START = `${WS}/WorkspacePortType/startRequest`;
const UNKNOWN = `{${WT}}WorkspaceUnknownFault`;

let s: TestServer;
let fail: Error | undefined;

beforeAll(async () => {
  s = await startServices({
    handlers: {
      'WorkspaceService.start': () => {
        if (fail !== undefined) throw fail;
        return {};
      },
      'WorkspaceService.GetResourceProperty': () => ({ any: [{ element: `{${WT}}currentState`, value: { state: 'Running' } }] }),
      'WorkspaceFactoryService.create': () => ({}),
    },
  });
});
afterAll(() => s.close());
beforeEach(() => {
  fail = undefined;
  s.calls.length = 0;
});

const key = (value: string): XmlElement => makeElement({ ns: WS, local: 'WorkspaceKey' }, { children: [value] });
const envelope = (header: string, body: string): string => `<e:Envelope xmlns:e="${SOAP}" xmlns:a="${WSA}" xmlns:w="${WS}"><e:Header>${header}</e:Header><e:Body>${body}</e:Body></e:Envelope>`;
const startBody = '<w:startWorkspace/>';

async function post(service: string, body: string, headers: Record<string, string> = {}): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${s.url}${service}`, { method: 'POST', body, headers: { 'Content-Type': 'text/xml; charset=utf-8', ...headers } });
  return { status: answer.status, text: await answer.text() };
}
const header = (text: string, local: string): XmlElement | undefined => childOf(childOf(readXml(text), `{${SOAP}}Header`) as XmlElement, `{${WSA}}${local}`);

describe('an answer', () => {
  it('carries the output, relates to the request and says who answers', async () => {
    const body = s.descriptions.codec.encode('{http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceProperties-1.2-draft-01.xsd}GetResourceProperty', { ns: WT, local: 'currentState' });
    const action = 'http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceProperties/GetResourceProperty';
    const sent = requestEnvelope({ to: { address: `${s.url}WorkspaceService`, properties: [key('12')] }, action, messageId: 'uuid:1', body });
    const { status, text } = await post('WorkspaceService', sent, { SOAPAction: `"${action}"` });
    expect(status).toBe(200);
    expect(s.calls).toMatchObject([{ key: '12', context: 'somebody', input: { ns: WT, local: 'currentState' }, operation: { name: 'GetResourceProperty' } }]);
    const reply = readReply(Buffer.from(text), s.descriptions.codec);
    expect(reply).toMatchObject({ ok: true, message: { addressing: { action: `${action}Response`, relatesTo: ['uuid:1'], to: `${WSA}/role/anonymous`, from: { address: `${s.url}WorkspaceService` } } } });
    const [property] = (reply as { value: { any: XmlElement[] } }).value.any;
    expect(s.descriptions.codec.decode(property as XmlElement, { strict: true })).toEqual({ state: 'Running' });
    expect(attributeOf(header(text, 'RelatesTo') as XmlElement, 'RelationshipType')).toBe('wsa:Reply');
    const from = elementsOf(childOf(header(text, 'From') as XmlElement, `{${WSA}}ReferenceProperties`) as XmlElement);
    expect(from.map((e) => [e.name, textOf(e)])).toEqual([[KEY, '12']]);
  });

  it('needs no addressing, no SOAPAction and no POST: agents PUT', async () => {
    const answer = await fetch(`${s.url}WorkspaceService`, { method: 'PUT', body: envelope('<w:WorkspaceKey>7</w:WorkspaceKey>', startBody) });
    expect(answer.status).toBe(200);
    expect(s.calls).toMatchObject([{ key: '7', input: {} }]);
  });

  it('of a message without an answer is none', async () => {
    const notify = s.descriptions.codec.encode('{http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification-1.2-draft-01.xsd}Notify', { NotificationMessage: [{ Topic: { $: 't' }, Message: { $: 'm' } }] });
    expect(await post('NotificationConsumerService', envelope('', notify))).toEqual({ status: 202, text: '' });
  });
});

describe('a fault', () => {
  it('has the detail of its element, time, originator, description and causes, and relates to the request', async () => {
    fail = new BaseFault(UNKNOWN, 'no such workspace', { causes: [{ description: "unknown workspace: '12'", causes: [{ description: 'org.globus.wsrf.NoSuchResourceException' }] }], exceptionName: 'x.Y' });
    const { status, text } = await post('WorkspaceService', envelope('<a:MessageID>uuid:2</a:MessageID><w:WorkspaceKey>12</w:WorkspaceKey>', startBody));
    expect(status).toBe(500);
    const fault = childOf(childOf(readXml(text), `{${SOAP}}Body`) as XmlElement, `{${SOAP}}Fault`) as XmlElement;
    expect(elementsOf(fault).map((e) => [e.name, e.local === 'detail' ? '' : textOf(e)])).toEqual([['faultcode', 'soapenv:Server.generalException'], ['faultstring', ''], ['detail', '']]);
    const [detail, exception] = elementsOf(childOf(fault, 'detail') as XmlElement);
    expect([exception?.name, textOf(exception as XmlElement)]).toEqual(['{http://xml.apache.org/axis/}exceptionName', 'x.Y']);
    expect(detail?.name).toBe(UNKNOWN);
    expect(s.descriptions.codec.decode(detail as XmlElement)).toMatchObject({
      Timestamp: expect.closeTo(Date.now(), -5),
      Originator: { Address: { $: `${s.url}WorkspaceService` }, ReferenceProperties: { any: [{ name: KEY, children: ['12'] }] } },
      Description: [{ $: 'no such workspace' }],
      FaultCause: [{ Description: [{ $: "unknown workspace: '12'" }], FaultCause: [{ Description: [{ $: 'org.globus.wsrf.NoSuchResourceException' }] }] }],
    });
    expect(textOf(header(text, 'Action') as XmlElement)).toBe(`${WSA}/fault`);
    expect(textOf(header(text, 'RelatesTo') as XmlElement)).toBe('uuid:2');
    expect(header(text, 'To')).toBeUndefined();
    expect(readReply(Buffer.from(text), s.descriptions.codec)).toMatchObject({ ok: false, fault: { code: 'Server.generalException', element: UNKNOWN, descriptions: ['no such workspace', "unknown workspace: '12'"] } });
  });

  it('without a description has none', async () => {
    fail = new BaseFault(UNKNOWN, '');
    const { text } = await post('WorkspaceService', envelope('', startBody));
    expect(text).not.toContain('Description');
  });

  it('of causes without end is cut off', async () => {
    const cause: { description: string; causes: unknown[] } = { description: 'again', causes: [] };
    cause.causes.push(cause);
    fail = new BaseFault(UNKNOWN, 'deep', { causes: [cause as never] });
    const { status, text } = await post('WorkspaceService', envelope('', startBody));
    expect([status, text.match(/again/g)?.length]).toEqual([500, 20]);
  });

  it.each([
    ['what is no fault is internal, and the message of it stays here', () => new Error('secret path /etc/x'), 'internal', 'Server'],
    ['a mistake in an answer is internal', () => new BaseFault('{urn:x}Nothing', 'undeclared'), 'The service failed', 'Server'],
    ['a plain fault', () => new SoapFault('Client', 'not <so>'), 'not &lt;so&gt;', 'Client'],
  ])('%s', async (_, thrown, message, code) => {
    fail = thrown();
    const { status, text } = await post('WorkspaceService', envelope('', startBody));
    expect(status).toBe(500);
    expect(text).toContain(`<faultcode>soapenv:${code}</faultcode><faultstring>${message}`);
    expect(text).not.toContain('secret');
  });

  it('an output that does not fit its type is a mistake of ours', async () => {
    const create = `<w:create/>`;
    const { status, text } = await post('WorkspaceFactoryService', envelope('', create));
    expect([status, text]).toEqual([500, expect.stringContaining('soapenv:Server<')]);
    expect(s.outcomes.at(-1)).toMatchObject({ status: 500, operation: 'create', error: expect.objectContaining({ message: expect.stringContaining('createResponse/CreatedWorkspace: one is needed at least') }) });
  });
});

describe('refused, and nothing is done', () => {
  const key12 = '<w:WorkspaceKey>12</w:WorkspaceKey>';
  it.each<[string, string, string, Record<string, string>?]>([
    ['no XML', 'hello', 'soapenv:Client'],
    ['no envelope', '<x/>', 'must be a SOAP envelope'],
    ['SOAP 1.2', '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body/></e:Envelope>', 'soapenv:VersionMismatch'],
    ['no Body', `<e:Envelope xmlns:e="${SOAP}"><e:Header/></e:Envelope>`, 'must hold one Body'],
    ['two Bodies', `<e:Envelope xmlns:e="${SOAP}" xmlns:w="${WS}"><e:Body>${startBody}</e:Body><e:Body>${startBody}</e:Body></e:Envelope>`, 'must hold one Body'],
    ['something after the Body', `<e:Envelope xmlns:e="${SOAP}" xmlns:w="${WS}"><e:Body>${startBody}</e:Body><x/></e:Envelope>`, 'must hold one Body'],
    ['an empty Body', envelope('', ''), 'must hold one element'],
    ['two elements in the Body', envelope('', startBody + startBody), 'must hold one element'],
    ['two resource keys', envelope(`${key12}<w:WorkspaceKey>13</w:WorkspaceKey>`, startBody), 'stands there twice'],
    ['two actions', envelope(`<a:Action>${START}</a:Action><a:Action>x</a:Action>`, startBody), 'stands there twice'],
    ['an unknown body', envelope('', '<w:createe/>'), 'has no operation for'],
    ['a body of another service', envelope('', '<w:create/>'), 'has no operation for'],
    ['a body of another namespace', envelope('', '<startWorkspace xmlns="urn:x"/>'), 'has no operation for'],
    ['another wsa:Action than the body\'s', envelope(`<a:Action>${WS}/WorkspacePortType/shutdownRequest</a:Action>`, startBody), 'wsa:Action says'],
    ['another SOAPAction than the body\'s', envelope('', startBody), 'SOAPAction says', { SOAPAction: '"urn:other"' }],
    ['a header that must be understood', envelope('<x:y xmlns:x="urn:x" e:mustUnderstand="1"/>', startBody), 'soapenv:MustUnderstand'],
    ['a key of a foreign namespace that must be understood', envelope('<x:WorkspaceKey xmlns:x="urn:x" e:mustUnderstand="true">12</x:WorkspaceKey>', startBody), 'soapenv:MustUnderstand'],
    ['a document type', `<!DOCTYPE e>${envelope('', startBody)}`, 'a document type is not allowed'],
    ['100,000 elements in each other', '<a>'.repeat(30_000), 'nested more than'],
  ])('%s', async (_, body, message, headers) => {
    const { status, text } = await post('WorkspaceService', body, headers);
    expect([status, text]).toEqual([500, expect.stringContaining(message)]);
    expect(readReply(Buffer.from(text), s.descriptions.codec).ok).toBe(false);
    expect(s.calls).toEqual([]);
  });

  it('an input that is none of its type, with the place', async () => {
    const { text } = await post('WorkspaceService', envelope('', `<w:shutdownWorkspace><t:shutdownType xmlns:t="${WT}">Explode</t:shutdownType></w:shutdownWorkspace>`));
    expect(text).toContain('shutdownWorkspace/shutdownType has a wrong value');
    expect(s.calls).toEqual([]);
  });

  it('a key of a foreign namespace is no key, and headers for others are not ours', async () => {
    await post('WorkspaceService', envelope('<x:WorkspaceKey xmlns:x="urn:x">12</x:WorkspaceKey><x:z xmlns:x="urn:x" e:mustUnderstand="1" e:actor="urn:next-but-one"/>', startBody));
    expect(s.calls).toMatchObject([{ key: undefined }]);
  });

  it('blanks around an action, and an empty SOAPAction, say nothing wrong', async () => {
    const { status } = await post('WorkspaceService', envelope(`<a:Action>\n  ${START}\n</a:Action>`, startBody), { SOAPAction: '""' });
    expect(status).toBe(200);
  });
});

describe('messages with random changes', () => {
  const message = envelope(`<a:MessageID>uuid:3</a:MessageID><a:Action e:mustUnderstand="0">${START}</a:Action><w:WorkspaceKey>12</w:WorkspaceKey>`,
    `<w:shutdownWorkspace xmlns:t="${WT}"><t:shutdownType>Normal</t:shutdownType></w:shutdownWorkspace>`).replace('startRequest', 'shutdownRequest');
  const pieces = fc.constantFrom('', ' ', '<', '>', '/', '"', '&', 'x', ':', '<a:b/>', '</e:Body>', '<e:Body>', '<!--', ']]>', 'xmlns:t="urn:x"', 'xsi:nil="true"', '1', 'é', '\u0000');

  it('are answered: with what was asked, or with a fault, never otherwise', async () => {
    let refused = 0;
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(message.length), fc.nat(12), pieces), { maxLength: 3 }), async (changes) => {
      const text = changes.reduce((t, [at, cut, put]) => t.slice(0, at) + put + t.slice(at + cut), message);
      const { status, body } = await s.dispatcher.answer({ id: 'id', service: 'WorkspaceService', address: 'http://h/', soapAction: undefined, bytes: Buffer.from(text), transport: undefined });
      const reply = readReply(Buffer.from(body), s.descriptions.codec);
      expect([status, reply.ok]).toEqual(reply.ok ? [200, true] : [500, false]);
      if (!reply.ok) {
        refused++;
        expect(reply.fault.text).not.toBe('internal');
      }
    }), { numRuns: 1000 });
    expect(refused).toBeGreaterThan(100);
  });
});

describe('over HTTP', () => {
  it.each([
    ['GET', 'WorkspaceService', 404], ['DELETE', 'WorkspaceService', 405], ['POST', 'Nothing', 404], ['POST', '', 404], ['POST', 'constructor', 404],
  ])('%s %s is %i', async (method, service, status) => {
    const answer = await fetch(`${s.url}${service}`, { method, ...(method === 'POST' ? { body: 'x' } : {}) });
    expect([answer.status, await answer.text()]).toEqual([status, expect.stringContaining('soapenv:Client')]);
  });

  it.each(['application/json', 'text/xml; charset=iso-8859-1', 'text/xml; charset="utf-16"', 'multipart/related'])('%s is 415', async (type) => {
    expect((await post('WorkspaceService', envelope('', startBody), { 'Content-Type': type })).status).toBe(415);
  });

  it('a body beyond the limit is 413, with a length or in chunks', async () => {
    const large = envelope('', `<w:startWorkspace>${'x'.repeat(100_000)}</w:startWorkspace>`);
    expect((await post('WorkspaceService', large)).status).toBe(413);
    const chunked = httpRequest(`${s.url}WorkspaceService`, { method: 'POST', headers: { 'Content-Type': 'text/xml' } });
    for (let i = 0; i < 20; i++) chunked.write('x'.repeat(10_000));
    chunked.end();
    const [answer] = (await once(chunked, 'response')) as [{ statusCode: number; resume(): void }];
    answer.resume();
    expect(answer.statusCode).toBe(413);
    expect(s.calls).toEqual([]);
  });

  it('chunks without end end with the connection', async () => {
    const socket = await openSocket(s.port);
    socket.write('POST /wsrf/services/WorkspaceService HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n');
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    let sent = 0;
    let open = true;
    const closed = once(socket, 'close').finally(() => { open = false; });
    socket.resume();
    while (open && sent < 64 * 1024 * 1024) {
      sent += chunk.length;
      if (!socket.write(chunk)) await Promise.race([once(socket, 'drain'), closed]).catch(() => undefined);
    }
    expect(open).toBe(false);
    expect(s.calls).toEqual([]);
  });

  it('a body that drips is given up, and the connection closed', async () => {
    const slow = await startServices({ listener: { bodyMs: 200 } });
    try {
      const socket = await openSocket(slow.port);
      socket.write('POST /wsrf/services/WorkspaceService HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml\r\nContent-Length: 1000\r\n\r\n<a>');
      let text = '';
      socket.on('data', (d: Buffer) => { text += d.toString(); });
      await once(socket, 'close');
      expect(text).toMatch(/^HTTP\/1\.1 408 /);
      expect(slow.calls).toEqual([]);
    } finally {
      await slow.close();
    }
  });
});

describe('admission', () => {
  it('comes before anything is looked at, and its answer is what is acted upon', async () => {
    const seen: string[] = [];
    const guarded = await startServices({
      admit: (message, request) => {
        seen.push(`${request.service} ${message.body.local} ${message.headers.has('{urn:x}Security')}`);
        if (!message.headers.has('{urn:x}Security')) throw new BaseFault(UNKNOWN, 'who are you?');
        return { context: 'signer', understood: ['{urn:x}Security'] };
      },
    });
    try {
      const ask = async (head: string, body: string): Promise<string> => (await fetch(`${guarded.url}WorkspaceService`, { method: 'POST', body: envelope(head, body) })).text();
      expect(await ask('<x:other xmlns:x="urn:x" e:mustUnderstand="1"/>', '<w:nonsense/>')).toContain('who are you?');
      expect(await ask('<x:Security xmlns:x="urn:x" e:mustUnderstand="1"/>', startBody)).toContain('startWorkspaceResponse');
      expect(seen).toEqual(['WorkspaceService nonsense false', 'WorkspaceService startWorkspace true']);
      expect(guarded.calls).toMatchObject([{ context: 'signer' }]);
    } finally {
      await guarded.close();
    }
  });
});

describe('at start', () => {
  it('a handler too many or too few is found', () => {
    const { descriptions } = s;
    const make = (handlers: Record<string, () => unknown>): unknown => createDispatcher<undefined, string>({
      ctx: testContext(), descriptions, endpoints: { WorkspaceGroupService: { handlers } }, admit: () => ({ context: '' }), translate: () => new SoapFault('Server', ''),
    });
    const none = (): unknown => ({});
    expect(() => make({ start: none, shutdown: none })).toThrow('operations without a handler: Destroy');
    expect(() => make({ start: none, shutdown: none, Destroy: none, Explode: none })).toThrow('handlers without an operation: Explode');
    expect(make({ start: none, shutdown: none, Destroy: none })).toBeDefined();
  });
});
