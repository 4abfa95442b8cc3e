import fc from 'fast-check';
import { parse } from 'smol-toml';
import { expect, test } from 'vitest';
import { boundsSchema, boundsToml, periodDays, valueOf, type Bounds } from '../../src/authorization/settings.ts';

const count = fc.nat(10_000);
const names = fc.array(fc.constantFrom('debian-*', 'common/*', '~/*', 'public'), { maxLength: 3 });
const arbBounds: fc.Arbitrary<Bounds> = fc.record({
  leases: count, cores: count, memory_mb: count, group_size: count, duration: fc.integer({ min: 1, max: 10 ** 6 }), reserved_minutes: count, used_minutes: count,
  period: fc.integer({ min: 1, max: 366 }).map((d) => d * 86_400), may_extend: fc.boolean(), images: names, networks: names, zones: names, types: names,
}, { requiredKeys: [] });

test('what is shown as TOML is the same policy again', () => {
  fc.assert(fc.property(arbBounds, (bounds) => {
    expect(boundsSchema.parse(parse(boundsToml(bounds)))).toEqual(bounds);
  }));
});

test('every mistake is found at once', () => {
  const parsed = boundsSchema.safeParse({ leases: -1, cores: 'many', duration: 'soon', period: '36h', images: ['a b'], may_extend: 'no', nodes: 3 });
  expect(parsed.error?.issues.map((i) => i.path.join('.')).sort()).toEqual(['', 'cores', 'duration', 'images.0', 'leases', 'may_extend', 'period']);
});

test.each([
  ['leases', '4', 4], ['duration', '8h', '8h'], ['duration', '3600', '3600'], ['may_extend', 'false', false], ['images', 'common/*, ~/*', ['common/*', '~/*']],
  ['types', 'm1.small', ['m1.small']], ['leases', '', null], ['leases', 'x', 'x'],
])('%s=%s', (key, text, value) => {
  expect(valueOf(key, text)).toEqual(value);
});

test('a period is 30 days unless the policy says otherwise', () => {
  expect(periodDays({})).toBe(30);
  expect(periodDays(boundsSchema.parse({ period: '7d' }))).toBe(7);
});
