/** The simulator itself: it repeats what it did, leaps over nothing that matters, finds what is planted, and says how to run it. */
import { describe, expect, it } from 'vitest';
import mutations from './mutations.json' with { type: 'json' };
import { brokenOnes, runSim, seeds } from './run-sim.ts';

/** Seeds in which a planted mistake must show. */
const SEEDS = '1-60';
const IN_PILOT_MODE: ReadonlySet<string> = new Set(['row-missing-placed', 'slot-never-gone', 'memory-not-given-back', 'forged-notifications-taken']);
/** Mistakes in what only some sites have. */
const WITH_MORE: ReadonlySet<string> = new Set(['policy-counts-nothing', 'usage-event-lost', 'saved-disk-forgotten', 'protection-binds-nobody', 'resize-takes-no-room', 'row-missing-serialized', 'ensemble-never-done']);

describe.each([[[]], [['--pilot']]])('with %j', (mode) => {
  it('a seed is always the same, whatever ran before it', { timeout: 300_000 }, async () => {
    const [first, second] = await Promise.all([seeds('--seeds', '3-6', ...mode), seeds('--seeds', '5-6', ...mode)]);
    expect(first.slice(2).map((l) => l.digest)).toEqual(second.map((l) => l.digest));
    expect(new Set(first.map((l) => l.digest)).size).toBe(4);
  });
});

it('polls that are leapt over would have changed nothing', { timeout: 300_000 }, async () => {
  // Over an hour also those of agents, which are seldom; on borrowed nodes the lists of the batch system, and what pilots say to be heard.
  for (const which of [['--seeds', '1-4'], ['--seeds', '1-2', '--hours', '1'], ['--seeds', '2-5', '--pilot'], ['--seeds', '4-5', '--hours', '1', '--pilot']]) {
    const [leapt, made] = await Promise.all([seeds(...which, '--no-faults'), seeds(...which, '--no-faults', '--no-leap')]);
    expect(leapt.map((l) => l.story)).toEqual(made.map((l) => l.story));
    expect(leapt.map((l) => l.digest)).not.toEqual(made.map((l) => l.digest));
  }
});

describe('a planted mistake is found:', () => {
  it.each(mutations)('$what ($name)', { timeout: 300_000 }, async ({ name }) => {
    const lines = await seeds('--mutate', name, '--seeds', SEEDS, '--stop-at-first', ...(IN_PILOT_MODE.has(name) ? ['--pilot'] : []), ...(WITH_MORE.has(name) ? ['--more'] : []));
    expect(brokenOnes(lines)).toHaveLength(1);
    expect(brokenOnes(lines)[0]).toMatch(/^npm run sim -- --seed \d+ /);
  });
});

describe('the command line', () => {
  it('shows its options and examples', async () => {
    const { code, out } = await runSim('--help');
    expect(code).toBe(0);
    expect(out).toMatch(/--seed S[^]*--pilot[^]*Examples:/);
  });

  it.each([[['--seed', 'x'], '--seeds must be a whole number'], [['--nope'], 'Unknown option'], [['--seeds', '5-1'], '--seeds must be']])('%j is refused', async (args, why) => {
    const { code, err } = await runSim(...args);
    expect(code).toBe(2);
    expect(err).toContain(why);
  });
});
