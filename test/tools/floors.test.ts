import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
// @ts-expect-error a tool without types
import { breaches as untyped } from '../../tools/floors.mjs';

const breaches = untyped as (root: string) => string[];
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'fl-'));
  for (const top of ['src', 'migrations']) mkdirSync(join(root, top));
});
afterEach(() => { rmSync(root, { recursive: true, force: true }); });

function house(files: Record<string, string>): string[] {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return breaches(root);
}

test('the house itself has none', () => {
  expect(breaches(join(import.meta.dirname, '..', '..'))).toEqual([]);
});

test('downwards and within a room is free', () => {
  expect(house({
    'src/main.ts': `import { a } from './manager/a.ts'; import './ec2/x.ts';`,
    'src/manager/a.ts': `import type { L } from '../lease/l.ts'; export * from './b.ts'; import 'node:fs';`,
    'src/manager/b.ts': '', 'src/lease/l.ts': '', 'src/ec2/x.ts': '',
  })).toEqual([]);
});

test('upwards is refused, also as a type and in an import()', () => {
  expect(house({
    'src/lease/l.ts': `import type { M } from '../manager/m.ts';`,
    'src/store/s.ts': `export const m = () => import('../manager/m.ts');`,
    'src/manager/m.ts': '',
  })).toEqual([
    'src/lease/l.ts imports src/manager/m.ts: src/manager is above',
    'src/store/s.ts imports src/manager/m.ts: src/manager is above',
  ]);
});

test('doors do not know each other', () => {
  expect(house({ 'src/ec2/a.ts': `import '../web/b.ts';`, 'src/web/b.ts': '' })).toEqual(['src/ec2/a.ts imports src/web/b.ts: src/web is a neighbour']);
});

test('the lease is pure', () => {
  expect(house({ 'src/lease/l.ts': `import { readFileSync } from 'node:fs';` })).toEqual(['src/lease/l.ts imports node:fs: the lease is pure']);
});

test('the agent stands alone', () => {
  expect(house({
    'src/control/agent/a.ts': `import 'node:net'; import './b.ts'; import '../protocol.ts'; import '../types.ts'; import 'winston';`,
    'src/control/agent/b.ts': '', 'src/control/protocol.ts': '', 'src/control/types.ts': `import './agent/b.ts';`,
  })).toEqual([
    expect.stringMatching(/^src\/control\/agent\/a\.ts imports src\/control\/types\.ts: the agent may import/) as string,
    expect.stringMatching(/^src\/control\/agent\/a\.ts imports winston: the agent may import/) as string,
    'src/control/types.ts imports src/control/agent/b.ts: the agent is a program of its own',
  ]);
});

test('the pilot stands alone, with the agent in it', () => {
  expect(house({
    'src/pilot/program/a.ts': `import 'node:net'; import '../protocol.ts'; import '../../control/agent/b.ts'; import '../states.ts';`,
    'src/control/agent/b.ts': '', 'src/pilot/protocol.ts': '', 'src/pilot/states.ts': '', 'src/manager/m.ts': `import '../pilot/program/a.ts';`,
  })).toEqual([
    'src/manager/m.ts imports src/pilot/program/a.ts: the pilot is a program of its own',
    expect.stringMatching(/^src\/pilot\/program\/a\.ts imports src\/pilot\/states\.ts: the pilot may import/) as string,
  ]);
});

test('a door may stand in the folder of its service, above the manager all the same', () => {
  expect(house({
    'src/pilot/door/d.ts': `import '../../manager/m.ts'; import '../reconcile.ts';`, 'src/pilot/reconcile.ts': `import './door/d.ts';`,
    'src/manager/m.ts': `import '../pilot/reconcile.ts';`,
  })).toEqual(['src/pilot/reconcile.ts imports src/pilot/door/d.ts: src/pilot/door is above', expect.stringMatching(/^circle: /) as string]);
});

test('what a slot is may be known below, and is pure', () => {
  expect(house({ 'src/store/s.ts': `import '../pilot/states.ts';`, 'src/pilot/states.ts': `import './protocol.ts';`, 'src/pilot/protocol.ts': `import 'node:fs';` }))
    .toEqual(['src/pilot/protocol.ts imports node:fs: the slot is pure']);
});

test('circles are found, however long', () => {
  expect(house({
    'src/manager/a.ts': `import './b.ts';`, 'src/manager/b.ts': `import './c.ts';`, 'src/manager/c.ts': `import './a.ts';`,
  })).toEqual(['circle: src/manager/a.ts, src/manager/b.ts, src/manager/c.ts']);
});
