/** One HTTP request with one deadline over all of it: name, connection, request, head, body. */
import { Agent, request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http';
import type { Clock } from '../../control/agent/clock.ts';

const MAX_ANSWER = 64 * 1024;
/** An idle connection shorter-lived than what servers keep, so that it is seldom closed under a request. */
const IDLE_MS = 60_000;

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface HttpClient {
  /** Rejects with an Error whose message says what failed; `signal` breaks the request off. */
  post(url: URL, headers: Readonly<Record<string, string>>, body: string, deadlineMs: number, signal: AbortSignal): Promise<HttpAnswer>;
  close(): void;
}

interface Scheme {
  readonly request: (url: URL, options: RequestOptions) => ClientRequest;
  readonly agent: Agent;
}

export interface TlsOptions {
  /** PEM of the only authority to trust; absent = those that Node trusts. */
  readonly ca?: string;
}

/** TLS is loaded when a contact needs it: it costs more than the rest of a pilot's start. */
export async function requester(protocol: string, { ca }: TlsOptions): Promise<Scheme> {
  if (protocol !== 'https:') return { request: httpRequest, agent: new Agent({ keepAlive: true, maxSockets: 1, timeout: IDLE_MS }) };
  const https = await import('node:https');
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, timeout: IDLE_MS, ...(ca === undefined ? {} : { ca }) });
  return { request: https.request, agent };
}

export function httpClient(clock: Clock, tls: TlsOptions): HttpClient {
  const schemes = new Map<string, Promise<Scheme>>();
  const schemeOf = (protocol: string): Promise<Scheme> => {
    const known = schemes.get(protocol) ?? requester(protocol, tls);
    schemes.set(protocol, known);
    return known;
  };
  return {
    async post(url, headers, body, deadlineMs, signal) {
      const scheme = await schemeOf(url.protocol);
      try {
        return await once(scheme);
      } catch (e) {
        // The server closed the idle connection as the request left: it was not taken.
        if (e instanceof ReusedConnectionLost && !signal.aborted) return once(scheme);
        throw e;
      }
      function once({ request, agent }: Scheme): Promise<HttpAnswer> {
        const options = { method: 'POST', agent, headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) } };
        return exchange(clock, request(url, options), body, deadlineMs, signal);
      }
    },
    close() {
      for (const scheme of schemes.values()) void scheme.then(({ agent }) => agent.destroy());
    },
  };
}

class ReusedConnectionLost extends Error {}

function exchange(clock: Clock, request: ClientRequest, body: string, deadlineMs: number, signal: AbortSignal): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(deadlineMs, () => fail(new Error(`no answer within ${Math.round(deadlineMs)} ms`)));
    const aborted = (): void => fail(new Error('broken off'));
    const settle = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', aborted);
    };
    function fail(e: Error): void {
      settle();
      request.destroy();
      reject(e);
    }
    signal.addEventListener('abort', aborted, { once: true });
    request.on('error', (e: NodeJS.ErrnoException) => {
      const lost = request.reusedSocket && (e.code === 'ECONNRESET' || e.code === 'EPIPE');
      fail(lost ? new ReusedConnectionLost(e.message) : new Error(e.message === '' ? String(e.code) : e.message));
    });
    request.on('response', (response) => {
      readAll(response).then((text) => {
        settle();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
      }, fail);
    });
    if (signal.aborted) aborted();
    else request.end(body);
  });
}

function readAll(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MAX_ANSWER) reject(new Error(`an answer longer than ${MAX_ANSWER} bytes`));
    });
    response.on('end', () => resolve(text));
    response.on('aborted', () => reject(new Error('the answer broke off')));
    response.on('error', reject);
  });
}
