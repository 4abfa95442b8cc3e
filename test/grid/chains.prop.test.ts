/** What holds of all chains, names, patterns and bytes. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readCertificate } from '../../src/grid/certificates/certificate.ts';
import { readCrl } from '../../src/grid/certificates/crl.ts';
import { normalSlash } from '../../src/grid/certificates/name.ts';
import { readSigningPolicy } from '../../src/grid/certificates/signing-policy.ts';
import { children, DerError, readDer, type Der } from '../../src/grid/der.ts';
import { parseMapfile } from '../../src/grid/trust/mapfile.ts';
import { isFault } from '../../src/lease/faults.ts';
import { authority, crl, draftProxy, ecKeys, LANGUAGE, proxy, rfcProxy, user, type Keys, type Made } from './make.ts';
import { trusting, validate, verdict } from './trusting.ts';

const root = authority('O=Grid,CN=Root');
const alice = user(root, 'O=Grid,CN=Alice');
const trust = trusting(root);
const keys: readonly Keys[] = Array.from({ length: 4 }, ecKeys);

interface Wish {
  readonly kind: 'rfc' | 'draft' | 'legacy';
  readonly rights: keyof typeof LANGUAGE;
  readonly pathLength: number | undefined;
  readonly key: number;
}
const kind = fc.constantFrom('rfc' as const, 'draft' as const, 'legacy' as const);
const wish = fc.record({ kind, rights: fc.constantFrom('full' as const, 'limited' as const, 'independent' as const), pathLength: fc.option(fc.nat(3), { nil: undefined }), key: fc.nat(3) });
/** Chains of one kind mostly, as mixed ones are refused at once. */
const wishes = fc.oneof(fc.tuple(kind, fc.array(wish, { maxLength: 5 })).map(([k, all]) => all.map((w) => ({ ...w, kind: k }))), fc.array(wish, { maxLength: 3 }));

function make(wanted: readonly Wish[]): Made[] {
  const chain = [alice];
  for (const [i, w] of wanted.entries()) {
    const by = chain[0] as Made;
    const o = { keys: keys[w.key] as Keys };
    if (w.kind === 'legacy') chain.unshift(proxy(by, w.rights === 'limited' ? 'limited proxy' : 'proxy', [], o));
    else chain.unshift(proxy(by, String(i), [(w.kind === 'rfc' ? rfcProxy : draftProxy)(LANGUAGE[w.rights], w.pathLength)], o));
  }
  return chain;
}

/** The rules once more, from the end entity on. */
function expected(wanted: readonly Wish[]): { refused: string } | { identity: string; limited: boolean } {
  let [name, identity, limited] = ['/O=Grid/CN=Alice', '/O=Grid/CN=Alice', false];
  for (const [i, w] of wanted.entries()) {
    const legacy = w.kind === 'legacy';
    name += `/CN=${legacy ? (w.rights === 'limited' ? 'limited proxy' : 'proxy') : i}`;
    if (i > 0 && wanted[i - 1]?.kind !== w.kind) return { refused: 'ProxiesMixed' };
    if (wanted.slice(0, i).some((before, j) => before.kind !== 'legacy' && before.pathLength !== undefined && i - j > before.pathLength)) return { refused: 'ProxyPathLength' };
    if (!legacy && w.rights === 'independent') identity = name;
    limited ||= w.rights === 'limited';
  }
  return { identity, limited };
}

describe('chains of proxies', () => {
  test('of any kinds, rights and lengths, in any order behind the leaf', () => {
    fc.assert(fc.property(wishes, fc.func(fc.nat()), fc.boolean(), (wanted, rank, withRoot) => {
      const [leaf, ...others] = make(wanted);
      const shuffled = [...others, ...(withRoot ? [root] : [])].sort((a, b) => rank(a.der.length, a.der[20]) - rank(b.der.length, b.der[20]));
      const wants = expected(wanted);
      const presented = [leaf as Made, ...shuffled];
      if ('refused' in wants) expect(verdict(presented, trust)).toBe(wants.refused);
      else expect(validate(presented, trust)).toMatchObject({ ...wants, proxies: wanted.length });
    }), { numRuns: 150 });
  });

  test('with one left out are nobody’s', () => {
    fc.assert(fc.property(fc.array(wish.map((w) => ({ ...w, kind: 'rfc' as const, pathLength: undefined })), { minLength: 1, maxLength: 4 }), fc.nat(), (wanted, n) => {
      const chain = make(wanted);
      const out = n % chain.length;
      const left = chain.filter((_c, i) => i !== out);
      // Without its leaf it is a shorter chain, whose key somebody else has.
      if (out === 0) expect(validate(left, trust).proxies).toBe(wanted.length - 1);
      else expect(verdict(left, trust)).toBe('UnknownAuthority');
    }), { numRuns: 60 });
  });

  test('out of their time anywhere are refused', () => {
    fc.assert(fc.property(fc.nat(3), fc.nat(3), fc.boolean(), (length, at, late) => {
      const now = Date.now();
      const when = (i: number): object => (i !== at % (length + 1) ? {} : late ? { until: now - 120_000 } : { from: now + 120_000 });
      const chain = [user(root, 'O=Grid,CN=Bob', when(0))];
      for (let i = 1; i <= length; i += 1) chain.unshift(proxy(chain[0] as Made, String(i), [rfcProxy()], { keys: keys[i % 4] as Keys, ...when(i) }));
      expect(verdict(chain, trust)).toBe(late ? 'Expired' : 'NotYetValid');
    }), { numRuns: 30 });
  });
});

