import fc from 'fast-check';
import { expect, test } from 'vitest';
import { inOrder } from '../../../src/manager/slots/in-order.ts';

const said = (pilot: string, seq: number) => ({ slot_id: 's', host: pilot, pilot, seq });
const seqsOf = (pilot: string, messages: ReadonlyArray<ReturnType<typeof said>>): number[] => messages.filter((m) => m.pilot === pilot).map((m) => m.seq);

test('a pilot\'s later word that came first, with another\'s between, is applied after its earlier one', () => {
  expect(inOrder([said('a', 3), said('b', 1), said('a', 1)])).toEqual([said('a', 1), said('b', 1), said('a', 3)]);
});

test('whatever came in whatever order: each pilot is heard in its own, none is lost, and pilots keep their turns', () => {
  const all = fc.array(fc.record({ pilot: fc.constantFrom('a', 'b', 'c'), seq: fc.nat({ max: 9 }) }), { maxLength: 30 }).map((list) => list.map(({ pilot, seq }) => said(pilot, seq)));
  fc.assert(fc.property(all, (messages) => {
    const ordered = inOrder(messages);
    expect(ordered.map((m) => m.pilot)).toEqual(messages.map((m) => m.pilot));
    for (const pilot of ['a', 'b', 'c']) expect(seqsOf(pilot, ordered)).toEqual(seqsOf(pilot, messages).sort((x, y) => x - y));
  }));
});
