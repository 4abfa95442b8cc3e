/** Rotation under bursts, with real files: every line is in one of them, once and in order, or is counted as missing. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openLog } from '../../src/platform/log.ts';
import { openLogFile } from '../../src/platform/log-file.ts';
import { realClock } from '../../src/platform/real.ts';
import { hasPart } from '../parts.ts';
import { onSmallDisk } from '../support/small-disk.ts';

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'lf-')); });
afterEach(() => { rmSync(root, { recursive: true, force: true }); });

/** The oldest first. */
const names = (dir: string): string[] => ['nimbus4.log', 'nimbus3.log', 'nimbus2.log', 'nimbus1.log', 'nimbus.log'].map((name) => join(dir, name)).filter((file) => existsSync(file));
const linesIn = (dir: string): string[] => names(dir).flatMap((file) => readFileSync(file, 'utf8').split('\n').slice(0, -1));
const sizes = (dir: string): number => names(dir).reduce((all, file) => all + statSync(file).size, 0);
const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

it('no line is lost at four rotations of the service’s log, in bursts of 200', async () => {
  const { log, close } = openLog(realClock, { level: 'info', file: join(root, 'nimbus.log') });
  const count = 36_000;
  const filler = 'x'.repeat(1_900);
  for (let i = 0; i < count;) {
    for (let burst = 0; burst < 200; burst += 1) log.info(filler, { i: i++ });
    await turn();
    // No faster for long than the disk.
    if (i % 2_000 === 0) await vi.waitFor(() => expect(sizes(root)).toBeGreaterThan(i * filler.length), { timeout: 60_000, interval: 5 });
  }
  await close();
  expect(names(root).map((file) => statSync(file).mode & 0o777)).toEqual([0o600, 0o600, 0o600, 0o600, 0o600]);
  for (const file of names(root)) expect(statSync(file).size).toBeLessThan(16 * 1024 * 1024 + 3_000);
  expect(linesIn(root).map((line) => (JSON.parse(line) as { i: number }).i)).toEqual(upTo(count));
});

it('whatever the lines and bursts are, the newest stay, in order, in so many files of so many bytes', async () => {
  const burst = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 60 });
  await fc.assert(fc.asyncProperty(fc.array(burst, { maxLength: 12 }), fc.integer({ min: 1, max: 2_000 }), fc.integer({ min: 2, max: 5 }), async (bursts, bytes, files) => {
    const dir = mkdtempSync(join(root, 'p-'));
    const said: string[] = [];
    // Opened again in the middle, as by a service that is restarted.
    for (const half of [bursts.slice(0, bursts.length / 2), bursts.slice(bursts.length / 2)]) {
      const out = openLogFile(realClock, { path: join(dir, 'nimbus.log'), bytes, files, complain: (sentence) => { throw new Error(sentence); } });
      for (const lengths of half) {
        for (const length of lengths) {
          const line = `${said.length} ${'é'.repeat(length)}`;
          said.push(line);
          out.write(`${line}\n`);
        }
        await turn();
      }
      await finished(out.end());
    }
    const kept = linesIn(dir);
    expect(kept).toEqual(said.slice(said.length - kept.length));
    expect(readdirSync(dir).length).toBeLessThanOrEqual(files);
    if (said.length > 0 && kept.length < said.length) expect(readdirSync(dir)).toHaveLength(files);
    for (const file of names(dir)) expect(statSync(file).size).toBeLessThan(bytes + 1_000);
  }), { numRuns: 60 });
});

describe('when it cannot be written', () => {
  it('what is missing is counted and said, once to who is in charge, and when it can it goes on', async () => {
    const path = join(root, 'nimbus.log');
    mkdirSync(path);
    const complaints: string[] = [];
    let heard: () => void = () => undefined;
    const complaint = new Promise<void>((resolve) => { heard = resolve; });
    const out = openLogFile(realClock, { path, bytes: 10_000, files: 3, complain: (sentence) => { complaints.push(sentence); heard(); } });
    for (const i of upTo(50)) out.write(`{"i":${i}}\n`);
    await complaint;
    rmdirSync(path);
    for (const i of upTo(50)) out.write(`{"i":${50 + i}}\n`);
    await finished(out.end());
    expect(complaints).toEqual([`the log ${path} cannot be written, and lines are lost: it is a directory`]);
    expectAllAccounted(linesIn(root), 100);
  });

  it('to the end, the end comes all the same', async () => {
    const path = join(root, 'nimbus.log');
    mkdirSync(path);
    const complaints: string[] = [];
    const out = openLogFile(realClock, { path, bytes: 10_000, files: 3, complain: (sentence) => complaints.push(sentence) });
    out.write('{}\n');
    await finished(out.end());
    expect(complaints).toHaveLength(1);
  });

  it('lines that nobody could keep in memory are counted too', async () => {
    const out = openLogFile(realClock, { path: join(root, 'nimbus.log'), bytes: 2 ** 30, files: 2, complain: (sentence) => { throw new Error(sentence); } });
    const filler = 'x'.repeat(1_000_000);
    for (const i of upTo(40)) out.write(`{"i":${i},"filler":"${filler}"}\n`);
    await finished(out.end());
    const lines = linesIn(root);
    expect(lines.length).toBeLessThan(20);
    expectAllAccounted(lines, 40);
  });

  it.runIf(hasPart('mounts'))('a full disk: no line is torn into another, and all is written again when there is room', async () => {
    await onSmallDisk(join(root, 'small'), '256k', async () => {
      const dir = join(root, 'small');
      let heard: () => void = () => undefined;
      const complaint = new Promise<void>((resolve) => { heard = resolve; });
      writeFileSync(join(dir, 'filler'), Buffer.alloc(128 * 1024));
      const out = openLogFile(realClock, { path: join(dir, 'nimbus.log'), bytes: 1_000_000, files: 2, complain: () => heard() });
      const filler = 'x'.repeat(300);
      for (const i of upTo(1_000)) out.write(`{"i":${i},"filler":"${filler}"}\n`);
      await complaint;
      rmSync(join(dir, 'filler'));
      for (const i of upTo(100)) out.write(`{"i":${1_000 + i}}\n`);
      await finished(out.end());
      expectAllAccounted(linesIn(dir), 1_100);
      expect(linesIn(dir).at(-1)).toBe('{"i":1099}');
    });
  });
});

/** Each of `count` numbered lines is there, in order, or is counted in the place where it is missing. */
function expectAllAccounted(lines: readonly string[], count: number): void {
  const read = lines.map((line) => JSON.parse(line) as { i?: number; lines?: number; level?: string });
  const seen = read.flatMap((line) => line.i ?? []);
  const missing = read.flatMap((line) => line.lines ?? []);
  expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
  expect(missing.every((n) => n > 0)).toBe(true);
  expect(missing.length).toBeGreaterThan(0);
  expect(seen.length + missing.reduce((a, b) => a + b, 0)).toBe(count);
}
