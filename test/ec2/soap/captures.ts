/** The captured SOAP requests of test/fixtures/ec2-soap. */
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface SoapCapture {
  readonly name: string;
  readonly version: string;
  readonly action: string;
  /** The whole HTTP request. */
  readonly bytes: Buffer;
  /** When it was signed, ms. */
  readonly at: number;
  /** Of its signer's certificate: SHA-256, hexadecimal. */
  readonly fingerprint: string;
}

const ROOT = join(import.meta.dirname, '../../fixtures/ec2-soap');

export const SOAP_CAPTURES: readonly SoapCapture[] = readdirSync(ROOT, { withFileTypes: true })
  .filter((d) => d.isDirectory())
  .flatMap((d) => readdirSync(join(ROOT, d.name)).map((f) => read(d.name, f)));

function read(folder: string, file: string): SoapCapture {
  const bytes = readFileSync(join(ROOT, folder, file));
  const text = bytes.toString('latin1');
  const [, action = '', version = ''] = /<(?:[\w-]+:)?Body[^>]*>\s*<(?:[\w-]+:)?(\w+)[^>]*xmlns(?::\w+)?="http:\/\/ec2\.amazonaws\.com\/doc\/([\d-]+)\/"/.exec(text) ?? [];
  const token = /BinarySecurityToken[^>]*>([^<]+)</.exec(text)?.[1] ?? '';
  return {
    name: `${folder}/${file}`, version, action, bytes,
    at: Date.parse(/Created>([^<]+)</.exec(text)?.[1] ?? ''),
    fingerprint: new X509Certificate(Buffer.from(token, 'base64')).fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}
