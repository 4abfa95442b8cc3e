/** State files of slots: what is written is read back, and what is not exactly that is refused and left alone. */
import { chmodSync, chownSync, existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { STAGES } from '../../../src/pilot/program/stages.ts';
import { bootId, listSlots, makeSlotDir, parseSlotDirName, pilotLives, readNodeState, stateFault, writeNodeState } from '../../../src/pilot/program/state.ts';
import type { NodeState } from '../../../src/pilot/program/types.ts';
import { startTicksOf } from '../../../src/pilot/program/vms.ts';
import { hasPart } from '../../parts.ts';

const SLOT = 'sl-0123456789ab';
const HOST = 'node1';
const uid = process.getuid?.() ?? 0;
const state: NodeState = {
  v: 1, slot: SLOT, host: HOST, pilot: '0123456789abcdef', pid: process.pid, startTicks: '1', bootId: bootId(), mechanism: 'xl',
  target: { mb: 512, beforeMb: 2007, afterMb: 1495 }, stage: 'reserved',
};
let base: string;
let dir: string;
let file: string;
beforeEach(() => {
  base = join(mkdtempSync(join(tmpdir(), 'state-')), 'base');
  dir = makeSlotDir(base, SLOT, HOST);
  file = join(dir, 'state.json');
});
const read = (owner = uid): NodeState | null => readNodeState(dir, { slot: SLOT, host: HOST, owner });

describe('a state file', () => {
  it('is read back as it was written, or is not there', () => {
    expect(read()).toBeNull();
    writeNodeState(dir, state);
    expect(read()).toEqual(state);
    writeNodeState(dir, { ...state, target: null });
    expect(read()?.target).toBeNull();
    expect(listSlots(base, uid)).toEqual([{ dir, slot: SLOT, host: HOST, state: { ...state, target: null }, refused: null }]);
  });

  it('is whole though a writer died in the middle', () => {
    writeNodeState(dir, state);
    writeFileSync(`${file}.new`, '{"v":1,"slo');
    expect(read()).toEqual(state);
    writeNodeState(dir, { ...state, stage: 'unreserving' });
    expect(read()?.stage).toBe('unreserving');
  });

  it.each<[string, (path: string) => void, RegExp]>([
    ['a symbolic link', (path) => { renameSync(path, `${path}.real`); symlinkSync(`${path}.real`, path); }, /symbolic link/],
    ['a second name of another file', (path) => linkSync(path, `${path}.other`), /not a plain file/],
    ['a FIFO', (path) => { renameSync(path, `${path}.real`); spawnSync('mkfifo', ['-m', '600', path]); }, /not a plain file/],
    ['a file that others may write', (path) => chmodSync(path, 0o666), /open to other users \(mode 666\)/],
    ['a huge file', (path) => writeFileSync(path, `${JSON.stringify(state)}${' '.repeat(5000)}`), /longer than 4096 bytes/],
    ['no JSON', (path) => writeFileSync(path, 'rm -rf /\n'), /no JSON/],
    ['an array', (path) => writeFileSync(path, '[]'), /no object/],
  ])('that is %s is refused and left alone', (_, damage, why) => {
    writeNodeState(dir, state);
    damage(file);
    expect(() => read()).toThrow(why);
    const [slot] = listSlots(base, uid);
    expect(slot).toMatchObject({ state: null });
    expect(slot?.refused).toMatch(why);
    expect(existsSync(file)).toBe(true);
  });

  it.skipIf(!hasPart('root'))('of another owner is refused', () => {
    writeNodeState(dir, state);
    chownSync(file, 12_345, 12_345);
    expect(() => read()).toThrow(`${file} belongs to user 12345, not to user ${uid}`);
    chownSync(dir, 12_345, 12_345);
    expect(listSlots(base, uid)[0]?.refused).toBe(`${dir} belongs to user 12345, not to user ${uid}`);
    chownSync(base, 12_345, 12_345);
    expect(() => listSlots(base, uid)).toThrow(`${base} belongs to user 12345`);
  });

  it.each<[string, Record<string, unknown>]>([
    ['another slot', { slot: 'sl-ffffffffffff' }],
    ['a path for a slot', { slot: '../../etc' }],
    ['another host', { host: 'node2' }],
    ['a command for a mechanism', { mechanism: '/tmp/evil' }],
    ['process 1', { pid: 1 }],
    ['a pid in words', { pid: '123' }],
    ['every process of a group', { pid: -1 }],
    ['a negative share', { target: { mb: -5, beforeMb: 2007, afterMb: 2012 } }],
    ['half a megabyte', { target: { mb: 0.5, beforeMb: 2007, afterMb: 2006 } }],
    ['more than was there', { target: { mb: 3000, beforeMb: 2007, afterMb: 1495 } }],
    ['an unknown stage', { stage: 'done' }],
    ['a boot that is none', { bootId: 'x' }],
    ['a path that nobody reads', { path: '/etc/passwd' }],
    ['another version', { v: 2 }],
  ])('that says %s is refused', (_, wrong) => {
    writeNodeState(dir, { ...state, ...wrong } as NodeState);
    expect(() => read()).toThrow(`not the state of this slot (${JSON.stringify(Object.keys(wrong)[0]).slice(1, -1).replace('path', '"path"')})`);
  });

  it('is refused, never misread, whatever JSON it holds', () => {
    fc.assert(fc.property(fc.jsonValue(), fc.constantFrom(...Object.keys(state)), (value, key) => {
      const fault = stateFault({ ...state, [key]: value }, { slot: SLOT, host: HOST });
      const same = JSON.stringify(value) === JSON.stringify(state[key as keyof NodeState]);
      if (same) expect(fault).toBeNull();
      else if (fault === null) expect(isHarmless(key, value)).toBe(true);
      expect(stateFault(value, { slot: SLOT, host: HOST })).not.toBeNull();
    }));
  });
});

/** Other values that are of the right form. */
function isHarmless(key: string, value: unknown): boolean {
  switch (key) {
    case 'target': return value === null;
    case 'pid': return Number.isSafeInteger(value) && (value as number) >= 2;
    case 'startTicks': return /^\d+$/.test(String(value));
    case 'stage': return STAGES.some((s) => s === value);
    default: return false;
  }
}

describe('directories of slots', () => {
  it('are known by their names only', () => {
    expect(parseSlotDirName(`${SLOT}.node1.example.org`)).toEqual({ slot: SLOT, host: 'node1.example.org' });
    for (const name of ['..', '.', '.node1', 'lost+found', `${SLOT}.`, `${SLOT}..`, `${SLOT}.a..b`, `-x.node`, `${SLOT}.node\n1`, 'a b.node']) {
      expect(parseSlotDirName(name)).toBeNull();
    }
  });

  it('are refused when others may enter', () => {
    chmodSync(dir, 0o711);
    expect(() => makeSlotDir(base, SLOT, HOST)).toThrow(`${dir} is open to other users; run: chmod 700 ${dir}`);
    expect(listSlots(base, uid)[0]?.refused).toContain('open to other users');
    chmodSync(base, 0o777);
    expect(() => makeSlotDir(base, 'sl-aaaaaaaaaaaa', HOST)).toThrow('open to other users');
  });

  it('are refused when the base is a link', () => {
    const link = join(mkdtempSync(join(tmpdir(), 'state-')), 'base');
    symlinkSync(base, link);
    expect(() => listSlots(link, uid)).toThrow('is not a directory');
    expect(() => makeSlotDir(link, SLOT, HOST)).toThrow('is not a directory');
  });

  it('are passed over when they are none', () => {
    mkdirSync(join(base, 'notes'));
    writeFileSync(join(base, 'README'), '');
    expect(listSlots(base, uid).map((s) => s.slot)).toEqual([SLOT]);
    expect(listSlots(join(base, 'nowhere'), uid)).toEqual([]);
  });
});

describe('the pilot of a state', () => {
  it('lives as the same process of the same boot', async () => {
    const startTicks = (await startTicksOf(process.pid)) ?? '';
    expect(readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ')[19]).toBe(startTicks);
    expect(await pilotLives({ ...state, startTicks }, bootId())).toBe(true);
    expect(await pilotLives({ ...state, startTicks: '1' }, bootId())).toBe(false);
    expect(await pilotLives({ ...state, startTicks }, '00000000-0000-0000-0000-000000000000')).toBe(false);
  });
});
