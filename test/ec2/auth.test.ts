import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAuthenticator, type Account } from '../../src/ec2/auth/authenticate.ts';
import { canonicalQuery, encodeRfc3986 } from '../../src/ec2/auth/encode.ts';
import { createReplayGuard } from '../../src/ec2/auth/replay.ts';
import type { SignedRequest } from '../../src/ec2/auth/request.ts';
import { deriveKey } from '../../src/ec2/auth/signing-keys.ts';
import { pathVariants } from '../../src/ec2/auth/variants.ts';
import { parseParams } from '../../src/ec2/params.ts';
import { parseDateHeader, parseIso } from '../../src/ec2/time.ts';
import { realClock } from '../../src/platform/real.ts';
import { testContext } from '../support/context.ts';

/** Of AWS's published examples. */
const SECRET = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';
const account: Account = { secret: SECRET, accountId: 1, name: 'alice', ownerId: '111111111111', admin: false };

function request(over: { method?: string; path?: string; query?: string; body?: string; headers?: Record<string, string>; secure?: boolean }): SignedRequest {
  const query = parseParams(Buffer.from(over.query ?? ''));
  const body = Buffer.from(over.body ?? '');
  return {
    method: over.method ?? 'GET', path: over.path ?? '/', query, params: parseParams(Buffer.from(over.query ?? ''), body),
    rawHeaders: Object.entries(over.headers ?? {}).flat(), body, secure: over.secure ?? false,
  };
}
function check(r: SignedRequest, at: number, secret = SECRET, v1 = false): Promise<unknown> {
  const ctx = testContext({ clock: { ...realClock, now: () => at } });
  return createAuthenticator(ctx, async () => ({ ...account, secret }), { skewMs: 300_000, ports: () => ['8444', '443'], signatureV1: v1 }).authenticate(r);
}

