/** Signed Query requests to a running service, without a client library in between. */
import { form, reply, signV4, type Reply } from '../ec2/door.ts';
import type { Serve } from './serve.ts';

export interface Keys {
  readonly accessKey: string;
  readonly secret: string;
}

export type Ask = (params: Readonly<Record<string, string>>) => Promise<Reply>;

export const portOf = (serve: Serve): number => Number(new URL(serve.ec2).port);

export async function newUser(serve: Serve, name: string): Promise<Keys> {
  const { accessKey, secretKey } = await serve.user(name);
  return { accessKey, secret: secretKey };
}

/** The bytes of a body as they are, with these headers. */
export async function sendBody(serve: Serve, body: string | Buffer, headers: Record<string, string>): Promise<Reply> {
  const r = await fetch(serve.ec2, { method: 'POST', body, headers });
  return reply(r.status, r.headers, await r.text());
}

export const signedHeaders = (serve: Serve, keys: Keys, body: string, now = Date.now()): Record<string, string> =>
  signV4({ now, port: portOf(serve) }, body, keys);

/** Two requests that are the same, within a second, have the same signature: the second one would be taken for a replay. */
let asked = 0;

export function askAs(serve: Serve, keys: Keys): Ask {
  return (params) => {
    const body = form({ ...params, Timestamp: String(asked += 1) });
    return sendBody(serve, body, signedHeaders(serve, keys, body));
  };
}
