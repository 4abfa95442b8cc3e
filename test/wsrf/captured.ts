/** Captured conversations of the original's client and service, in the order in which they were held. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

export interface Sent {
  /** `RUN-K`: the K-th of its run. */
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
  return [...filesOf(set, true).map((file) => exchange(nameOf(file), read(set, file), read(set, file.replace('-request', '-response')))), ...longRuns(set)].sort((a, b) => (madeAt(a.response) < madeAt(b.response) ? -1 : 1));
}

/** Requests that are answered in another way than the original did. */
export const unanswered = (set: 'http' | 'tls'): Sent[] => filesOf(set, false).map((file) => sent(nameOf(file), read(set, file)));

function filesOf(set: string, answered: boolean): string[] {
  const all = new Set(readdirSync(FOLDER + set));
  return [...all].filter((f) => f.endsWith('-request.http') && all.has(f.replace('-request', '-response')) === answered).sort();
}

function sent(name: string, request: Buffer): Sent {
  const { head, body } = message(request);
  return { name, path: head.split(' ')[1] ?? '', soapAction: /^SOAPAction: (.*)$/im.exec(head)?.[1]?.trim() ?? '', request: body };
}

/** What clients that only wait ask again and again: `RUN-K-L.http.gz` has the exchanges K to L of a run, requests and responses in turn. */
function longRuns(set: string): Exchange[] {
  return readdirSync(FOLDER + set).filter((f) => f.endsWith('.http.gz')).flatMap((file) => {
    const [, run = '', first = ''] = /^(.+)-(\d+)-\d+\.http\.gz$/.exec(file) ?? [];
    const messages = gunzipSync(read(set, file)).toString('latin1').split(/^(?=POST \/|HTTP\/1\.1 )/m).map((m) => Buffer.from(m, 'latin1'));
    return Array.from({ length: messages.length / 2 }, (_, i) => exchange(`${run}-${Number(first) + i}`, messages[2 * i], messages[2 * i + 1]));
  });
}

const read = (set: string, file: string): Buffer => readFileSync(`${FOLDER}${set}/${file}`);
const nameOf = (file: string): string => file.replace('-request.http', '');

function exchange(name: string, request: Buffer = Buffer.alloc(0), answer: Buffer = Buffer.alloc(0)): Exchange {
  const response = message(answer);
  return { ...sent(name, request), status: Number(response.head.split(' ')[1]), response: response.body };
}

/** The original made UUIDs of time. */
function madeAt(response: string): string {
  const [, low = '', mid = '', high = ''] = /MessageID[^>]*>uuid:([0-9a-f]{8})-([0-9a-f]{4})-1([0-9a-f]{3})/.exec(response) ?? [];
  return `${high}${mid}${low}`;
}

function message(text: Buffer): { head: string; body: string } {
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
