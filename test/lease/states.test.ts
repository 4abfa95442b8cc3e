import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EC2_STATE_CODE, LEASE_STATES, STATES, transition, TRANSITIONS, type LeaseState, type Trigger } from '../../src/lease/states.ts';

const triggers = [...new Set(TRANSITIONS.map((t) => t.trigger))];
const reachable = (from: LeaseState, allowed: (t: Trigger) => boolean = () => true): Set<LeaseState> => {
  const seen = new Set<LeaseState>([from]);
  for (const state of seen) {
    for (const t of TRANSITIONS) if (t.from.includes(state) && allowed(t.trigger)) seen.add(t.to);
  }
  return seen;
};

describe('the state table', () => {
  it('has at most one row for a state and a trigger', () => {
    const keys = TRANSITIONS.flatMap((t) => t.from.map((f) => `${f} ${t.trigger}`));
    expect(keys).toHaveLength(new Set(keys).size);
  });

  it('lets every state be reached from Pending', () => {
    expect([...reachable('Pending')].sort()).toEqual([...LEASE_STATES].sort());
  });

  it('gives every live lease an end that an owner, an administrator and the sweeper may cause', () => {
    for (const state of LEASE_STATES.filter((s) => !STATES[s].final && s !== 'Ending')) {
      const row = transition(state, 'end');
      expect(row?.by, state).toEqual(expect.arrayContaining(['user', 'admin', 'sweeper']));
      expect(reachable(state).has('Terminated'), state).toBe(true);
    }
  });

  it('lets no transitional state last: an agent, the batch system or the service ends it', () => {
    for (const state of LEASE_STATES.filter((s) => STATES[s].transitional)) {
      const exits = TRANSITIONS.filter((t) => t.from.includes(state) && t.by.some((a) => a === 'agent' || a === 'slot' || a === 'service'));
      expect(exits, state).not.toHaveLength(0);
    }
  });

  it('has no way out of a final state', () => {
    for (const state of LEASE_STATES.filter((s) => STATES[s].final)) {
      expect(TRANSITIONS.filter((t) => t.from.includes(state)), state).toEqual([]);
    }
  });

  it('never leads from Ending or Terminated back to a running VM, whatever comes', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom(...triggers), { maxLength: 30 }), (sequence) => {
      let state: LeaseState = 'Ending';
      for (const t of sequence) state = transition(state, t)?.to ?? state;
      return state === 'Ending' || state === 'Terminated';
    }));
  });

  it('asks an agent for something whenever a user asks for a change of a VM', () => {
    for (const t of TRANSITIONS.filter((row) => row.by.includes('user'))) expect(t.intent, t.trigger).toBeDefined();
  });

  it('lets only reports end what was asked of an agent', () => {
    for (const t of TRANSITIONS.filter((row) => ['started', 'rebooted', 'paused', 'resumed', 'ended'].includes(row.trigger))) {
      expect(t.by.some((a) => a === 'user' || a === 'admin'), t.trigger).toBe(false);
    }
  });

  it('stands for each internal state number of the original exactly once', () => {
    const all = LEASE_STATES.flatMap((s) => STATES[s].originals).sort((a, b) => a - b);
    const expected = [-256, -128, -2, -1, ...Array.from({ length: 59 }, (_, i) => i)];
    expect(all).toEqual(expected);
  });

  it('names EC2 states that have a code', () => {
    for (const s of LEASE_STATES) expect(EC2_STATE_CODE[STATES[s].ec2], s).toBeTypeOf('number');
  });

  it('is the table that the documentation shows', () => {
    const doc = readFileSync(new URL('../../docs/architecture.md', import.meta.url), 'utf8');
    for (const s of LEASE_STATES) expect(doc, s).toContain(`| \`${s}\` | ${STATES[s].visible} | ${STATES[s].ec2} |`);
  });
});
