/** Requests that the SDKs' own signers have signed, of generated input: accepted as they are, refused when anything is changed. */
import { spawnSync } from 'node:child_process';
import { createHash, createHmac, type BinaryLike } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAuthenticator } from '../../src/ec2/auth/authenticate.ts';
import type { SignedRequest } from '../../src/ec2/auth/request.ts';
import { parseParams } from '../../src/ec2/params.ts';
import { realClock } from '../../src/platform/real.ts';
import { hasPart } from '../parts.ts';
import { testContext } from '../support/context.ts';

const KEY = { accessKeyId: 'AKIDSIGNERS', secretAccessKey: 'secret/of+SIGNERS=' };

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

function received(sent: Sent): SignedRequest {
  const query = Buffer.from(sent.query);
  const body = Buffer.from(sent.body);
  return { method: sent.method, path: sent.path, query: parseParams(query), params: parseParams(query, body), rawHeaders: Object.entries(sent.headers).flat(), body, secure: false };
}
async function verdict(sent: Sent, at: number, secret = KEY.secretAccessKey): Promise<string> {
  const ctx = testContext({ clock: { ...realClock, now: () => at } });
  const authenticator = createAuthenticator(ctx, async () => ({ secret, accountId: 1, name: 'a', ownerId: '1', admin: false }), { skewMs: 300_000, ports: () => [], signatureV1: false });
  return authenticator.authenticate(received(sent)).then(() => 'accepted', (e: { code?: string }) => e.code ?? String(e));
}

const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9._-]{0,12}$/).filter((n) => !/^(?:X-Amz|Signature|SecurityToken|AWSAccess|Timestamp|Expires|Action|Version|constructor|__)/i.test(n));
const value = fc.oneof(fc.string({ maxLength: 30 }), fc.string({ unit: 'grapheme', maxLength: 20 }), fc.stringMatching(/^[ *~+%&=/?#!'()]{0,10}$/))
  .filter((v) => !v.includes('\0') && Buffer.from(v).toString() === v);
const params = fc.dictionary(name, value, { maxKeys: 8, noNullPrototype: true }).map((p) => ({ Action: 'DescribeInstances', Version: '2016-11-15', ...p }));
const host = fc.constantFrom('cloud.site', 'cloud.site:8444', '127.0.0.1:8444', 'localhost');
const path = fc.constantFrom('/', '/services/Cloud', '/services/Cloud/', '/a%20b');
const form = (p: Readonly<Record<string, string>>): string => Object.entries(p).map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(v)}`).join('&');
const escaped = (text: string): string => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

class Sha256 {
  #hash: { update(data: BinaryLike): unknown; digest(): Buffer };
  constructor(secret?: BinaryLike) { this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret); }
  update(data: BinaryLike): void { this.#hash.update(data); }
  digest(): Promise<Uint8Array> { return Promise.resolve(this.#hash.digest()); }
  reset(): void {}
}

/** Changed anywhere that is signed, or with another secret, it is refused. */
async function expectSigned(sent: Sent, at: number): Promise<void> {
  expect(await verdict(sent, at), JSON.stringify(sent)).toBe('accepted');
  expect(await verdict(sent, at, 'other')).toBe('SignatureMismatch');
  const longer = sent.body === '' ? { ...sent, query: `${sent.query}&Extra=1` } : { ...sent, body: `${sent.body}&Extra=1` };
  expect(await verdict(longer, at)).toBe('SignatureMismatch');
  expect(await verdict({ ...sent, method: sent.method === 'GET' ? 'POST' : 'GET' }, at)).toBe('SignatureMismatch');
  expect(await verdict(sent, at + 3_901_000)).toBe('RequestExpired');
}

describe('@smithy/signature-v4', () => {
  const at = Date.UTC(2026, 10, 22, 14, 45);
  const signer = (token?: string) => new SignatureV4({
    credentials: { ...KEY, ...(token === undefined ? {} : { sessionToken: token }) }, region: 'nimbus', service: 'ec2', sha256: Sha256 as never,
  });
  const request = (method: string, p: Readonly<Record<string, string>>, h: string, where: string) => ({
    method, protocol: 'http:', hostname: h, path: where, 
    query: method === 'GET' ? p : {}, body: method === 'GET' ? undefined : form(p),
    headers: { host: h, ...(method === 'GET' ? {} : { 'content-type': 'application/x-www-form-urlencoded' }), 'x-Odd': '  a   b\tc ' },
  });

  it('in the header', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom('GET', 'POST'), params, host, path, fc.option(fc.constant('TOKEN+/='), { nil: undefined }), async (method, p, h, where, token) => {
      const signed = await signer(token).sign(request(method, p, h, where), { signingDate: new Date(at) });
      const query = Object.entries(signed.query ?? {}).map(([k, v]) => `${escaped(k)}=${escaped(v as string)}`).join('&');
      await expectSigned({ method, path: where, query, headers: signed.headers, body: signed.body as string | undefined ?? '' }, at);
    }), { numRuns: 150 });
  });

  it('presigned', async () => {
    await fc.assert(fc.asyncProperty(params, host, path, async (p, h, where) => {
      const { headers: { host: own } } = request('GET', p, h, where);
      const signed = await signer().presign({ ...request('GET', p, h, where), headers: { host: own } }, { signingDate: new Date(at), expiresIn: 3600 });
      const query = Object.entries(signed.query ?? {}).map(([k, v]) => `${escaped(k)}=${escaped(v as string)}`).join('&');
      await expectSigned({ method: 'GET', path: where, query, headers: signed.headers, body: '' }, at);
    }), { numRuns: 100 });
  });
});

const PYTHON = `
import json, sys
from urllib.parse import urlsplit
from botocore.auth import SigV2Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
key = Credentials(sys.argv[1], sys.argv[2])
out = []
for c in json.load(sys.stdin):
    how, method, host, path, params = c
    auth = {'v2': lambda: SigV2Auth(key), 'v4': lambda: SigV4Auth(key, 'ec2', 'nimbus'), 'query': lambda: SigV4QueryAuth(key, 'ec2', 'nimbus')}[how]()
    body = {} if how == 'query' or method == 'GET' else {'data': dict(params)}
    query = {'params': dict(params)} if not body else {}
    r = AWSRequest(method=method, url='http://' + host + path, headers={'Host': host}, **body, **query)
    auth.add_auth(r)
    p = r.prepare()
    u = urlsplit(p.url)
    sent = p.body if p.body is not None else ''
    out.append({'method': method, 'path': u.path, 'query': u.query, 'headers': {k: v for k, v in p.headers.items()}, 'body': sent if isinstance(sent, str) else sent.decode()})
json.dump(out, sys.stdout)
`;

describe.skipIf(!hasPart('boto3'))('botocore', () => {
  it('of versions 2 and 4, in parameters, header and query', async () => {
    const cases = fc.sample(fc.tuple(fc.constantFrom('v2', 'v4', 'query'), fc.constantFrom('GET', 'POST'), host, path, params)
      // A presigned request has its parameters in the URL, whatever its method.
      .map(([how, method, h, where, p]) => [how, how === 'query' ? 'GET' : method, h, where, p] as const), 150);
    const run = spawnSync('/usr/bin/python3', ['-c', PYTHON, KEY.accessKeyId, KEY.secretAccessKey], { input: JSON.stringify(cases), encoding: 'utf8', maxBuffer: 64 << 20 });
    expect(run.stderr).toBe('');
    const signed = JSON.parse(run.stdout) as Sent[];
    expect(signed).toHaveLength(cases.length);
    for (const sent of signed) await expectSigned(sent, Date.now());
  });
});
