// Checks docs/architecture.md, "Floors": nobody imports from a floor above or from a neighbour, nothing goes in circles,
// and the programs that run alone on nodes need nothing but Node, the lease and what they say to the service.
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/**
 * Lowest first. A room imports from its own folder and from lower lines; within a line the rooms do not know each other.
 * The room `src` is the files right in it: they compose the programs.
 */
const FLOORS = [
  ['src/lease'],
  ['slots'],
  ['src/platform'],
  ['src/store', 'migrations', 'src/soap'],
  ['contract'],
  ['src/scheduler', 'src/authorization', 'src/accounting', 'src/network', 'src/images', 'src/control', 'src/grid', 'src/wsrf/wire'],
  ['src/pilot'],
  ['src/manager'],
  ['src/backup', 'src/doctor', 'src/fsck'],
  ['src/ec2', 'src/wsrf', 'src/web', 'src/cli', 'src/workers', 'src/pilot/door', 'src/monitoring'],
  ['src/demo'],
  ['src'],
];
/** What service and agent say to each other; who prepares that (images) knows it without knowing the control client. */
const CONTRACT = ['src/control/protocol.ts', 'src/control/wire.ts'];
/** What a slot is and what is said of it: as pure as the lease, and known as widely. */
const SLOTS = ['src/pilot/protocol.ts', 'src/pilot/states.ts'];
/** The store runs the migrations. */
const NEIGHBOURS = new Set(['src/store migrations']);
/** What runs alone on a node, and what it may import besides Node and itself. */
const ALONE = ['src/lease/', ...CONTRACT, 'src/pilot/protocol.ts', 'src/platform/version.ts', 'src/platform/make-directory.ts', 'src/platform/durable.ts',
  'src/platform/socket-file.ts'];
const PROGRAMS = [
  { name: 'agent', room: 'src/control/agent/', may: ALONE },
  // The agent runs inside the pilot.
  { name: 'pilot', room: 'src/pilot/program/', may: [...ALONE, 'src/control/agent/'] },
];
const BUILTIN = new Set(builtinModules);

/** Every breach of the rules in the sources below `root`, one sentence each. */
export function breaches(root) {
  const files = sources(root);
  const imports = new Map(files.map((file) => [file, importsOf(root, file)]));
  return [...files.flatMap((file) => imports.get(file).flatMap((to) => breach(file, to))), ...circles(imports)];
}

function sources(root) {
  return ['src', 'migrations'].flatMap((top) => readdirSync(join(root, top), { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && e.name.endsWith('.ts'))
    .map((e) => relative(root, join(e.parentPath, e.name)))).sort();
}

/** Project files as paths from the root, packages as they are named. */
function importsOf(root, file) {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(root, file), 'utf8'), true, true);
  return importedFiles.map(({ fileName: to }) => (to.startsWith('.') ? relative(root, resolve(root, dirname(file), to)) : to));
}

/** The innermost room: a door may stand in the folder of the service that it belongs to. */
function roomOf(file) {
  if (CONTRACT.includes(file)) return 'contract';
  if (SLOTS.includes(file)) return 'slots';
  if (dirname(file) === 'src') return 'src';
  return FLOORS.flat().filter((room) => room !== 'src' && file.startsWith(`${room}/`)).sort((a, b) => b.length - a.length)[0];
}
const programOf = (file) => PROGRAMS.find(({ room }) => file.startsWith(room));
const floorOf = (room) => FLOORS.findIndex((rooms) => rooms.includes(room));

function breach(file, to) {
  const program = programOf(file);
  if (program !== undefined) {
    const allowed = to.startsWith('node:') || BUILTIN.has(to) || [program.room, ...program.may].some((place) => to.startsWith(place));
    return allowed ? [] : [`${file} imports ${to}: the ${program.name} may import Node, ${program.may.join(', ')} only`];
  }
  const isFile = to.startsWith('src/') || to.startsWith('migrations/');
  const from = roomOf(file);
  if (from === undefined) return [`${file} is in no room; add its room to FLOORS in tools/floors.mjs`];
  if (!isFile) return from === 'src/lease' || from === 'slots' ? [`${file} imports ${to}: the ${from === 'slots' ? 'slot' : 'lease'} is pure`] : [];
  const alone = programOf(to);
  if (alone !== undefined) return [`${file} imports ${to}: the ${alone.name} is a program of its own`];
  const target = roomOf(to);
  if (target === from) return [];
  if (target === undefined) return [`${file} imports ${to}, which is in no room`];
  if (floorOf(target) < floorOf(from) || NEIGHBOURS.has(`${from} ${target}`)) return [];
  return [`${file} imports ${to}: ${target} is ${floorOf(target) === floorOf(from) ? 'a neighbour' : 'above'}`];
}

/** Tarjan's strongly connected components of more than one file. */
function circles(imports) {
  const found = [];
  const order = new Map();
  const low = new Map();
  const stack = [];
  const visit = (file) => {
    order.set(file, order.size);
    low.set(file, order.get(file));
    stack.push(file);
    for (const to of imports.get(file) ?? []) {
      if (!imports.has(to)) continue;
      if (!order.has(to)) {
        visit(to);
        low.set(file, Math.min(low.get(file), low.get(to)));
      } else if (stack.includes(to)) {
        low.set(file, Math.min(low.get(file), order.get(to)));
      }
    }
    if (low.get(file) !== order.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1) found.push(`circle: ${circle.sort().join(', ')}`);
  };
  for (const file of imports.keys()) if (!order.has(file)) visit(file);
  return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = breaches(fileURLToPath(new URL('..', import.meta.url)));
  for (const sentence of found) console.error(sentence);
  if (found.length > 0) process.exitCode = 1;
}
