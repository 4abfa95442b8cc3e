/**
 * Services on `node:http`: which requests are read at all, within which size and time, and how answers go out. The server
 * itself, its TLS and its limits on headers and connections are the door's.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isFault } from '../lease/faults.ts';
import type { Context } from '../platform/context.ts';
import { DeadlineExceeded, withDeadline } from '../platform/deadline.ts';
import { ClientGone, createBodyReader } from '../platform/http/body.ts';
import { newRequestId } from '../platform/ids.ts';
import { faultText } from './message/fault-text.ts';
import { envelopeText } from './message/envelope.ts';
import { SoapFault } from './message/fault.ts';
import type { Dispatcher } from './types.ts';
import { wsdlPage } from './wsdl/pages.ts';
import type { Descriptions } from './wsdl/types.ts';

export interface ListenerParts<T> {
  readonly ctx: Context;
  readonly dispatcher: Dispatcher<T>;
  readonly descriptions: Descriptions;
  /** As the dispatcher has them. */
  readonly absent?: ReadonlyMap<string, string>;
  /** Path of all services: `/wsrf/services/`. */
  readonly path: string;
  /** `https://host:port` as this client reaches the service: configured, or from its Host header. */
  readonly origin: (request: IncomingMessage) => string;
  readonly transport: (request: IncomingMessage) => T;
  readonly maxBodyBytes: number;
  /** From the request's head to the end of its body. */
  readonly bodyMs: number;
}

/** Requests that are answered at the same time. */
const MAX_RUNNING = 512;
const XML_TYPE = 'text/xml;charset=UTF-8';
const METHODS = new Set(['POST', 'PUT', 'GET', 'HEAD']);

export function createListener<T>(parts: ListenerParts<T>): (request: IncomingMessage, response: ServerResponse) => void {
  const { ctx, descriptions } = parts;
  const bodies = createBodyReader(parts.maxBodyBytes);
  let running = 0;

  const respond = (response: ServerResponse, status: number, body: string, extra: Readonly<Record<string, string>> = {}): void => {
    response.writeHead(status, { 'Content-Type': XML_TYPE, 'Content-Length': Buffer.byteLength(body), ...extra });
    response.end(response.req.method === 'HEAD' ? undefined : body);
  };
  const refuse = (response: ServerResponse, status: number, message: string, extra: Readonly<Record<string, string>> = {}): void => {
    const text = faultText(new SoapFault('Client', message), descriptions.codec, ctx.clock.now(), { address: '', properties: [] });
    respond(response, status, envelopeText('', text), extra);
  };

  const page = (request: IncomingMessage, response: ServerResponse, service: string, query: string): void => {
    const text = wsdlPage(descriptions, service, query, `${parts.origin(request)}${parts.path}`);
    if (text === undefined) refuse(response, 404, query === '' ? `${service} takes SOAP requests; its description is at ${service}?wsdl.` : 'There is nothing at this address.');
    else respond(response, 200, text);
  };

  const receive = async (request: IncomingMessage, response: ServerResponse, id: string, service: string): Promise<void> => {
    let bytes: Buffer;
    try {
      bytes = await withDeadline(ctx.clock, parts.bodyMs, 'the request body', bodies.read(request));
    } catch (e) {
      if (isFault(e)) return refuse(response, e.http, e.text, { Connection: 'close' });
      // What still comes is not read.
      if (e instanceof DeadlineExceeded) {
        response.once('finish', () => request.socket.destroy());
        return refuse(response, 408, 'The request did not come to its end in time.', { Connection: 'close' });
      }
      throw e;
    }
    const soapAction = request.headers['soapaction'];
    const { status, body } = await parts.dispatcher.answer({
      id, service, bytes,
      address: `${parts.origin(request)}${parts.path}${service}`,
      soapAction: Array.isArray(soapAction) ? soapAction.join(', ') : soapAction,
      transport: parts.transport(request),
    });
    respond(response, status, body);
  };

  return (request, response) => {
    const method = request.method ?? '';
    const [path = '', query = ''] = (request.url ?? '').split(/\?(.*)/s);
    const service = path.startsWith(parts.path) ? path.slice(parts.path.length) : undefined;
    const asked = service !== undefined && (descriptions.services.has(service) || (method === 'POST' && parts.absent?.has(service) === true));
    if (!asked) return refuse(response, 404, 'There is no service at this path.', close(request));
    if (!METHODS.has(method)) return refuse(response, 405, 'Services take POST; their descriptions are read with GET.', { Allow: 'GET, HEAD, POST, PUT', ...close(request) });
    if (method === 'GET' || method === 'HEAD') return page(request, response, service, query);
    const refused = contentRefusal(request);
    if (refused !== undefined) return refuse(response, 415, refused, { Connection: 'close' });
    if (running >= MAX_RUNNING) return refuse(response, 503, 'Too many requests are being answered; try again shortly.', { Connection: 'close' });
    const id = newRequestId(ctx.random);
    running++;
    receive(request, response, id, service).catch((e: unknown) => {
      if (!(e instanceof ClientGone)) ctx.log.error('a request could not be answered', { requestId: id, error: e instanceof Error ? e.stack ?? e.message : String(e) });
      response.destroy();
    }).finally(() => { running--; });
  };
}

/** A connection whose request has a body that nobody reads is of no further use. */
const close = (request: IncomingMessage): Readonly<Record<string, string>> => (request.method === 'GET' || request.method === 'HEAD' ? {} : { Connection: 'close' });

function contentRefusal(request: IncomingMessage): string | undefined {
  const type = (request.headers['content-type'] ?? '').toLowerCase();
  // Some clients send a body without saying what it is.
  if (type !== '' && !/^(?:text\/(?:xml|plain)|application\/(?:soap\+)?xml|application\/x-www-form-urlencoded|application\/octet-stream)\b/.test(type)) return `The body must be text/xml, not ${type.slice(0, 100)}.`;
  const charset = /charset\s*=\s*"?([\w-]+)/.exec(type)?.[1];
  return charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii' ? undefined : `The body must be UTF-8, not ${charset}.`;
}
