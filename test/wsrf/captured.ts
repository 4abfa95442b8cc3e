/** Captured conversations of the original's client and service, in the order in which they were held. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface Sent {
  readonly name: string;
  readonly path: string;
  readonly soapAction: string;
  readonly request: string;
}
export interface Exchange extends Sent {
  readonly status: number;
  readonly response: string;
}

const FOLDER = fileURLToPath(new URL('../fixtures/wsrf/', import.meta.url));

export function exchanges(set: 'http' | 'tls'): Exchange[] {
  return filesOf(set, true).map((file) => {
    const response = message(`${FOLDER}${set}/${file.replace('-request', '-response')}`);
    return { ...sent(set, file), status: Number(response.head.split(' ')[1]), response: response.body };
  }).sort((a, b) => (madeAt(a.response) < madeAt(b.response) ? -1 : 1));
}

/** Requests that are answered in another way than the original did. */
export const unanswered = (set: 'http' | 'tls'): Sent[] => filesOf(set, false).map((file) => sent(set, file));

function filesOf(set: string, answered: boolean): string[] {
  const all = new Set(readdirSync(FOLDER + set));
  return [...all].filter((f) => f.endsWith('-request.http') && all.has(f.replace('-request', '-response')) === answered).sort();
}

function sent(set: string, file: string): Sent {
  const { head, body } = message(`${FOLDER}${set}/${file}`);
  return { name: file.replace('-request.http', ''), path: head.split(' ')[1] ?? '', soapAction: /^SOAPAction: (.*)$/im.exec(head)?.[1]?.trim() ?? '', request: body };
}

/** The original made UUIDs of time. */
function madeAt(response: string): string {
  const [, low = '', mid = '', high = ''] = /MessageID[^>]*>uuid:([0-9a-f]{8})-([0-9a-f]{4})-1([0-9a-f]{3})/.exec(response) ?? [];
  return `${high}${mid}${low}`;
}

function message(file: string): { head: string; body: string } {
  const text = readFileSync(file);
  const end = text.indexOf('\r\n\r\n');
  const head = text.subarray(0, end).toString();
  const rest = text.subarray(end + 4);
  return { head, body: /^Transfer-Encoding: chunked/im.test(head) ? unchunked(rest) : rest.toString() };
}

function unchunked(bytes: Buffer): string {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const line = bytes.indexOf('\r\n', at);
    const size = parseInt(bytes.subarray(at, line).toString(), 16);
    if (!(size > 0)) break;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
  return Buffer.concat(parts).toString();
}
