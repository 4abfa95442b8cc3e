/** Properties of the decision, whatever the policies are. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { counts, decide, reason, refusal, take } from '../../src/authorization/decide.ts';
import { boundsSchema, type Bounds } from '../../src/authorization/settings.ts';
import type { Applied, Ask, AskPart, Use } from '../../src/authorization/types.ts';
import { applied, create, part } from './asks.ts';

const bound = fc.option(fc.nat(12), { nil: undefined });
const arbBounds: fc.Arbitrary<Bounds> = fc.record({
  leases: bound, cores: fc.option(fc.nat(30), { nil: undefined }), memory_mb: fc.option(fc.nat(2000), { nil: undefined }), group_size: bound,
  reserved_minutes: fc.option(fc.nat(600), { nil: undefined }),
}).map((b) => boundsSchema.parse(b));
const arbPart: fc.Arbitrary<AskPart> = fc.record({ minCount: fc.integer({ min: 1, max: 4 }), more: fc.nat(6), cores: fc.integer({ min: 1, max: 4 }), memoryMb: fc.constantFrom(0, 64, 128, 512), minutes: fc.nat(90) })
  .map(({ more, minCount, ...p }) => part({ ...p, minCount, maxCount: minCount + more }));
const arbAsk: fc.Arbitrary<Ask> = fc.array(arbPart, { minLength: 1, maxLength: 3 }).map((parts) => ({ ...create(), parts: parts as unknown as Ask['parts'] }));
const nothing = (): Use => ({ leases: 0, cores: 0, memoryMb: 0, reservedMinutes: 0 });

/** Two users: a template each of their own, a group and the site for both. */
function world(bounds: readonly Bounds[]): readonly (readonly Applied[])[] {
  const [template = {}, other = {}, group = {}, site = {}] = bounds;
  const [shared, all] = [nothing(), nothing()];
  const of = (own: Bounds): Applied[] => [
    { ...applied(own), policy: { name: 'own', kind: 'template', bounds: own } },
    { ...applied(group), policy: { name: 'group', kind: 'group', bounds: group }, use: shared },
    { ...applied(site), policy: { name: 'site', kind: 'site', bounds: site }, use: all },
  ];
  return [of(template), of(other)];
}

const within = ({ policy: { bounds: b }, use }: Applied): boolean => use.leases <= (b.leases ?? Infinity) && use.cores <= (b.cores ?? Infinity)
  && use.memoryMb <= (b.memory_mb ?? Infinity) && use.reservedMinutes <= (b.reserved_minutes ?? Infinity);

describe('a sequence of asks', () => {
  test('never leads beyond a limit of any policy', () => {
    fc.assert(fc.property(fc.array(arbBounds, { minLength: 4, maxLength: 4 }), fc.array(fc.tuple(fc.nat(1), arbAsk), { maxLength: 20 }), (bounds, asks) => {
      const users = world(bounds);
      for (const [who, ask] of asks) {
        const mine = users[who] ?? [];
        if (!decide(mine, ask).allowed) continue;
        const granted = counts(mine, ask);
        take(mine, ask.parts, granted);
        for (const [i, p] of ask.parts.entries()) {
          expect(granted[i]).toBeGreaterThanOrEqual(p.minCount);
          expect(granted[i]).toBeLessThanOrEqual(p.maxCount);
          for (const a of mine) expect(granted[i]).toBeLessThanOrEqual(a.policy.bounds.group_size ?? Infinity);
        }
        for (const a of users.flat()) expect(within(a)).toBe(true);
      }
    }), { numRuns: 500 });
  });

  test('gives as many as fit: one more of any part would be too many', () => {
    fc.assert(fc.property(fc.array(arbBounds, { minLength: 4, maxLength: 4 }), arbAsk, (bounds, ask) => {
      const [mine = []] = world(bounds);
      if (!decide(mine, ask).allowed) return;
      const granted = counts(mine, ask);
      for (const [i, p] of ask.parts.entries()) {
        if (granted[i] === p.maxCount) continue;
        const parts = ask.parts.map((q, j) => ({ ...q, minCount: (granted[j] ?? 0) + (i === j ? 1 : 0) })) as unknown as Ask['parts'];
        expect(decide(mine, { ...ask, parts }).allowed).toBe(false);
      }
    }), { numRuns: 500 });
  });
});

test('a refusal names policy, limit, used and asked of each check that failed, and no other', () => {
  fc.assert(fc.property(fc.array(arbBounds, { minLength: 4, maxLength: 4 }), arbAsk, (bounds, ask) => {
    const [mine = []] = world(bounds);
    const decision = decide(mine, ask);
    if (decision.allowed) return;
    const failed = decision.checks.filter((c) => !c.ok);
    const fault = refusal(decision, 'create');
    expect(fault.reasons).toEqual(failed.map(reason));
    for (const r of fault.reasons) expect(r).toMatch(/^policy (own|group|site): \w+: limit .+, asked /);
  }));
});

test('what may never be is said before how many', () => {
  const decision = decide([applied({ leases: 0, duration: 60, types: ['m1.large'] }, { leases: 3 })], create());
  const fault = refusal(decision, 'create');
  expect(fault).toMatchObject({ code: 'NotAuthorized', ec2: 'UnauthorizedOperation', message: 'These leases are not within the policy students' });
  expect(fault.reasons).toEqual([
    'policy students: types: limit m1.large, asked m1.small',
    'policy students: duration: limit 1m, asked 1h',
    'policy students: leases: limit 0, used 3, asked 1',
  ]);
  expect(refusal(decide([applied({ leases: 0 })], create()), 'create').ec2).toBe('InstanceLimitExceeded');
  expect(refusal(decide([applied({ duration: 1 })], create()), 'create').code).toBe('DurationRefused');
});

test('more policies never allow more', () => {
  fc.assert(fc.property(fc.array(arbBounds, { minLength: 4, maxLength: 4 }), arbAsk, (bounds, ask) => {
    const [mine = []] = world(bounds);
    if (decide(mine, ask).allowed) expect(decide(mine.slice(0, 1), ask).allowed).toBe(true);
  }));
});
