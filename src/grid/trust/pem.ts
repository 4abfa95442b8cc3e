/** PEM blocks and what stands in them. Files of authorities are PEM mostly, revocation lists often DER. */
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([\sA-Za-z0-9+/=]+)-----END \1-----/g;

export function pemBlocks(text: string, label: string): Buffer[] {
  return [...text.matchAll(BLOCK)].flatMap(([, kind, body = '']) => (kind === label ? [Buffer.from(body, 'base64')] : []));
}

/** The first block of the label, or the bytes themselves where they are no PEM. */
export function derOf(bytes: Buffer, label: string): Buffer {
  if (bytes[0] === 0x30) return bytes;
  const [first] = pemBlocks(bytes.toString('latin1'), label);
  if (first === undefined) throw new Error(`it holds no ${label.toLowerCase()}`);
  return first;
}

export function pem(label: string, der: Buffer): string {
  return `-----BEGIN ${label}-----\n${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${label}-----\n`;
}
