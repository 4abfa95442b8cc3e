/**
 * How long each kind of bad input takes to be refused by the whole service, one request after the other on fresh
 * connections (p50, p99 and the worst), and the same kinds all at once beside a well-behaved client. Rows as in
 * docs/performance.md.
 */
import { converse, rawRequest } from '../test/support/raw-http.ts';
import { askAs, newUser, portOf, signedHeaders, type Ask, type Keys } from '../test/support/query.ts';
import { form } from '../test/ec2/door.ts';
import { startServe, type Serve } from '../test/support/serve.ts';
import { simulatedNodes } from './support/service.ts';

const TIMES = 200;
const FLOOD = 64;
const FLOOD_ROUNDS = 10;
const RUN = { Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '1', MaxCount: '1' };

interface Kind {
  readonly what: string;
  readonly code: string;
  /** A request of this kind as bytes, signed now. */
  readonly bytes: () => string;
}

function kinds(serve: Serve, keys: Keys): Kind[] {
  const host = { Host: `127.0.0.1:${portOf(serve)}`, Connection: 'close' };
  const post = (body: string, headers: Record<string, string> = {}): string =>
    rawRequest('POST / HTTP/1.1', { ...host, 'content-type': 'application/x-www-form-urlencoded', ...headers }, body);
  const plain = (what: string, code: string, body: string, headers?: Record<string, string>): Kind => ({ what, code, bytes: () => post(body, headers) });
  let asked = 0;
  const signed = (what: string, code: string, params: Record<string, string>, who = keys, ageMs = 0): Kind => ({
    what, code,
    bytes() {
      // Signatures of one second are alike, and the second would be refused as a repetition, but for the token.
      const body = form(params['Action'] === RUN.Action ? { ...params, ClientToken: `bench-${++asked}` } : params);
      return post(body, signedHeaders(serve, who, body, Date.now() - ageMs));
    },
  });
  return [
    plain('unsigned', 'MissingAuthenticationToken', form(RUN)),
    signed('unknown access key', 'InvalidClientTokenId', RUN, { accessKey: 'NIMBNOBODY', secret: 'x' }),
    signed('wrong secret', 'SignatureDoesNotMatch', RUN, { ...keys, secret: 'wrong' }),
    signed('an hour old', 'RequestExpired', RUN, keys, 3_600_000),
    signed('unknown action', 'InvalidAction', { Action: 'FlyToTheMoon' }),
    signed('unknown lease', 'InvalidInstanceID.NotFound', { Action: 'GetConsoleOutput', InstanceId: 'i-00000000000000000' }),
    signed('`../` for an image', 'InvalidAMIID.Malformed', { ...RUN, ImageId: '../../etc/shadow' }),
    signed('count of 999,999,999', 'InstanceLimitExceeded', { ...RUN, MinCount: '999999999', MaxCount: '999999999' }),
    signed('negative count', 'InvalidParameterValue', { ...RUN, MinCount: '-1' }),
    signed('shell characters', 'InvalidParameterValue', { ...RUN, InstanceType: '$(reboot);`id`' }),
    plain('malformed percent-encoding', 'MalformedQueryString', 'Action=%zz'),
    plain('octets that are no UTF-8', 'MalformedQueryString', 'Action=%ff%fe'),
    plain('NUL', 'MalformedQueryString', 'Action=a%00b'),
    plain('XML', 'MalformedQueryString', '<a><b></a>', { 'content-type': 'text/xml' }),
    plain('10,000 parameters', 'RequestEntityTooLarge', Array.from({ length: 10_000 }, (_, i) => `InstanceId.${i}=i-1`).join('&')),
    plain('1 MiB of escapes in one value', 'MissingAuthenticationToken', `Action=${'%41'.repeat(349_000)}`),
    plain('2 MiB', 'RequestEntityTooLarge', 'a'.repeat(2 * 2 ** 20)),
    { what: '140 KB of headers', code: 'RequestEntityTooLarge', bytes: () => rawRequest('GET / HTTP/1.1', { ...host, 'X-A': 'a'.repeat(140_000) }) },
    { what: 'two lengths (request smuggling)', code: 'MalformedQueryString', bytes: () => 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n' },
    { what: 'no HTTP', code: 'MalformedQueryString', bytes: () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' },
  ];
}

async function refused(serve: Serve, kind: Kind): Promise<number> {
  const bytes = kind.bytes();
  const begun = performance.now();
  const [answer] = await converse(portOf(serve), bytes);
  const ms = performance.now() - begun;
  if (answer?.code !== kind.code) throw new Error(`${kind.what}: ${answer?.text ?? 'no answer'} instead of ${kind.code}`);
  return ms;
}

function spread(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN).toFixed(1);
  return `${at(0.5)} / ${at(0.99)} / ${at(1)} ms`;
}

/** What a client that does nothing wrong notices while all kinds come at once. */
async function underFlood(serve: Serve, all: readonly Kind[], ask: Ask): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < FLOOD_ROUNDS; round++) {
    const flood = Promise.all(Array.from({ length: FLOOD }, (_, i) => refused(serve, all[i % all.length] as Kind)));
    const begun = performance.now();
    const { status, body } = await ask({ Action: 'DescribeInstances' });
    times.push(performance.now() - begun);
    if (status !== 200) throw new Error(body);
    await flood;
  }
  return times;
}

const serve = await startServe(simulatedNodes(2, 64));
try {
  const keys = await newUser(serve, 'bench');
  const ask = askAs(serve, keys);
  const all = kinds(serve, keys);
  console.log('| refusal | answer | p50 / p99 / worst |\n|---|---|---|');
  for (const kind of all) {
    const times: number[] = [];
    for (let i = 0; i < TIMES; i++) times.push(await refused(serve, kind));
    console.log(`| ${kind.what} | \`${kind.code}\` | ${spread(times)} |`);
  }
  console.log(`| DescribeInstances while ${FLOOD} of all these kinds come at once | answered | ${spread(await underFlood(serve, all, ask))} |`);
} finally {
  await serve.stop();
}
