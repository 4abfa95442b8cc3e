/** In the place of the pilot's `http.ts`: the same calls, over the simulated network that the process was given. */
import type { HttpAnswer, HttpClient, TlsOptions } from '../../../src/pilot/program/http.ts';
import type { Clock } from '../../../src/control/agent/clock.ts';

export type { HttpAnswer, HttpClient, TlsOptions };

/** What a process may ask of the network. */
export interface Web {
  post(url: URL, headers: Readonly<Record<string, string>>, body: string): Promise<HttpAnswer>;
  /** A request for an upgrade; its events are those of `http.ClientRequest`. */
  upgrade(url: URL, options: { readonly headers: Readonly<Record<string, string>> }): object;
}

declare const simulatedWeb: Web;

export const schemeOf = (): Promise<object> => Promise.resolve({ request: (url: URL, options: { headers: Record<string, string> }) => simulatedWeb.upgrade(url, options) });

export function httpClient(clock: Clock, _tls: TlsOptions): HttpClient {
  return {
    post: (url, headers, body, deadlineMs, signal) => new Promise((resolve, reject) => {
      const settle = (): void => {
        timer.cancel();
        signal.removeEventListener('abort', broken);
      };
      const broken = (): void => {
        settle();
        reject(new Error('broken off'));
      };
      const timer = clock.after(deadlineMs, () => {
        settle();
        reject(new Error(`no answer within ${Math.round(deadlineMs)} ms`));
      });
      signal.addEventListener('abort', broken, { once: true });
      if (signal.aborted) return broken();
      simulatedWeb.post(url, headers, body).then(
        (answer) => { settle(); resolve(answer); },
        (e: unknown) => { settle(); reject(e instanceof Error ? e : new Error(String(e))); },
      );
    }),
    close: () => undefined,
  };
}
