/** Tables: as wide as the terminal at most; what wraps loses nothing. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { renderTable } from '../../src/cli/table.ts';

interface Row { readonly id: string; readonly why: string }
const table = (rows: readonly Row[], width: number): string[] =>
  renderTable(rows, [{ title: 'ID', value: (r) => r.id }, { title: 'WHY', value: (r) => r.why, wraps: true }], width).split('\n').slice(0, -1);

describe('a column that wraps', () => {
  test('goes on below, between words where it can be', () => {
    expect(table([{ id: 'i-1', why: 'ends 2026-11-23T02:24:37.587Z instead of 2026-11-24T02:24:37.587Z' }, { id: 'i-2', why: 'short' }], 38)).toEqual([
      'ID   WHY',
      'i-1  ends 2026-11-23T02:24:37.587Z',
      '     instead of',
      '     2026-11-24T02:24:37.587Z',
      'i-2  short',
    ]);
    expect(table([{ id: 'i-1', why: 'x'.repeat(25) }], 15)).toEqual(['ID   WHY', `i-1  ${'x'.repeat(10)}`, `     ${'x'.repeat(10)}`, `     ${'x'.repeat(5)}`]);
  });

  test('has every letter of it, in lines that fit', () => {
    const words = fc.array(fc.string({ unit: fc.constantFrom('a', 'é', '💻'), maxLength: 30 }), { maxLength: 20 }).map((w) => w.join(' '));
    fc.assert(fc.property(fc.array(words, { minLength: 1, maxLength: 5 }), fc.integer({ min: 12, max: 100 }), (whys, width) => {
      const [, ...lines] = table(whys.map((why, i) => ({ id: `i-${i}`, why })), width);
      for (const line of lines) expect([...line].length).toBeLessThanOrEqual(width);
      expect(lines.map((l) => l.slice(5)).join('').replaceAll(' ', '')).toBe(whys.join('').replaceAll(' ', ''));
      expect(lines.filter((l) => l.startsWith('i-'))).toHaveLength(whys.length);
    }));
  });
});
