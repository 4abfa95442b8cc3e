/** The binary form of SSH keys (RFC 4251 section 5, RFC 4253 section 6.6, RFC 5656, RFC 8709). */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';

export const sshString = (bytes: Buffer | string): Buffer => {
  const body = typeof bytes === 'string' ? Buffer.from(bytes, 'utf8') : bytes;
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
};

/** A positive number: no superfluous zeros, one zero byte where the first bit is set. */
const mpint = (bytes: Buffer): Buffer => {
  let start = 0;
  while (start < bytes.length && bytes[start] === 0) start += 1;
  const body = bytes.subarray(start);
  return sshString((body[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), body]) : body);
};

const bytesOf = (field: string | undefined): Buffer => Buffer.from(field ?? '', 'base64url');
const fieldOf = (bytes: Buffer): string => bytes.toString('base64url');

interface Curve {
  readonly jwk: string;
  readonly ssh: string;
}
const CURVES: readonly Curve[] = [
  { jwk: 'P-256', ssh: 'nistp256' }, { jwk: 'P-384', ssh: 'nistp384' }, { jwk: 'P-521', ssh: 'nistp521' },
];

/** The algorithm's name and the blob; undefined for keys that SSH does not know. */
export function encodePublicKey(key: KeyObject): { readonly algorithm: string; readonly blob: Buffer } | undefined {
  const jwk = exported(key);
  if (jwk === undefined) return undefined;
  const named = (algorithm: string, ...parts: Buffer[]) => ({ algorithm, blob: Buffer.concat([sshString(algorithm), ...parts]) });
  if (jwk.kty === 'RSA') return named('ssh-rsa', mpint(bytesOf(jwk.e)), mpint(bytesOf(jwk.n)));
  if (jwk.kty === 'OKP') return named('ssh-ed25519', sshString(bytesOf(jwk.x)));
  const curve = CURVES.find((c) => c.jwk === jwk.crv);
  if (curve === undefined) return undefined;
  const point = Buffer.concat([Buffer.of(4), bytesOf(jwk.x), bytesOf(jwk.y)]);
  return named(`ecdsa-sha2-${curve.ssh}`, sshString(curve.ssh), sshString(point));
}

/** Undefined for types and curves that have no JWK form: SSH does not know them either. */
function exported(key: KeyObject): JsonWebKey | undefined {
  if (!['rsa', 'ed25519', 'ec'].includes(key.asymmetricKeyType ?? '')) return undefined;
  try {
    return key.export({ format: 'jwk' });
  } catch {
    return undefined;
  }
}

/** The key in a blob; undefined when the blob is malformed, longer than its key, or of an algorithm that is not known here. */
export function decodePublicKey(blob: Buffer): KeyObject | undefined {
  const parts = splitStrings(blob);
  const jwk = parts === undefined ? undefined : jwkOf(parts);
  if (jwk === undefined) return undefined;
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    return undefined;
  }
}

function jwkOf([algorithm, ...fields]: readonly Buffer[]): JsonWebKey | undefined {
  const name = algorithm?.toString('latin1');
  const [a, b, c] = fields;
  if (name === 'ssh-rsa' && a !== undefined && b !== undefined && c === undefined) return { kty: 'RSA', e: fieldOf(a), n: fieldOf(b) };
  if (name === 'ssh-ed25519' && a?.length === 32 && b === undefined) return { kty: 'OKP', crv: 'Ed25519', x: fieldOf(a) };
  const curve = CURVES.find((x) => name === `ecdsa-sha2-${x.ssh}`);
  if (curve === undefined || a?.toString('latin1') !== curve.ssh || b?.[0] !== 4 || c !== undefined) return undefined;
  const half = (b.length - 1) / 2;
  return { kty: 'EC', crv: curve.jwk, x: fieldOf(b.subarray(1, 1 + half)), y: fieldOf(b.subarray(1 + half)) };
}

function splitStrings(blob: Buffer): Buffer[] | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; at < blob.length;) {
    if (at + 4 > blob.length) return undefined;
    const end = at + 4 + blob.readUInt32BE(at);
    if (end > blob.length) return undefined;
    parts.push(blob.subarray(at + 4, end));
    at = end;
  }
  return parts;
}
