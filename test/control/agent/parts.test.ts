/** Small parts: lanes, versions, output lines, records. */
import { appendFileSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realClock } from '../../../src/control/agent/clock.ts';
import { Lanes } from '../../../src/control/agent/lanes.ts';
import { fileLog, silentLog } from '../../../src/control/agent/log.ts';
import { Outbox } from '../../../src/control/agent/outbox.ts';
import { Records } from '../../../src/control/agent/records.ts';
import { isNewer } from '../../../src/control/agent/versions.ts';
import { MAX_LINE } from '../../../src/control/protocol.ts';
import type { Done } from '../../../src/control/protocol.ts';
import { hasPart } from '../../parts.ts';
import { onSmallDisk } from '../../support/small-disk.ts';
import { scratch } from './rig.ts';

let tmp: ReturnType<typeof scratch>;
beforeEach(() => { tmp = scratch(); });
afterEach(() => tmp.remove());

describe('lanes', () => {
  it('keep order within a lane and never exceed what may run at once', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 30 }), fc.integer({ min: 1, max: 4 }), async (names, parallel) => {
      const lanes = new Lanes(parallel);
      const order: string[] = [];
      const inLane = new Set<string>();
      let most = 0;
      names.forEach((name, i) => lanes.add(name, async () => {
        expect(inLane.has(name)).toBe(false);
        inLane.add(name);
        most = Math.max(most, inLane.size);
        await new Promise((resolve) => { setImmediate(resolve); });
        inLane.delete(name);
        order.push(`${name}${i}`);
      }));
      await lanes.idle();
      expect(most).toBeLessThanOrEqual(parallel);
      expect(order).toHaveLength(names.length);
      for (const lane of 'abcd') expect(order.filter((o) => o.startsWith(lane))).toEqual(names.flatMap((n, i) => (n === lane ? [`${n}${i}`] : [])));
    }));
  });
});

describe('versions', () => {
  it.each([
    ['1.0.1', '1.0.0', true], ['1.10.0', '1.9.9', true], ['2.0.0', '1.99.99', true], ['1.0.0', '1.0.0', false], ['1.0.0', '1.0.1', false],
    ['1.0.0', '1.0.0-rc.1', true], ['1.0.0-rc.1', '1.0.0', false], ['1.0.0-rc.2', '1.0.0-rc.1', true], ['1.0.0-rc.10', '1.0.0-rc.9', true],
    ['1.0.0-beta', '1.0.0-alpha', true], ['1.0.0-alpha.1', '1.0.0-alpha', true], ['1.0.0-alpha.beta', '1.0.0-alpha.1', true], ['1.0.0+b', '1.0.0+a', false],
    ['nonsense', '1.0.0', false], ['1.0.0', 'nonsense', false], ['', '', false],
  ])('%s is newer than %s: %s', (a, b, expected) => expect(isNewer(a, b)).toBe(expected));
});

describe('lines out', () => {
  const done = (id: string, size = 0): Done => ({ id, ok: true, result: { console: 'x'.repeat(size), truncated: false, at: 0 }, stamps: {} });

  it('group what is ready, drop phases that an answer tells, and keep each line within the limit', () => {
    const sent: string[] = [];
    const box = new Outbox(2, (text) => sent.push(text));
    box.ack('a');
    box.ack('b');
    box.progress('a', 'started', 1);
    box.progress('c', 'started', 1);
    for (const id of 'abc') box.done(done(id, id === 'c' ? 0 : MAX_LINE / 2));
    box.done(done('d', MAX_LINE));
    box.line({ pong: 1, at: 2 });
    box.flush();
    const lines = sent.join('').trimEnd().split('\n');
    expect(lines.every((l) => Buffer.byteLength(l) <= MAX_LINE)).toBe(true);
    expect(lines[0]).toBe('{"ack":["a","b"]}');
    expect(lines.filter((l) => l.includes('progress'))).toHaveLength(0);
    const answers = lines.filter((l) => l.startsWith('{"done"')).flatMap((l) => (JSON.parse(l) as { done: Done[] }).done);
    expect(answers.map((d) => [d.id, d.ok])).toEqual([['a', true], ['b', true], ['c', true], ['d', false]]);
    expect(lines.at(-1)).toBe('{"pong":1,"at":2}');
  });
});

