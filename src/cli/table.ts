/** Tables that fit the terminal: columns as wide as they need, the widest of those that may shrink cut, or wrapped, first. */
import { printable } from './io.ts';

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string | number;
  /** May be cut, down to MIN; ids and figures may not. */
  readonly shrinks?: boolean;
  /** May be narrower too, and goes on in lines below instead of being cut. */
  readonly wraps?: boolean;
}

const GAP = '  ';
const MIN = 6;

export function renderTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[], width: number): string {
  const cells = rows.map((row) => columns.map((c) => printable(String(c.value(row)))));
  const numeric = columns.map((c) => rows.length > 0 && rows.every((row) => typeof c.value(row) === 'number'));
  const widths = fit(columns, columns.map((c, i) => Math.max(c.title.length, ...cells.map((r) => length(r[i] ?? '')))), width);
  const line = (texts: readonly string[]): string =>
    texts.map((t, i) => pad(cut(t, widths[i] ?? 0), widths[i] ?? 0, numeric[i] ?? false)).join(GAP).trimEnd();
  const lines = (texts: readonly string[]): string[] => {
    const parts = texts.map((t, i) => (columns[i]?.wraps === true ? wrapped(t, widths[i] ?? 0) : [t]));
    return Array.from({ length: Math.max(...parts.map((p) => p.length)) }, (_, below) => line(parts.map((p) => p[below] ?? '')));
  };
  return [line(columns.map((c) => c.title)), ...cells.flatMap(lines)].map((l) => `${l}\n`).join('');
}

function fit(columns: ReadonlyArray<Column<never>>, natural: readonly number[], width: number): number[] {
  const widths = [...natural];
  const total = (): number => widths.reduce((a, b) => a + b, 0) + GAP.length * (widths.length - 1);
  while (total() > width) {
    const widest = widths.reduce((best, w, i) => ((columns[i]?.shrinks === true || columns[i]?.wraps === true) && w > MIN && w > (widths[best] ?? 0) ? i : best), -1);
    if (widest < 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

/** In characters as people count them, not UTF-16 units. */
const length = (text: string): number => [...text].length;
const cut = (text: string, width: number): string => (length(text) <= width ? text : `${[...text].slice(0, width - 1).join('')}…`);
/** Between words where it can be. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = [...text];
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width);
    const at = space > 0 ? space : width;
    lines.push(rest.slice(0, at).join(''));
    rest = rest.slice(space > 0 ? at + 1 : at);
  }
  return [...lines, rest.join('')];
}

function pad(text: string, width: number, right: boolean): string {
  const fill = ' '.repeat(Math.max(0, width - length(text)));
  return right ? fill + text : text + fill;
}
