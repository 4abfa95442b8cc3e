/** One HTTP request with one deadline over all of it: name, connection, request, head, body. */
import { Agent, request } from 'node:http';
import type { AgentOptions, ClientRequest, IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../control/agent/clock.ts';
import { overStream } from './ssh-way.ts';

const MAX_ANSWER = 64 * 1024;
/** An idle connection shorter-lived than what servers keep, so that it is seldom closed under a request. */
const IDLE_MS = 60_000;

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface HttpClient {
  /** Rejects with an Error whose message says what failed; `signal` breaks the request off. `connect`: another way to the server, for this request only. */
  post(url: URL, headers: Readonly<Record<string, string>>, body: string, deadlineMs: number, signal: AbortSignal, connect?: () => Duplex): Promise<HttpAnswer>;
  close(): void;
}

type Request = (url: URL, options: RequestOptions) => ClientRequest;
interface Scheme {
  readonly request: Request;
  readonly Agent: new (options: AgentOptions & TlsOptions) => Agent;
}

export interface TlsOptions {
  /** PEM of the only authority to trust; absent = those that Node trusts. */
  readonly ca?: string;
}

/** TLS is loaded when a contact needs it: it costs more than the rest of a pilot's start. */
export const schemeOf = async (url: URL): Promise<Scheme> => (url.protocol === 'https:' ? import('node:https') : { request, Agent });

export function httpClient(clock: Clock, { ca }: TlsOptions): HttpClient {
  const agents = new Map<string, Agent>();
  const options = { keepAlive: true, maxSockets: 1, timeout: IDLE_MS, ...(ca === undefined ? {} : { ca }) };
  const exchangeOnce = async (url: URL, headers: Readonly<Record<string, string>>, body: string, deadlineMs: number, signal: AbortSignal, connect?: () => Duplex): Promise<HttpAnswer> => {
    const scheme = await schemeOf(url);
    const way = connect === undefined ? { agent: agents.get(url.protocol) ?? new scheme.Agent(options) } : await overStream(url, connect, { ...(ca === undefined ? {} : { ca }) });
    if ('agent' in way) agents.set(url.protocol, way.agent);
    const sent = scheme.request(url, { method: 'POST', ...way, headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) } });
    return exchange(clock, sent, body, deadlineMs, signal);
  };
  return {
    async post(...what) {
      try {
        return await exchangeOnce(...what);
      } catch (e) {
        // The server closed the idle connection as the request left: it was not taken.
        if (e instanceof ReusedConnectionLost) return exchangeOnce(...what);
        throw e;
      }
    },
    close() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

class ReusedConnectionLost extends Error {}

function exchange(clock: Clock, sent: ClientRequest, body: string, deadlineMs: number, signal: AbortSignal): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(deadlineMs, () => fail(new Error(`no answer within ${Math.round(deadlineMs)} ms`)));
    const aborted = (): void => fail(new Error('broken off'));
    const settle = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', aborted);
    };
    function fail(e: Error): void {
      settle();
      sent.destroy();
      reject(e);
    }
    signal.addEventListener('abort', aborted, { once: true });
    sent.on('error', (e: NodeJS.ErrnoException) => {
      const lost = sent.reusedSocket && (e.code === 'ECONNRESET' || e.code === 'EPIPE');
      fail(lost ? new ReusedConnectionLost(e.message) : new Error(e.message === '' ? String(e.code) : e.message));
    });
    sent.on('response', (response) => {
      readAll(response).then((text) => {
        settle();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
      }, fail);
    });
    if (signal.aborted) aborted();
    else sent.end(body);
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
