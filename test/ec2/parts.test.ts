import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hostAndPort, urlHost } from '../../src/platform/http/address.ts';
import { matches } from '../../src/ec2/filters.ts';
import { OPERATIONS } from '../../src/ec2/operations/index.ts';
import { page } from '../../src/ec2/paging.ts';
import { paramTree, parseParams } from '../../src/ec2/params.ts';

describe('parameters', () => {
  it('come back as they were encoded', () => {
    const name = fc.string({ unit: fc.constantFrom(...'Az09_.:-'), minLength: 1, maxLength: 20 });
    fc.assert(fc.property(fc.dictionary(name, fc.string({ unit: 'binary' }).filter((s) => !s.includes('\0'))), (params) => {
      const entries = Object.entries(params);
      const body = Buffer.from(entries.map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(v).replaceAll('%20', '+')}`).join('&'));
      expect([...parseParams(body)]).toEqual(entries);
    }));
  });

  it('any bytes are read or refused with a fault, never more', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        paramTree(parseParams(Buffer.from(bytes)));
      } catch (e) {
        expect(e).toMatchObject({ name: 'Fault', code: 'RequestMalformed' });
      }
    }), { numRuns: 1000 });
  });
});

describe('filter patterns', () => {
  it('match as the regular expressions that they stand for', () => {
    const unit = fc.constantFrom('a', 'b', '*', '?', '\\', '.');
    fc.assert(fc.property(fc.string({ unit, maxLength: 8 }), fc.string({ unit, maxLength: 10 }), (pattern, value) => {
      const source = pattern.replace(/\\.|\\$|[*?.]|[^]/g, (t) => (t === '*' ? '[^]*' : t === '?' ? '[^]' : `\\${t.at(-1) ?? ''}`.replace(/\\([a-z])/, '$1')));
      expect(matches(pattern, value)).toBe(new RegExp(`^${source}$`).test(value));
    }), { numRuns: 3000 });
  });
});

describe('pages', () => {
  it('hold every item once, in order, also when items vanish between them', () => {
    fc.assert(fc.property(fc.uniqueArray(fc.stringMatching(/^[a-z ]{1,5}$/)), fc.integer({ min: 1, max: 7 }), (items, size) => {
      const seen: string[] = [];
      let left: readonly string[] = items;
      for (let token: string | undefined, i = 0; i === 0 || token !== undefined; i++) {
        const p = page('X', left, (s) => s, { MaxResults: size, NextToken: token });
        seen.push(...p.items);
        token = p.nextToken;
        left = left.filter((s) => s !== p.items.at(-1));
      }
      expect(seen).toEqual([...items].sort());
    }));
  });
});

describe('addresses', () => {
  it.each([
    ['127.0.0.1:8444', '127.0.0.1', '8444'], ['[::1]:8444', '::1', '8444'], ['cloud.site', 'cloud.site', ''], ['https://cloud.site:443/x', 'cloud.site', '443'],
    ['', '', ''], [':80', '', '80'], ['*:0', '*', '0'], ['a b:c:d', '', ''],
  ])('%s', (address, host, port) => { expect(hostAndPort(address)).toEqual({ host, port }); });

  it('lead to the listener', () => {
    expect(['', '0.0.0.0', '::', '::1', 'h'].map(urlHost)).toEqual(['127.0.0.1', '127.0.0.1', '[::1]', '[::1]', 'h']);
  });
});

describe('the table of operations', () => {
  it('describes each with its parameters and response', () => {
    for (const o of OPERATIONS.values()) {
      expect(o.summary, o.name).toMatch(/^[A-Z].*\.$/);
      expect(o.input['DryRun']?.type).toBe('boolean');
      expect(Object.keys(o.output).length, o.name).toBeGreaterThan(0);
      expect(o.mutates, o.name).toBe(!/^(?:Describe|Get)/.test(o.name));
    }
  });
});
