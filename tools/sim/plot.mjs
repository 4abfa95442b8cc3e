// Plots days of a simulated site, rows of tables and memory by the hour:
//   npm run --silent sim -- --hours 72 --hourly --nodes 16 --seed 3 --json | node tools/sim/plot.mjs > docs/simulation-days.svg
import { readFileSync } from 'node:fs';

const WIDTH = 760;
const LEFT = 56;
const RIGHT = 150;
const PANEL = 170;
const GAP = 44;
const COLOURS = { event: '#1f5fa8', intent: '#b45309', usage_record: '#6d28d9', lease: '#15803d', slot: '#be123c', usage_event: '#0e7490', spot_request: '#a16207', tag: '#9d174d', image_order: '#4d7c0f', tables: '#0f766e', memory: '#334155' };

const { seed, hourly } = JSON.parse(readFileSync(0, 'utf8').split('\n')[0]);
const shown = ['event', 'intent', 'usage_record', 'lease', 'slot', 'usage_event', 'spot_request', 'tag', 'image_order'].filter((table) => hourly.some((h) => h.rows[table] > 0));
const panels = [
  { title: 'rows', lines: shown.map((table) => ({ name: table.replace('_', ' '), colour: COLOURS[table], values: hourly.map((h) => h.rows[table]) })) },
  { title: 'all tables with their indexes, MiB', lines: [{ name: 'tables', colour: COLOURS.tables, values: hourly.map((h) => h.tablesMb) }] },
  { title: 'memory of the process, MiB', lines: [{ name: 'memory', colour: COLOURS.memory, values: hourly.map((h) => h.memoryMb) }] },
];

const x = (hour) => LEFT + ((WIDTH - LEFT - RIGHT) * hour) / Math.max(1, hourly.length - 1);

function panel({ title, lines }, top) {
  const most = roundUp(Math.max(...lines.flatMap((l) => l.values)));
  const y = (value) => top + PANEL - (PANEL * value) / most;
  const grid = [0, most / 2, most].map((v) => `<path d="M${LEFT} ${y(v)}H${WIDTH - RIGHT}" stroke="#ddd"/><text x="${LEFT - 6}" y="${y(v) + 4}" text-anchor="end">${v}</text>`);
  // Names stand beside the ends of their lines, and not over each other.
  let above = -Infinity;
  const names = lines.map((l) => ({ ...l, at: y(l.values.at(-1)) })).sort((a, b) => a.at - b.at).map((l) => {
    above = Math.max(l.at, above + 14);
    return `<text x="${WIDTH - RIGHT + 8}" y="${above + 4}" fill="${l.colour}">${l.name}</text>`;
  });
  const drawn = lines.map((l) => `<polyline fill="none" stroke="${l.colour}" stroke-width="1.5" points="${l.values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(' ')}"/>`);
  return [`<text x="${LEFT}" y="${top - 10}" font-weight="bold">${title}</text>`, ...grid, ...drawn, ...names].join('\n');
}

/** To one or two figures that halve well. */
function roundUp(n) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(1, n)));
  return Math.ceil(n / unit / 2) * unit * 2;
}

const height = GAP + panels.length * (PANEL + GAP) + 24;
const bottom = height - 44;
const step = hourly.length > 24 ? 12 : 6;
const hours = hourly.map((_, i) => i + 1).filter((h) => h === 1 || h % step === 0).map((h) => `<text x="${x(h - 1)}" y="${bottom}" text-anchor="middle">${h} h</text>`);
console.log(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${panels.map((p, i) => panel(p, GAP + i * (PANEL + GAP))).join('\n')}
${hours.join('\n')}
<text x="${LEFT}" y="${height - 12}" fill="#666">Seed ${seed}: what is over is kept for two hours, usage records for four.</text>
</svg>`);