describe('bytes of strangers', () => {
  test('are values within values, or are refused', () => {
    const walk = (value: Der, depth: number): number => (depth === 0 || (value.tag & 0x20) === 0 ? 1 : 1 + children(value).reduce((n, c) => n + walk(c, depth - 1), 0));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        const value = readDer(Buffer.from(bytes));
        expect(value.bytes).toHaveLength(bytes.length);
        expect(walk(value, 20)).toBeLessThanOrEqual(bytes.length);
      } catch (e) {
        expect(e).toBeInstanceOf(DerError);
      }
    }), { numRuns: 2_000 });
  });

  test('a certificate or a list with any part overwritten is read, or refused with an error', () => {
    const list = crl(root, [1, 2, 3]);
    fc.assert(fc.property(fc.boolean(), fc.nat(2_000), fc.uint8Array({ minLength: 1, maxLength: 4 }), (which, at, bytes) => {
      const der = Buffer.from(which ? alice.der : list);
      der.set(bytes.subarray(0, Math.max(0, der.length - (at % der.length))), at % der.length);
      try {
        if (which) validate([{ ...alice, der }], trust);
        else readCrl(der).signedBy(readCertificate(root.der));
      } catch (e) {
        expect(e).toBeInstanceOf(Error);
        expect(e).not.toBeInstanceOf(RangeError);
        if (isFault(e)) expect(e.code).toBe('CertificateRefused');
      }
    }), { numRuns: 1_000 });
  });
});

describe('names', () => {
  const value = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter((v) => !/\/\w+=|\\x/.test(v) && !v.endsWith('/'));

  test('in their normal form stay as they are, and are what certificates say', () => {
    fc.assert(fc.property(value, value, (o, cn) => {
      const made = user(root, [['O', o], ['CN', cn]].map(([t, v]) => [t as string, Buffer.concat([Buffer.from([0x0c, Buffer.byteLength(v as string)]), Buffer.from(v as string)])] as const));
      const { slash, ambiguous } = readCertificate(made.der).subject;
      if (ambiguous || slash.includes('\\x0')) return;
      expect(normalSlash(slash)).toBe(slash);
      expect(normalSlash(`/O=${o}/CN=${cn}`)).toBe(slash);
    }), { numRuns: 200 });
  });

  test('in a grid-mapfile are found again', () => {
    fc.assert(fc.property(value.filter((v) => !/["\\\r\n\u2028\u2029]/.test(v)), fc.stringMatching(/^[a-z]{1,8}$/), (cn, name) => {
      expect(parseMapfile(`# x\n"/O=Grid/CN=${cn}" ${name}\n`).users.get(normalSlash(`/O=Grid/CN=${cn}`) ?? '')).toBe(name);
    }));
  });
});

test('patterns of signing policies match as regular expressions would', () => {
  const letter = fc.constantFrom('a', 'b', '*', '?');
  fc.assert(fc.property(fc.array(letter, { minLength: 1, maxLength: 8 }), fc.array(fc.constantFrom('a', 'b'), { maxLength: 12 }), (pattern, text) => {
    const policy = readSigningPolicy(`access_id_CA X509 '/CN=c'\npos_rights globus CA:sign\ncond_subjects globus '"${pattern.join('')}"'\n`);
    const like = new RegExp(`^${pattern.map((c) => (c === '*' ? '.*' : c === '?' ? '.' : c)).join('')}$`);
    expect(policy.of('/CN=c')?.allows(text.join(''))).toBe(like.test(text.join('')));
  }), { numRuns: 1_000 });
  // Where a regular expression would take for ever.
  const slow = readSigningPolicy(`access_id_CA X509 '/CN=c'\npos_rights globus CA:sign\ncond_subjects globus '"${'a*'.repeat(500)}b"'\n`);
  expect(slow.of('/CN=c')?.allows('a'.repeat(4_000))).toBe(false);
});
