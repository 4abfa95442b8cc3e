/** The way to grid services: HTTPS with the user's certificate or proxy, trusting the authorities that grid programs trust. */
import { readdirSync, readFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { join } from 'node:path';
import { errorText } from '../../platform/errors.ts';
import { Unreachable, UsageError } from '../exit.ts';

const ANSWER_MS = 120_000;
const MAX_ANSWER = 64 * 1024 * 1024;
const TRUST_DIRECTORY = '/etc/grid-security/certificates';

export interface Credentials {
  /** PEM: certificate with its chain, and key. */
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** Authorities, PEM; absent = those of the system. */
  readonly ca?: readonly Buffer[];
}

/** What the command line says, or the environment as grid programs read it. */
export function credentials(o: { cert?: string; key?: string; trust?: string }, env: Readonly<Record<string, string | undefined>>): Credentials {
  const proxy = env['X509_USER_PROXY'] ?? readable(`/tmp/x509up_u${process.getuid?.() ?? 0}`);
  const cert = o.cert ?? proxy ?? env['X509_USER_CERT'];
  const key = o.key ?? (o.cert !== undefined || proxy !== undefined ? cert : env['X509_USER_KEY']);
  const trust = o.trust ?? env['X509_CERT_DIR'];
  const ca = authorities(trust ?? TRUST_DIRECTORY, trust !== undefined);
  return { ...(cert === undefined ? {} : { cert: file(cert) }), ...(key === undefined ? {} : { key: file(key) }), ...(ca.length === 0 ? {} : { ca }) };
}

function readable(name: string): string | undefined {
  try {
    readFileSync(name);
    return name;
  } catch {
    return undefined;
  }
}

export function file(name: string): Buffer {
  try {
    return readFileSync(name);
  } catch (e) {
    throw new UsageError(`${name} cannot be read: ${errorText(e)}`);
  }
}

/** Files of a trust directory that hold certificates: `HASH.0`. A file serves as well. */
function authorities(place: string, asked: boolean): Buffer[] {
  try {
    return readdirSync(place).filter((f) => /^[0-9a-f]{8}\.\d$/.test(f)).map((f) => readFileSync(join(place, f)));
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOTDIR') return [readFileSync(place)];
    if (asked) throw new UsageError(`the trust directory ${place} cannot be read: ${errorText(e)}`);
    return [];
  }
}

/** @throws Unreachable */
export async function post(url: string, soapAction: string, envelope: string, with_: Credentials): Promise<Buffer> {
  const secure = url.startsWith('https:');
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      const options = {
        method: 'POST', agent: false as const, timeout: ANSWER_MS,
        headers: { 'Content-Type': 'text/xml; charset=utf-8', 'SOAPAction': `"${soapAction}"`, 'Content-Length': Buffer.byteLength(envelope) },
        ...(secure ? { ...(with_.cert === undefined ? {} : { cert: with_.cert }), ...(with_.key === undefined ? {} : { key: with_.key }), ...(with_.ca === undefined ? {} : { ca: [...with_.ca] }) } : {}),
      };
      const request = (secure ? requestHttps : requestHttp)(url, options, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_ANSWER) request.destroy(new Error('the answer is too long'));
          else chunks.push(chunk);
        });
        response.on('error', reject).on('end', () => resolve(Buffer.concat(chunks)));
      });
      request.on('timeout', () => request.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`))).on('error', reject).end(envelope);
    });
  } catch (e) {
    throw new Unreachable(`${url} cannot be asked: ${errorText(e)}`);
  }
}
