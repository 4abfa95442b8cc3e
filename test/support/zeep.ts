/** The zeep session as a test uses it: calls go in, answers come out, one at a time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface ZeepCall {
  /** URL of the service, without `?wsdl`. */
  readonly service: string;
  readonly operation: string;
  /** Name and text of the reference property that names the resource. */
  readonly key?: readonly [string, string];
  /** `{ $qname }`, `{ $any }` and `{ $xml }` are explained in clients/zeep/session.py. */
  readonly input?: unknown;
}

export type ZeepAnswer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: string; readonly text: string; readonly element: string | null; readonly descriptions: readonly string[] };

export interface ZeepSession {
  call(call: ZeepCall): Promise<ZeepAnswer>;
  close(): Promise<void>;
}

export interface ZeepOptions {
  /** Certificate, or a proxy file that holds everything. */
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
  /** For OpenSSL: proxies are certificates that a client library does not expect. */
  readonly env?: Readonly<Record<string, string>>;
}

export function startZeep({ cert, key, ca, env = {} }: ZeepOptions = {}): ZeepSession {
  const options = Object.entries({ cert, key, ca }).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, value]));
  const child = spawn('/usr/bin/python3', [join(import.meta.dirname, '../clients/zeep/session.py'), ...options], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString()).slice(-10_000); });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async call(call) {
      child.stdin.write(`${JSON.stringify(call)}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`zeep ended: ${stderr}`);
      return JSON.parse(value) as ZeepAnswer;
    },
    async close() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}
