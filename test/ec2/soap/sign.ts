/** SOAP requests as clients sign them, sent to a door of a test, and what comes back. */
import { generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto';
import type { Reply, OpenDoor } from '../door.ts';
import { reply } from '../door.ts';
import { signMessage, type SignOptions } from '../../grid/signer.ts';
import { authority, user } from '../../grid/make.ts';
import type { FakeAccount } from '../fake-manager.ts';

export interface SoapReply extends Reply {
  readonly text: string;
  readonly requestId: string;
}

export function soapReply(r: Reply): SoapReply {
  const part = (name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(r.body)?.[1] ?? '';
  return { ...r, code: part('faultcode'), text: part('faultstring').replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&amp;', '&'), requestId: part('aws:RequestId') };
}

export interface Signer {
  readonly key: KeyObject;
  readonly der: Buffer;
  readonly fingerprint: string;
}

const root = authority('O=Grid,CN=Root');

/** A certificate of a test authority; what is asked of its key are `bits`. */
export function signer(name = 'Alice', bits = 2048): Signer {
  const keys = generateKeyPairSync('rsa', { modulusLength: bits });
  const { der } = user(root, `O=Grid,CN=${name}`, { keys });
  return { key: keys.privateKey, der, fingerprint: fingerprintOf(der) };
}
export const fingerprintOf = (der: Buffer): string => new X509Certificate(der).fingerprint256.replaceAll(':', '').toLowerCase();
export { root as soapRoot };

export function register(door: OpenDoor, { fingerprint }: Signer, account: FakeAccount): void {
  door.manager.certificates.set(fingerprint, account);
}

export function soapMessage(door: { now: number }, by: Signer, version: string, action: string, content = '', o: Partial<SignOptions> = {}): string {
  return signMessage({ key: by.key, chain: [by.der], now: door.now, body: `<${action} xmlns="http://ec2.amazonaws.com/doc/${version}/">${content}</${action}>`, ...o });
}

export async function sendSoap(door: OpenDoor, text: string | Buffer, path = '/', headers: Record<string, string> = {}): Promise<SoapReply> {
  const r = await fetch(door.url + path, { method: 'POST', body: text, headers: { 'content-type': 'text/xml; charset=UTF-8', soapaction: '""', ...headers } });
  return soapReply(reply(r.status, r.headers, await r.text()));
}
