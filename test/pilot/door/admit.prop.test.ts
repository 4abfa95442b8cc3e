/** The rules of the inbox, whatever comes in whatever order. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { admit, mostCounters, mostMessages, standingOf, type Admission, type Visit } from '../../../src/manager/slots/inbox-admit.ts';
import { nodeKey, type KnownSlot } from '../../../src/manager/slots/inbox-known.ts';
import { PilotRefusal } from '../../../src/manager/slots/inbox-refusal.ts';
import type { SlotStandingRow } from '../../../src/store/slot-messages.ts';
import type { PilotMessage } from '../../../src/pilot/protocol.ts';

const CREATED = 1_800_000_000_000;
const moment = fc.integer({ min: CREATED - 10_000_000, max: CREATED + 10_000_000 });
const message = fc.record({
  id: fc.stringMatching(/^[0-9a-f]{32}$/), seq: fc.nat(), at: moment, code: fc.constant(0), state: fc.constantFrom('test', 'reserved', 'unreserving', 'alive', 'restored'),
}) as fc.Arbitrary<PilotMessage>;
const visit: fc.Arbitrary<Visit> = fc.record({
  receivedAt: fc.integer({ min: CREATED, max: CREATED + 5_000_000 }),
  proof: fc.option(fc.record({ cnonce: fc.constantFrom('a', 'b', 'c'), nc: fc.integer({ min: 1, max: 6 }) })),
  notification: fc.record({
    v: fc.constant(2 as const), slot: fc.constant('sl-000000000000'), host: fc.constantFrom('n1', 'N1.x', 'n2', 'n3', 'n4.y'), part: fc.nat(3),
    pilot: fc.constantFrom('1'.repeat(16), '2'.repeat(16)), sentAt: moment, messages: fc.array(message, { minLength: 1, maxLength: 4 }),
  }),
});
const slot = fc.record({
  id: fc.constant('sl-000000000000'), state: fc.constantFrom('Queued', 'Ready', 'Releasing'), final: fc.constant(false), nodes: fc.integer({ min: 1, max: 3 }),
  hosts: fc.subarray(['n1', 'n2.z', 'N3']), created_at: fc.constant(CREATED), leaving: fc.subarray(['n1', 'n2']),
}) as fc.Arbitrary<SlotStandingRow>;

it('counters only go up, hosts belong to the job and keep their pilot, moments lie in the slot\'s life', () => {
  fc.assert(fc.property(slot, fc.array(visit, { maxLength: 40 }), (row, visits) => {
    const [standing, known]: [ReturnType<typeof standingOf>, KnownSlot] = [standingOf(row), { speakers: new Map(), counters: new Map(), messages: 0 }];
    const [highest, pilots] = [new Map<string, number>(), new Map<string, string>()];
    for (const v of visits) {
      const before = JSON.stringify([[...known.speakers], [...known.counters], known.messages]);
      let a: Admission;
      try {
        a = admit(standing, known, v);
      } catch (e) {
        expect(e).toBeInstanceOf(PilotRefusal);
        expect(JSON.stringify([[...known.speakers], [...known.counters], known.messages])).toBe(before);
        continue;
      }
      const { notification: n, proof } = v;
      const key = nodeKey(n.host);
      if (row.hosts.length > 0) expect(row.hosts.map(nodeKey)).toContain(key);
      if (proof !== null) {
        expect(proof.nc).toBeGreaterThan(highest.get(proof.cnonce) ?? 0);
        highest.set(proof.cnonce, proof.nc);
      }
      if (a.hearing !== null) {
        expect(pilots.get(key) ?? n.pilot).toBe(n.pilot);
        pilots.set(key, n.pilot);
      }
      expect(a.release).toBe(row.state === 'Releasing' || row.leaving.includes(key));
      expect(a.messages.map((m) => m.id)).toEqual(n.messages.filter((m) => m.state !== 'alive' && m.state !== 'test').map((m) => m.id));
      for (const m of a.messages) {
        expect(m.at).toBeGreaterThanOrEqual(Math.min(CREATED, v.receivedAt));
        expect(m.at).toBeLessThanOrEqual(v.receivedAt);
        expect(nodeKey(m.host)).toBe(key);
      }
    }
    expect(pilots.size).toBeLessThanOrEqual(row.nodes);
    expect(new Set([...known.speakers.values()].map((s) => s.host)).size).toBe(known.speakers.size);
  }), { numRuns: 500 });
});

it('nothing of a slot grows without end', () => {
  const standing = standingOf({ id: 'sl-000000000000', state: 'Ready', final: false, nodes: 2, hosts: [], created_at: CREATED, leaving: [], senders: 0 });
  const known: KnownSlot = { speakers: new Map(), counters: new Map(), messages: 0 };
  const said = (i: number, cnonce: string): Visit => ({
    receivedAt: CREATED, proof: { cnonce, nc: i + 1 },
    notification: { v: 2, slot: 'sl-000000000000', host: 'n1', part: 0, pilot: '1'.repeat(16), sentAt: CREATED, messages: [{ id: String(i), seq: 1, at: CREATED, state: 'unreserving', code: 0 }] },
  });
  for (let i = 0; i < mostMessages(2); i += 1) admit(standing, known, said(i, 'c'));
  expect(() => admit(standing, known, said(mostMessages(2), 'c'))).toThrow(`has sent ${mostMessages(2)} messages`);
  known.messages = 0;
  for (let i = 1; i < mostCounters(2); i += 1) admit(standing, known, said(0, `c${i}`));
  expect(() => admit(standing, known, said(0, 'one more'))).toThrow('pilot processes have spoken');
});

it('a slot of thousands of nodes is heard to its end', () => {
  const nodes = 5_000;
  const standing = standingOf({ id: 'sl-000000000000', state: 'Releasing', final: false, nodes, hosts: [], created_at: CREATED, leaving: [], senders: 0 });
  // Room made, taken back early, given back, and so three times over.
  const known: KnownSlot = { speakers: new Map(), counters: new Map(), messages: 3 * 4 * nodes };
  const last: Visit = {
    receivedAt: CREATED, proof: null,
    notification: { v: 2, slot: 'sl-000000000000', host: 'n1', part: 0, pilot: '1'.repeat(16), sentAt: CREATED, messages: [{ id: '1', seq: 1, at: CREATED, state: 'restored', code: 0 }] },
  };
  expect(admit(standing, known, last).messages).toHaveLength(1);
});
