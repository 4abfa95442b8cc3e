/** Certificates and revocation lists of any shape, right and wrong ones, written by hand so that nothing is shared with what reads them. */
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';

const length = (n: number): number[] => (n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : n < 0x10000 ? [0x82, n >> 8, n & 0xff] : [0x83, n >> 16, (n >> 8) & 0xff, n & 0xff]);
export const tlv = (tag: number, ...content: Buffer[]): Buffer => {
  const bytes = Buffer.concat(content);
  return Buffer.concat([Buffer.from([tag, ...length(bytes.length)]), bytes]);
};
export const seq = (...parts: Buffer[]): Buffer => tlv(0x30, ...parts);
/** Not negative, in as few bytes as there can be. */
export function int(n: number): Buffer {
  const hex = n.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return tlv(0x02, ...((bytes[0] ?? 0) > 0x7f ? [Buffer.from([0])] : []), bytes);
}
export const utf8 = (text: string): Buffer => tlv(0x0c, Buffer.from(text));
export const printable = (text: string): Buffer => tlv(0x13, Buffer.from(text));
export const yes = tlv(0x01, Buffer.from([0xff]));
export function oid(text: string): Buffer {
  const [a = 0, b = 0, ...rest] = text.split('.').map(Number);
  const arc = (n: number): number[] => (n < 128 ? [n] : [...arc(Math.floor(n / 128)).map((x) => x | 0x80), n % 128]);
  return tlv(0x06, Buffer.from([a * 40 + b, ...rest.flatMap(arc)]));
}
export const time = (ms: number): Buffer => {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  const year = Number(digits.slice(0, 4));
  return year >= 1950 && year < 2050 ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits));
};

const TYPES: Readonly<Record<string, string>> = { C: '2.5.4.6', O: '2.5.4.10', OU: '2.5.4.11', CN: '2.5.4.3', DC: '0.9.2342.19200300.100.1.25', emailAddress: '1.2.840.113549.1.9.1' };
export type Rdn = readonly [type: string, value: string | Buffer];
/** `O=Grid,CN=Alice`, or its parts where a value is more than text. */
export type NameText = string | readonly Rdn[];
const rdns = (name: NameText): readonly Rdn[] => (typeof name === 'string' ? name.split(',').map((p) => [p.slice(0, p.indexOf('=')), p.slice(p.indexOf('=') + 1)] as const) : name);
export const nameDer = (name: NameText): Buffer => seq(...rdns(name).map(([type, value]) => tlv(0x31, seq(oid(TYPES[type] ?? type), typeof value === 'string' ? utf8(value) : value))));

export const extension = (id: string, value: Buffer, critical = false): Buffer => seq(oid(id), ...(critical ? [yes] : []), tlv(0x04, value));
export const basic = (ca: boolean, pathLength?: number): Buffer => extension('2.5.29.19', seq(...(ca ? [yes] : []), ...(pathLength === undefined ? [] : [int(pathLength)])), true);
/** Bits as in RFC 5280: 0 digitalSignature, 5 keyCertSign, 6 cRLSign. */
export const keyUsage = (...bits: number[]): Buffer => extension('2.5.29.15', tlv(0x03, Buffer.from([0, bits.reduce((all, bit) => all | (0x80 >> bit), 0)])), true);
export const LANGUAGE = { full: '1.3.6.1.5.5.7.21.1', independent: '1.3.6.1.5.5.7.21.2', limited: '1.3.6.1.4.1.3536.1.1.1.9' } as const;
export const rfcProxy = (language: string = LANGUAGE.full, pathLength?: number, o: { critical?: boolean; words?: string } = {}): Buffer => extension('1.3.6.1.5.5.7.1.14',
  seq(...(pathLength === undefined ? [] : [int(pathLength)]), seq(oid(language), ...(o.words === undefined ? [] : [tlv(0x04, Buffer.from(o.words))]))), o.critical ?? true);
export const draftProxy = (language: string = LANGUAGE.full, pathLength?: number): Buffer => extension('1.3.6.1.4.1.3536.1.222',
  seq(seq(oid(language)), ...(pathLength === undefined ? [] : [tlv(0xa1, int(pathLength))])), true);