describe('signature version 4', () => {
  const at = Date.UTC(2015, 7, 30, 12, 36);
  const signed = (signature: string, headers = 'host;x-amz-date'): Record<string, string> => ({
    'Host': 'example.amazonaws.com', 'X-Amz-Date': '20150830T123600Z',
    'Authorization': `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=${headers}, Signature=${signature}`,
  });

  it('derives the key of AWS\'s example', () => {
    expect(deriveKey(SECRET, { date: '20150830', region: 'us-east-1', service: 'iam' }).toString('hex')).toBe('c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9');
  });

  it.each([
    ['get-vanilla', {}, '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
    ['get-vanilla-query-order-key-case', { query: 'Param2=value2&Param1=value1' }, 'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500'],
    ['post-vanilla', { method: 'POST' }, '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
  ])('meets the vector %s of the AWS test suite', async (_name, parts, signature) => {
    await expect(check(request({ ...parts, headers: signed(signature) }), at)).resolves.toMatchObject({ account: { name: 'alice' } });
    await expect(check(request({ ...parts, headers: signed(signature) }), at, 'other')).rejects.toMatchObject({ code: 'SignatureMismatch' });
  });

  /** Signs as a client does, with any host and path. */
  function sign(over: { host?: string; path?: string; date?: string; payload?: string; body?: string }): string {
    const { host = 'h', path = '/', date = '20150830T123600Z', body = '' } = over;

    const payload = over.payload ?? hash(body);
    const canonical = `POST\n${path}\n\nhost:${host}\nx-amz-date:${date}\n\nhost;x-amz-date\n${payload}`;
    return createHmac('sha256', deriveKey(SECRET, { date: date.slice(0, 8), region: '0', service: '127' }))
      .update(`AWS4-HMAC-SHA256\n${date}\n${date.slice(0, 8)}/0/127/aws4_request\n${hash(canonical)}`).digest('hex');
  }
  const post = (host: string, path: string, signature: string, more: Record<string, string> = {}, body = '', secure = false): SignedRequest => request({
    method: 'POST', path, body, secure,
    headers: { host, 'x-amz-date': '20150830T123600Z', 'authorization': `AWS4-HMAC-SHA256 Credential=A/20150830/0/127/aws4_request,SignedHeaders=host;x-amz-date,Signature=${signature}`, ...more },
  });

  it.each([['cloud.site', 'cloud.site:8444'], ['cloud.site:8444', 'cloud.site'], ['Cloud.Site:8444', 'cloud.site:443']])('host sent %s, signed %s', async (sent, host) => {
    await expect(check(post(sent, '/', sign({ host })), at)).resolves.toBeDefined();
    await expect(check(post(sent, '/', sign({ host: 'cloud.site:1' })), at)).rejects.toMatchObject({ code: 'SignatureMismatch' });
  });

  it.each([['/services/Eucalyptus', '/services/Eucalyptus/'], ['/x/', '/x'], ['/services/Cloud', '/services/cloud'], ['/any', '/'], ['/a%20b', '/a%2520b'], ['/a%20b', '/a%20b']])('path sent %s, signed %s', async (sent, path) => {
    await expect(check(post('h', sent, sign({ path })), at)).resolves.toBeDefined();
    await expect(check(post('h', sent, sign({ path: '/other' })), at)).rejects.toMatchObject({ code: 'SignatureMismatch' });
  });

  it('takes an unsigned payload over TLS only, and a stated digest only when it is the body\'s', async () => {
    const unsigned = { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' };
    await expect(check(post('h', '/', sign({ payload: 'UNSIGNED-PAYLOAD' }), unsigned, 'A=1', true), at)).resolves.toBeDefined();
    await expect(check(post('h', '/', sign({ payload: 'UNSIGNED-PAYLOAD' }), unsigned, 'A=1', false), at)).rejects.toMatchObject({ code: 'SignatureMismatch' });
    await expect(check(post('h', '/', sign({ body: 'A=1' }), { 'x-amz-content-sha256': hash('A=1') }, 'A=1'), at)).resolves.toBeDefined();
    await expect(check(post('h', '/', sign({ payload: hash('A=1') }), { 'x-amz-content-sha256': hash('A=1') }, 'A=2'), at)).rejects.toMatchObject({ code: 'SignatureMismatch' });
  });

  it('takes the date from the Date header when there is no other', async () => {
    const r = request({ method: 'POST', headers: {
      host: 'h', date: 'Sun, 30 Aug 2015 12:36:00 GMT',
      authorization: `AWS4-HMAC-SHA256 Credential=A/20150830/0/127/aws4_request,SignedHeaders=date;host,Signature=${createHmac('sha256', deriveKey(SECRET, { date: '20150830', region: '0', service: '127' })).update(`AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/0/127/aws4_request\n${hash(`POST\n/\n\ndate:Sun, 30 Aug 2015 12:36:00 GMT\nhost:h\n\ndate;host\n${hash('')}`)}`).digest('hex')}`,
    } });
    await expect(check(r, at)).resolves.toBeDefined();
  });

  it('refuses a scope of another day', async () => {
    const r = post('h', '/', sign({}), { 'x-amz-date': '20150831T123600Z' });
    await expect(check(r, at + 86_400_000)).rejects.toMatchObject({ code: 'SignatureMismatch' });
  });

  it('presigned: lives as long as it says, at most a week', async () => {
    const params = (expires: string): string => `Action=DescribeRegions&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20150830%2Feu%2Fec2%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=${expires}&X-Amz-SignedHeaders=host`;
    const presigned = (expires: string): SignedRequest => {
      const canonical = `GET\n/\n${params(expires)}\nhost:h\n\nhost\n${hash('')}`;
      const signature = createHmac('sha256', deriveKey(SECRET, { date: '20150830', region: 'eu', service: 'ec2' })).update(`AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/eu/ec2/aws4_request\n${hash(canonical)}`).digest('hex');
      return request({ query: `${params(expires)}&X-Amz-Signature=${signature}`, headers: { host: 'h' } });
    };
    await expect(check(presigned('3600'), at + 3_600_000)).resolves.toBeDefined();
    await expect(check(presigned('3600'), at + 3_601_000)).rejects.toMatchObject({ code: 'RequestExpired' });
    await expect(check(presigned('3600'), at - 301_000)).rejects.toMatchObject({ code: 'RequestExpired' });
    for (const e of ['604801', '0', '-1', 'x', '']) await expect(check(presigned(e), at)).rejects.toMatchObject({ code: 'AuthFailure' });
  });
});

describe('signature version 2', () => {
  /** "Signature Version 2" example of the Elastic MapReduce developer guide. */
  const query = 'Action=DescribeJobFlows&Version=2009-03-31&AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&SignatureVersion=2&SignatureMethod=HmacSHA256&Timestamp=2011-10-03T15%3A19%3A30';
  const at = Date.UTC(2011, 9, 3, 15, 19, 30);
  const secret = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';

  it('meets AWS\'s example, whose timestamp has no zone', async () => {
    const r = request({ query: `${query}&Signature=i91nKc4PWAt0JJIdXwz9HxZCJDdiy6cf%2FMj6vPxyYIs%3D`, headers: { host: 'elasticmapreduce.amazonaws.com' } });
    await expect(check(r, at, secret)).resolves.toBeDefined();
    await expect(check(r, at + 301_000, secret)).rejects.toMatchObject({ code: 'RequestExpired' });
    await expect(check(r, at, 'other')).rejects.toMatchObject({ code: 'SignatureMismatch' });
  });

  const signed = (params: Record<string, string>, over: { host?: string; path?: string; algorithm?: string } = {}): SignedRequest => {
    const all = new Map(Object.entries({ AWSAccessKeyId: 'A', SignatureVersion: '2', ...params }));
    const text = `POST\n${over.host ?? 'h'}\n${over.path ?? '/'}\n${canonicalQuery(all, 'Signature')}`;
    all.set('Signature', createHmac(over.algorithm ?? 'sha256', SECRET).update(text).digest('base64'));
    return request({ method: 'POST', path: '/services/Cloud', body: [...all].map(([k, v]) => `${k}=${encodeURIComponent(v)}`).join('&'), headers: { host: 'H:99' } });
  };
  const stamp = { Timestamp: '2011-10-03T15:19:30Z' };

  it('takes SHA-1, which is the default, and the forms of host and path', async () => {
    await expect(check(signed(stamp, { algorithm: 'sha1' }), at)).resolves.toBeDefined();
    for (const host of ['h', 'h:99', 'h:8444']) for (const path of ['/services/Cloud', '/services/Cloud/', '/services/cloud', '/']) {
      await expect(check(signed({ ...stamp, SignatureMethod: 'HmacSHA256' }, { host, path }), at)).resolves.toBeDefined();
    }
    await expect(check(signed({ ...stamp, SignatureMethod: 'HmacSHA256' }, { host: 'i' }), at)).rejects.toMatchObject({ code: 'SignatureMismatch' });
  });

  it('takes the forms in which clients encode what they sign', async () => {
    const odd = { ...stamp, SignatureMethod: 'HmacSHA256', Value: 'a* b~c+d' };
    const rfc = 'a%2A%20b~c%2Bd';
    for (const written of [rfc, 'a*%20b~c%2Bd', 'a*+b%7Ec%2Bd']) {
      const all = new Map(Object.entries({ AWSAccessKeyId: 'A', SignatureVersion: '2', ...odd }));
      const text = `POST\nh\n/\n${canonicalQuery(all, 'Signature').replace(rfc, written)}`;
      all.set('Signature', createHmac('sha256', SECRET).update(text).digest('base64'));
      const body = (value: string): string => [...all].map(([k, v]) => `${k}=${encodeURIComponent(k === 'Value' ? value : v)}`).join('&');
      await expect(check(request({ method: 'POST', body: body('a* b~c+d'), headers: { host: 'h' } }), at)).resolves.toBeDefined();
      for (const other of ['a*+b~c+d', 'a* b~c d', 'a%2A b~c+d']) {
        await expect(check(request({ method: 'POST', body: body(other), headers: { host: 'h' } }), at)).rejects.toMatchObject({ code: 'SignatureMismatch' });
      }
      // A signature whose plus signs were not escaped reads as having spaces.
      await expect(check(request({ method: 'POST', body: body('a* b~c+d').replaceAll(/(Signature=\S*)%2B/g, '$1+'), headers: { host: 'h' } }), at)).resolves.toBeDefined();
    }
  });

  it('refuses another writing of the same signature', async () => {
    const query2 = `${query}&Signature=`;
    const headers = { host: 'elasticmapreduce.amazonaws.com' };
    // The last letter carries two bits that belong to no octet: s and t are the same octets.
    await expect(check(request({ query: `${query2}i91nKc4PWAt0JJIdXwz9HxZCJDdiy6cf%2FMj6vPxyYIt%3D`, headers }), at, secret)).rejects.toMatchObject({ code: 'AuthFailure' });
    await expect(check(request({ query: `${query2}i91nKc4PWAt0JJIdXwz9HxZCJDdiy6cf%2FMj6vPxyYIs`, headers }), at, secret)).resolves.toBeDefined();
  });

  it('takes Expires instead of Timestamp, not both, and not for ever', async () => {
    const sha = { SignatureMethod: 'HmacSHA256' };
    await expect(check(signed({ ...sha, Expires: '2011-10-03T15:29:30Z' }), at)).resolves.toBeDefined();
    await expect(check(signed({ ...sha, Expires: '2011-10-03T15:19:29Z' }), at)).rejects.toMatchObject({ code: 'RequestExpired' });
    await expect(check(signed({ ...sha, Expires: '2099-10-03T15:19:29Z' }), at)).rejects.toMatchObject({ code: 'AuthFailure' });
    for (const p of [{ ...stamp, Expires: '2011-10-03T15:29:30Z' }, {}, { Timestamp: 'now' }, { ...stamp, SignatureMethod: 'HmacMD5' }]) {
      await expect(check(signed({ ...sha, ...p }), at)).rejects.toMatchObject({ code: 'AuthFailure' });
    }
  });
});

describe('signature version 1', () => {
  const at = Date.UTC(2011, 9, 3, 15, 19, 30);
  const signed = (params: Record<string, string>, algorithm = 'sha1'): SignedRequest => {
    const all = { AWSAccessKeyId: 'A', SignatureVersion: '1', Timestamp: '2011-10-03T15:19:30Z', ...params };
    const text = Object.entries(all).sort(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1)).map((p) => p.join('')).join('');
    return request({ query: new URLSearchParams({ ...all, Signature: createHmac(algorithm, SECRET).update(text).digest('base64') }).toString(), headers: { host: 'h' } });
  };

  it('is taken where the site says so, with SHA-1 and SHA-256', async () => {
    const params = { 'Action': 'DescribeInstances', 'action': 'x', 'InstanceId.1': 'i-1', 'Instanceid.2': 'ü *' };
    await expect(check(signed(params), at, SECRET, true)).resolves.toBeDefined();
    await expect(check(signed({ ...params, SignatureMethod: 'HmacSHA256' }, 'sha256'), at, SECRET, true)).resolves.toBeDefined();
    await expect(check(signed(params), at, 'other', true)).rejects.toMatchObject({ code: 'SignatureMismatch' });
    await expect(check(signed(params), at + 301_000, SECRET, true)).rejects.toMatchObject({ code: 'RequestExpired' });
    await expect(check(signed({ ...params, Timestamp: 'now' }), at, SECRET, true)).rejects.toMatchObject({ code: 'AuthFailure' });
  });

  it('is refused elsewhere, and so is version 0', async () => {
    await expect(check(signed({ Action: 'DescribeInstances' }), at)).rejects.toMatchObject({ code: 'AuthFailure', message: 'Only signature versions 2 and 4 are accepted.' });
    for (const SignatureVersion of ['0', '3', '']) {
      await expect(check(signed({ Action: 'DescribeInstances', SignatureVersion }), at, SECRET, true)).rejects.toMatchObject({ code: 'AuthFailure', message: 'Only signature versions 1, 2 and 4 are accepted.' });
    }
  });
});

describe('parts', () => {
  it('encoding gives only unreserved characters and escapes, and is undone by decoding', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => {
      const encoded = encodeRfc3986(text);
      expect(encoded).toMatch(/^(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})*$/);
      expect(decodeURIComponent(encoded)).toBe(text);
    }));
  });

  it('times: zone-less is UTC, impossible dates are none', () => {
    expect(parseIso('2026-11-22T14:41:03')).toBe(Date.UTC(2026, 10, 22, 14, 41, 3));
    expect(parseIso('2026-11-22T14:41:03.999999Z')).toBe(Date.UTC(2026, 10, 22, 14, 41, 3));
    expect(parseIso('2026-11-22T14:41:03+02:00')).toBe(Date.UTC(2026, 10, 22, 12, 41, 3));
    expect(parseDateHeader('Sun, 22 Nov 2026 14:41:03 GMT')).toBe(Date.UTC(2026, 10, 22, 14, 41, 3));
    for (const bad of ['2026-02-29T00:00:00Z', '2026-13-01T00:00:00Z', '2026-11-22T24:00:00Z', '20261122', '', '2026-11-22 14:41:03Z']) expect(parseIso(bad)).toBeUndefined();
  });

  it('few forms of any path are tried', () => {
    fc.assert(fc.property(fc.string(), (s) => { expect(pathVariants(`/${s}`).length).toBeLessThanOrEqual(5); }));
  });

  it('the replay guard forgets what has expired, refuses when it is full, and asks what other services know', async () => {
    let now = 0;
    const shared = new Set<string>();
    const guard = createReplayGuard({ ...realClock, now: () => now }, { use: (id) => Promise.resolve(!shared.has(id.toString('latin1'))) }, 3);
    for (const id of ['a', 'b', 'c']) await guard.use(id, 100);
    await expect(guard.use('a', 100)).rejects.toMatchObject({ code: 'RequestExpired' });
    await expect(guard.use('d', 100)).rejects.toMatchObject({ code: 'Busy' });
    now = 101;
    await guard.use('d', 200);
    await expect(guard.use('d', 200)).rejects.toMatchObject({ code: 'RequestExpired' });
    shared.add('e');
    await expect(guard.use('e', 200)).rejects.toMatchObject({ code: 'RequestExpired' });
  });
});

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
