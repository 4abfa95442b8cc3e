/** Asks and policies for tests of rules. */
import type { Bounds } from '../../src/authorization/settings.ts';
import type { Applied, Ask, AskPart, Use } from '../../src/authorization/types.ts';

export const part = (over: Partial<AskPart> = {}): AskPart => ({
  minCount: 1, maxCount: 1, cores: 1, memoryMb: 128, minutes: 60, durationS: 3600,
  image: { id: 'ami-0123456789abcdef0', name: 'debian-12', owner: null }, networks: ['public'], zone: null, type: 'm1.small', ...over,
});

export const create = (first: Partial<AskPart> = {}, ...others: ReadonlyArray<Partial<AskPart>>): Ask => (
  { kind: 'create', user: 'alice', parts: [part(first), ...others.map(part)], zones: ['east', 'west'] });

export const extend = (over: Partial<AskPart> = {}): Ask => ({ kind: 'extend', user: 'alice', parts: [part({ cores: 0, memoryMb: 0, ...over })], zones: [] });

export const applied = (bounds: Bounds, over: Partial<Use> & { closedMinutes?: number; runningMinutes?: number | null; name?: string } = {}): Applied => {
  const { closedMinutes = 0, runningMinutes = 0, name = 'students', ...use } = over;
  return {
    policy: { name, kind: 'template', bounds }, use: { leases: 0, cores: 0, memoryMb: 0, reservedMinutes: 0, ...use }, closedMinutes, runningMinutes,
  };
};
