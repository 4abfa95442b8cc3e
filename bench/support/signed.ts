/** A small EC2 client for load: signature v4 over kept-alive connections, cheap enough not to be what is measured. */
import { createHash, createHmac } from 'node:crypto';
import { Agent, request } from 'node:http';

const sha256 = (data: string): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();

export interface Answer {
  readonly status: number;
  readonly body: string;
}

export interface SignedClient {
  /** Rejects when the connection fails, or when nothing was answered within `timeoutMs` (0: waits for ever). */
  call(parameters: Readonly<Record<string, string>>, timeoutMs?: number): Promise<Answer>;
  close(): void;
}

export function createSignedClient(url: string, credentials: { accessKey: string; secretKey: string }, connections: number): SignedClient {
  const { hostname, port, host } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const keys = new Map<string, Buffer>();
  const keyFor = (day: string): Buffer => {
    let key = keys.get(day);
    if (key === undefined) {
      key = ['bench', 'ec2', 'aws4_request'].reduce((k, part) => hmac(k, part), hmac(`AWS4${credentials.secretKey}`, day));
      keys.set(day, key);
    }
    return key;
  };

  function headers(body: string): Record<string, string> {
    const amzDate = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '');
    const day = amzDate.slice(0, 8);
    const scope = `${day}/bench/ec2/aws4_request`;
    const canonical = `POST\n/\n\nhost:${host}\nx-amz-date:${amzDate}\n\nhost;x-amz-date\n${sha256(body)}`;
    const signature = hmac(keyFor(day), `AWS4-HMAC-SHA256\n${amzDate}\n${scope}\n${sha256(canonical)}`).toString('hex');
    return {
      host, 'x-amz-date': amzDate, 'content-type': 'application/x-www-form-urlencoded',
      authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKey}/${scope}, SignedHeaders=host;x-amz-date, Signature=${signature}`,
    };
  }

  return {
    call(parameters, timeoutMs = 0) {
      const body = new URLSearchParams({ Version: '2016-11-15', ...parameters }).toString();
      return new Promise((resolve, reject) => {
        const req = request({ hostname, port, method: 'POST', path: '/', agent, headers: { ...headers(body), 'content-length': String(Buffer.byteLength(body)) } }, (res) => {
          const chunks: Buffer[] = [];
          res.on('data', (c: Buffer) => chunks.push(c));
          res.on('end', () => resolve({ status: res.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }));
        });
        req.on('error', reject);
        if (timeoutMs > 0) req.setTimeout(timeoutMs, () => req.destroy(new Error(`no answer within ${timeoutMs} ms`)));
        req.end(body);
      });
    },
    close: () => agent.destroy(),
  };
}