export interface Keys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}
export const ecKeys = (): Keys => generateKeyPairSync('ec', { namedCurve: 'P-256' });
export const rsaKeys = (bits: number): Keys => generateKeyPairSync('rsa', { modulusLength: bits });

export interface Made {
  readonly der: Buffer;
  readonly subject: NameText;
  readonly keys: Keys;
}
export interface Shape {
  readonly subject: NameText;
  readonly issuer?: NameText;
  readonly keys?: Keys;
  /** Who signs; itself when there is none. */
  readonly by?: Pick<Made, 'keys' | 'subject'>;
  readonly from?: number;
  readonly until?: number;
  readonly serial?: number;
  readonly extensions?: readonly Buffer[];
  readonly digest?: 'sha1' | 'sha256' | 'md5';
  /** 1: without extensions. */
  readonly version?: 1 | 3;
}

const ALGORITHMS: Readonly<Record<string, string>> = {
  'ec sha256': '1.2.840.10045.4.3.2', 'ec sha1': '1.2.840.10045.4.1', 'rsa sha256': '1.2.840.113549.1.1.11', 'rsa sha1': '1.2.840.113549.1.1.5', 'rsa md5': '1.2.840.113549.1.1.4',
};
const HOUR = 3_600_000;
let serials = 1000;

export function certificate(shape: Shape): Made {
  const keys = shape.keys ?? ecKeys();
  const signer = shape.by?.keys ?? keys;
  const digest = shape.digest ?? 'sha256';
  const algorithm = algorithmOf(signer, digest);
  const now = Date.now();
  const tbs = seq(
    ...(shape.version === 1 ? [] : [tlv(0xa0, int(2))]), int(shape.serial ?? (serials += 1)), algorithm, nameDer(shape.issuer ?? shape.by?.subject ?? shape.subject),
    seq(time(shape.from ?? now - HOUR), time(shape.until ?? now + HOUR)), nameDer(shape.subject), keys.publicKey.export({ type: 'spki', format: 'der' }),
    ...(shape.version === 1 || (shape.extensions ?? []).length === 0 ? [] : [tlv(0xa3, seq(...shape.extensions ?? []))]),
  );
  return { der: signed(tbs, algorithm, signer, digest), subject: shape.subject, keys };
}

export function crl(by: Made, revoked: readonly number[], o: { from?: number; until?: number | null; keys?: Keys; extensions?: readonly Buffer[] } = {}): Buffer {
  const signer = o.keys ?? by.keys;
  const algorithm = algorithmOf(signer, 'sha256');
  const now = Date.now();
  const tbs = seq(
    int(1), algorithm, nameDer(by.subject), time(o.from ?? now - HOUR), ...(o.until === null ? [] : [time(o.until ?? now + HOUR)]),
    ...(revoked.length === 0 ? [] : [seq(...revoked.map((serial) => seq(int(serial), time(now - HOUR))))]),
    ...(o.extensions === undefined ? [] : [tlv(0xa0, seq(...o.extensions))]),
  );
  return signed(tbs, algorithm, signer, 'sha256');
}

const algorithmOf = ({ privateKey }: Keys, digest: string): Buffer =>
  seq(oid(ALGORITHMS[`${privateKey.asymmetricKeyType ?? ''} ${digest}`] ?? ''), ...(privateKey.asymmetricKeyType === 'rsa' ? [tlv(0x05)] : []));
const signed = (tbs: Buffer, algorithm: Buffer, { privateKey }: Keys, digest: string): Buffer =>
  seq(tbs, algorithm, tlv(0x03, Buffer.from([0]), sign(digest, tbs, privateKey)));

export const below = (parent: NameText, cn: string): NameText => [...rdns(parent), ['CN', cn]];
export const authority = (subject: NameText, o: Partial<Shape> & { pathLength?: number } = {}): Made => certificate({ extensions: [basic(true, o.pathLength), keyUsage(5, 6)], ...o, subject });
export const user = (by: Made, subject: NameText, o: Partial<Shape> = {}): Made => certificate({ extensions: [basic(false), keyUsage(0, 2)], ...o, by, subject });
export const proxy = (by: Made, cn: string, extensions: readonly Buffer[], o: Partial<Shape> = {}): Made => certificate({ ...o, subject: below(by.subject, cn), by, extensions: [keyUsage(0, 2), ...extensions] });