describe('records', () => {
  const open = (clock = realClock): Records => new Records(join(tmp.dir, 'leases.journal'), clock, silentLog);

  it('keep tombstones for thirty days', () => {
    let now = 1_800_000_000_000;
    const clock = { ...realClock, now: () => now };
    const first = open(clock);
    first.save({ ...first.of('i-old'), generation: 5, state: 'removed' });
    now += 29 * 86_400_000;
    const records = open(clock);
    expect(records.seen('i-old')).toBe(5);
    now += 2 * 86_400_000;
    records.save({ ...records.of('i-new'), generation: 1, state: 'removed' });
    expect([records.seen('i-old'), records.seen('i-new')]).toEqual([-1, 1]);
    const next = open(clock);
    expect([next.seen('i-old'), next.seen('i-new')]).toEqual([-1, 1]);
  });

  it('are the same to the next agent, whatever was saved, and a torn end harms only itself', () => {
    const change = fc.record({ lease: fc.constantFrom('i-1', 'i-2', 'i-3'), generation: fc.nat(9), state: fc.constantFrom('running', 'paused', 'stopped', 'removed') });
    fc.assert(fc.property(fc.array(change, { maxLength: 20 }), fc.boolean(), (changes, torn) => {
      const { dir, remove } = scratch();
      try {
        const file = join(dir, 'leases.journal');
        const records = new Records(file, realClock, silentLog);
        for (const c of changes) records.save({ ...records.of(c.lease), ...c } as ReturnType<Records['of']>);
        records.close();
        if (torn) appendFileSync(file, '{"format":1,"lease":"i-1","gener');
        const next = new Records(file, realClock, silentLog);
        for (const lease of ['i-1', 'i-2', 'i-3']) expect(next.get(lease)).toEqual(records.get(lease));
        expect(next.problems).toHaveLength(torn ? 1 : 0);
        next.close();
      } finally {
        remove();
      }
    }));
  });

  it.runIf(hasPart('mounts'))('of which a full disk took one half way are not damaged: it was refused', async () => {
    await onSmallDisk(join(tmp.dir, 'full'), '64k', () => {
      const file = join(tmp.dir, 'full', 'leases.journal');
      const records = new Records(file, realClock, silentLog);
      let saved = 0;
      expect(() => { for (; saved < 1000; saved += 1) records.save({ ...records.of(`i-${saved}`), generation: 1, state: 'running' }); }).toThrow(/ENOSPC/);
      records.close();
      const text = readFileSync(file, 'utf8');
      expect(text.slice(-2)).toBe('}\n');
      writeFileSync(join(tmp.dir, 'copy'), text);
      const next = new Records(join(tmp.dir, 'copy'), realClock, silentLog);
      expect(next.problems).toEqual([]);
      expect(next.live()).toHaveLength(saved);
      next.close();
      return Promise.resolve();
    });
  });

  it('are written anew when most of the journal is outdated', () => {
    const records = open();
    for (let i = 0; i < 200; i++) records.save({ ...records.of('i-1'), generation: i, state: 'running', reason: 'x'.repeat(50_000) });
    expect(statSync(join(tmp.dir, 'leases.journal')).size).toBeLessThan(5 * 1024 * 1024);
    expect(open().get('i-1')?.generation).toBe(199);
  });

  it('hold no user data', () => {
    const records = open();
    expect(JSON.stringify(records.save(records.of('i-1')))).not.toContain('userData');
  });
});

describe('the log', () => {
  it('is bounded', () => {
    const file = join(tmp.dir, 'agent.log');
    const log = fileLog(file, realClock);
    for (let i = 0; i < 700; i++) log.info('x'.repeat(4000), { i });
    expect(readdirSync(tmp.dir).sort()).toEqual(['agent.log', 'agent.log.1']);
    expect(existsSync(file)).toBe(true);
  });
});
