/** Where the time of a lease or a group went, as tables. */
import type { BreakdownView } from '../manager/admin-types.ts';
import type { BreakdownRow } from '../lease/phases.ts';
import { renderTable, type Column } from './table.ts';

type Step = Pick<BreakdownRow, 'name' | 'group' | 'sum'>;

/** Steps of a group stand below it, indented where the group has a line of its own. */
const indented = (s: Step): string => (!s.sum && (s.group === 'slot' || s.group === 'vm') ? `  ${s.name}` : s.name);
const figure = (ms: number | null | undefined): string => (ms === null || ms === undefined ? '-' : ms < 10 ? ms.toFixed(1) : String(Math.round(ms)));
const padded = (ms: number | null | undefined): string => figure(ms).padStart(8);

export function stepsTable(rows: readonly BreakdownRow[], width: number): string {
  return renderTable(rows, [
    { title: 'STEP', value: indented },
    { title: '      ms', value: (r) => padded(r.ms) },
    { title: 'WHAT', value: (r) => r.what, shrinks: true },
  ], width);
}

export function breakdownText(view: BreakdownView, width: number): string {
  const [only] = view.leases;
  if (view.leases.length === 1 && only !== undefined) return only.rows.length === 0 ? nothing(view.id) : stepsTable(only.rows, width);
  if (view.summary.length === 0) return nothing(view.id);
  return `${leasesTable(view, width)}\n${summaryTable(view, width)}`;
}

const nothing = (id: string): string => `Nothing is known of the steps of ${id} yet.\n`;

/** One line a lease: the sums where there are any, and the end. */
function leasesTable({ leases, summary }: BreakdownView, width: number): string {
  const shown = summary.filter((s) => s.sum || s.group === 'end' || s.name === 'proc').map((s) => s.name);
  const columns: Column<BreakdownView['leases'][number]>[] = [
    { title: 'LEASE', value: (l) => l.id },
    { title: 'NODE', value: (l) => l.node ?? '-', shrinks: true },
    ...shown.map((name) => ({ title: name.toUpperCase(), value: (l: BreakdownView['leases'][number]) => figure(l.rows.find((r) => r.name === name)?.ms) })),
  ];
  return renderTable(leases, columns, width);
}

function summaryTable({ summary }: BreakdownView, width: number): string {
  return renderTable(summary, [
    { title: 'STEP', value: indented },
    { title: 'MEAN ms', value: (s) => padded(s.mean) },
    { title: 'MAX ms', value: (s) => padded(s.max) },
    { title: 'CRITICAL', value: (s) => padded(s.critical) },
    { title: 'WHAT', value: (s) => s.what, shrinks: true },
  ], width);
}
