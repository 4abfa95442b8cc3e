import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestResponse, originForm, readDigest } from '../../../src/pilot/door/digest.ts';

const EMPTY = Buffer.alloc(0);
/** RFC 7616, 3.9.1. */
const example = (algorithm: string, response: string): string => `Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=${algorithm}, `
  + 'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
  + `response="${response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`;
const MD5 = '8ca523f5e9506fed4657c9700eebdbec';
const SHA256 = '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1';

describe('the response', () => {
  it.each([['MD5', MD5], ['SHA-256', SHA256]])('is the one of RFC 7616 with %s', (algorithm, response) => {
    const claim = readDigest(example(algorithm, response));
    expect(claim).toMatchObject({ username: 'Mufasa', response, nc: 1 });
    expect(digestResponse(claim!, 'Circle of Life', 'GET', EMPTY)).toBe(response);
  });

  it('depends on every part that it signs', () => {
    const claim = readDigest(example('SHA-256', SHA256))!;
    const of = (over: Partial<typeof claim>, password = 'Circle of Life', method = 'GET', body = EMPTY): string => digestResponse({ ...claim, ...over }, password, method, body);
    const all = [
      of({}), of({ username: 'Nala' }), of({ realm: 'x' }), of({ nonce: 'x' }), of({ uri: '/' }), of({ cnonce: 'x' }), of({ ncText: '00000002' }), of({}, 'x'), of({}, 'Circle of Life', 'POST'),
      of({ qop: 'auth-int' }), of({ qop: 'auth-int' }, 'Circle of Life', 'GET', Buffer.from('body')),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(of({}, 'Circle of Life', 'GET', Buffer.from('body'))).toBe(of({}));
  });
});

describe('the header', () => {
  it('is read whatever the order, case, space and quotes of its parameters', () => {
    const parts = ['username="a\\"b\\\\c"', 'REALM="r"', 'nonce="n"', 'uri="/x?y=1,2"', 'Algorithm=sha-256', 'qop="auth-int"', 'nc=000000ff', 'cnonce="c d"', `response="${SHA256.toUpperCase()}"`];
    fc.assert(fc.property(fc.shuffledSubarray(parts, { minLength: parts.length }), fc.constantFrom(', ', ',', '  ,\t'), (order, comma) => {
      expect(readDigest(`dIgEsT ${order.join(comma)}`)).toEqual({
        username: 'a"b\\c', realm: 'r', nonce: 'n', uri: '/x?y=1,2', algorithm: 'SHA-256', qop: 'auth-int', nc: 255, ncText: '000000ff', cnonce: 'c d', response: SHA256,
      });
    }));
  });

  it.each([
    ['none', undefined], ['another scheme', 'Basic YTpi'], ['a parameter twice', `${example('MD5', MD5)}, nc=00000002`],
    ['a response of the other length', example('SHA-256', MD5)], ['an algorithm that nobody uses', example('SHA-512-256', SHA256)],
    ['no qop', example('MD5', MD5).replace('qop=auth, ', '')], ['a counter of nought', example('MD5', MD5).replace('nc=00000001', 'nc=00000000')],
    ['a counter that is none', example('MD5', MD5).replace('nc=00000001', 'nc=1')], ['an open quote', 'Digest username="a'],
    ['a control character', example('MD5', MD5).replace('Mufasa', 'Mu\u0001fasa')], ['two kilobytes', `${example('MD5', MD5)}, x="${'y'.repeat(2048)}"`],
  ])('is refused: %s', (_, header) => { expect(readDigest(header)).toBeUndefined(); });

  it('is answered or refused, never more', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.string().map((s) => `Digest ${s}`), fc.string().map((s) => example('MD5', MD5).replace('Mufasa', s))), (header) => {
      const claim = readDigest(header);
      if (claim !== undefined) expect(digestResponse(claim, 'x', 'GET', EMPTY)).toHaveLength(32);
    }));
  });
});

it('a target in absolute form is the one that a client without a proxy sends', () => {
  expect(originForm('http://host:41999/a/b?c')).toBe('/a/b?c');
  expect(originForm('/a')).toBe('/a');
});
