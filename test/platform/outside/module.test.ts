import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createOutsideModule, type OutsideModule } from '../../../src/platform/outside/module.ts';
import { testContext } from '../../support/context.ts';

let dir: string;
let outside: OutsideModule | undefined;
beforeEach(() => { dir = mkdtempSync(join(tmpdir(), 'outside-')); });
afterEach(async () => {
  await outside?.close();
  rmSync(dir, { recursive: true });
});

function open(body: string, deadlineMs = 60_000): OutsideModule {
  const file = join(dir, 'a module #1.mjs');
  writeFileSync(file, body);
  return (outside = createOutsideModule(testContext(), { file, exported: 'decide', deadlineMs }));
}

test('asks the function and hands its answer on, whichever way it answers', async () => {
  const o = open('export const decide = (x) => (x.now ? { got: x } : Promise.resolve([x.later]));');
  expect(await Promise.all([o.ask({ now: 1 }), o.ask({ later: 2 })])).toEqual([{ got: { now: 1 } }, [2]]);
});

test('what it throws, and what cannot be handed on, is a failure of that question only', async () => {
  const o = open('export function decide(x) { if (x === 1) throw new Error("no"); if (x === 2) return () => 0; return x; }');
  await expect(o.ask(1)).rejects.toThrow('it threw: no');
  await expect(o.ask(2)).rejects.toThrow('could not be cloned');
  expect(await o.ask(3)).toBe(3);
});

test('an endless loop ends with its thread, and the next question is answered', async () => {
  const o = open('export function decide(x) { if (x.loop) for (;;); return x; }', 6_000);
  await o.load();
  await expect(o.ask({ loop: true })).rejects.toThrow('it did not answer within 6000 ms');
  expect(await o.ask({ again: 1 })).toEqual({ again: 1 });
});

test('too much memory, and an exit, end the thread and not the process', async () => {
  const o = open('export function decide(x) { if (x.exit) process.exit(3); const all = []; for (;;) all.push(new Array(1e6).fill(x)); }');
  await expect(o.ask({ exit: true })).rejects.toThrow('its thread ended');
  await expect(o.ask({})).rejects.toThrow('its thread ended: ');
});

test('Buffers that it keeps count too: the thread ends, and the next one begins with none', async () => {
  const o = open('const kept = []; export function decide(mb) { if (mb > 0) kept.push(Buffer.alloc(mb * 2 ** 20, 1)); return kept.length; }');
  expect(await o.ask(100)).toBe(1);
  expect(await o.ask(100)).toBe(2);
  // Whether the answer or the end of the thread is heard first is nobody's to say.
  await o.ask(100).catch((e: Error) => expect(e.message).toContain('in Buffers'));
  await vi.waitFor(async () => expect(await o.ask(0)).toBe(0), { timeout: 60_000 });
});

test('also what it takes between questions', async () => {
  const o = open(`const kept = []; export function decide(x) {
    if (x !== 'wait') return kept.length;
    setTimeout(() => kept.push(Buffer.alloc(300 * 2 ** 20, 1)), 10);
    return new Promise(() => {});
  }`);
  await expect(o.ask('wait')).rejects.toThrow('MiB in Buffers, more than 256');
  expect(await o.ask('now')).toBe(0);
});

test.each([
  ['no such export', 'export const other = 1;', 'it exports no function called decide'],
  ['a mistake in it', 'export const decide = (;', 'cannot be loaded'],
])('%s is said when it is loaded, and to who asks', async (_what, body, message) => {
  const o = open(body);
  await expect(o.load()).rejects.toThrow(message);
  await expect(o.ask(1)).rejects.toThrow(message);
});

test('a bound number of questions wait', async () => {
  const o = open('export const decide = (x) => x === "go" ? x : new Promise(() => {});');
  const waiting = Array.from({ length: 200 }, () => o.ask(1).catch((e: Error) => e.message));
  await expect(o.ask(1)).rejects.toThrow('200 requests wait for its answer already');
  await o.close();
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(['the service stops']));
});
