import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expandHosts, MOST_HOSTS } from '../../../src/pilot/lrm/slurm/hostlist.ts';

/** A list as Slurm prints it, and the hosts that it stands for. */
const item = fc.record({
  prefix: fc.stringMatching(/^[a-z][a-z0-9-]{0,6}$/),
  suffix: fc.stringMatching(/^(?:\.[a-z]{1,4})?$/),
  width: fc.integer({ min: 1, max: 4 }),
  ranges: fc.array(fc.record({ first: fc.integer({ min: 0, max: 900 }), more: fc.integer({ min: 0, max: 9 }) }), { minLength: 1, maxLength: 4 }),
}).map(({ prefix, suffix, width, ranges }) => {
  const written = (n: number): string => String(n).padStart(width, '0');
  return {
    // The width of a range is that of its first number.
    list: `${prefix}[${ranges.map(({ first, more }) => (more === 0 ? written(first) : `${written(first)}-${written(first + more)}`)).join(',')}]${suffix}`,
    hosts: ranges.flatMap(({ first, more }) => Array.from({ length: more + 1 }, (_, i) => `${prefix}${String(first + i).padStart(written(first).length, '0')}${suffix}`)),
  };
});

describe('Slurm\'s lists of hosts', () => {
  test.each([
    ['', []],
    ['node1', ['node1']],
    ['n[1-3,7]', ['n1', 'n2', 'n3', 'n7']],
    ['n[08-11]', ['n08', 'n09', 'n10', 'n11']],
    ['a,b[1-2],c.example.org', ['a', 'b1', 'b2', 'c.example.org']],
    ['rack[1-2]n[1,3]', ['rack1n1', 'rack1n3', 'rack2n1', 'rack2n3']],
    ['n1,n1,n[1-2]', ['n1', 'n2']],
  ])('%s', (list, hosts) => {
    expect(expandHosts(list)).toEqual(hosts);
  });

  test.each(['n[1-', 'n]1[', 'n[]', 'n[3-1]', 'n[a-b]', 'n[[1-2]]', 'a,,b', 'a b', 'n[1-2', '$(reboot)', 'n[1-999999999999]', `n[1-${MOST_HOSTS}]x[1-2]`, 'x'.repeat(2_000_000)])(
    'refuses what is none (%#)', (list) => {
      expect(expandHosts(list)).toBeUndefined();
    });

  test('a printed list reads as its hosts, each once and in order', () => {
    fc.assert(fc.property(fc.array(item, { maxLength: 5 }), (items) => {
      expect(expandHosts(items.map((i) => i.list).join(','))).toEqual([...new Set(items.flatMap((i) => i.hosts))]);
    }));
  });

  test('whatever the text, it is refused or bounded', () => {
    const pieces = fc.constantFrom('n', '[', ']', '-', ',', '0', '9', '99999', '1-9', '.', ' ', '\n');
    fc.assert(fc.property(fc.array(pieces, { maxLength: 40 }).map((p) => p.join('')), (text) => {
      expect(expandHosts(text)?.length ?? 0).toBeLessThanOrEqual(MOST_HOSTS);
    }));
  });
});
