import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Fault } from '../../src/lease/faults.ts';
import { openLog } from '../../src/platform/log.ts';
import { realClock } from '../../src/platform/real.ts';
import { redact } from '../../src/platform/redact.ts';
import type { Log } from '../../src/platform/context.ts';

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'lg-')); });
afterEach(() => { rmSync(root, { recursive: true, force: true }); });

async function written(level: 'error' | 'warn' | 'info' | 'debug', say: (log: Log) => void): Promise<Array<Record<string, unknown>>> {
  const file = join(root, 'nimbus.log');
  const { log, close } = openLog({ ...realClock, now: () => 0 }, { level, file });
  say(log);
  await close();
  return readFileSync(file, 'utf8').split('\n').filter((l) => l !== '').map((l) => JSON.parse(l) as Record<string, unknown>);
}

test('one JSON object a line, with the fields of the log and of the line', async () => {
  const lines = await written('info', (log) => log.child({ requestId: 'r-1' }).child({ node: 'n1' }).info('a\nb', { lease: 'i-1' }));
  expect(lines).toEqual([{ time: '1970-01-01T00:00:00.000Z', level: 'info', message: 'a\nb', requestId: 'r-1', node: 'n1', lease: 'i-1' }]);
});

test('only lines of its level and above', async () => {
  const lines = await written('warn', (log) => {
    expect(log.debugging).toBe(false);
    log.debug('1');
    log.info('2');
    log.warn('3');
    log.error('4');
  });
  expect(lines.map((l) => l['message'])).toEqual(['3', '4']);
});

test('fields cannot replace time, level and message', async () => {
  const [line] = await written('info', (log) => log.info('true', { level: 'fake', message: 'fake', time: 'fake' }));
  expect(line).toEqual({ time: '1970-01-01T00:00:00.000Z', level: 'info', message: 'true' });
});

test('secrets are hidden by the names of their keys, at any depth, and in URLs', async () => {
  const [line] = await written('info', (log) => log.info('connects to postgres://u:s3cret@h/db', {
    secretKey: 's3cret', nested: { password: 's3cret', list: [{ privateKey: 's3cret' }] }, userData: 's3cret', Authorization: 's3cret',
    error: new Error('postgres://u:s3cret@h/db'), accessKey: 'NIMB', clientToken: 't',
  }));
  expect(JSON.stringify(line)).not.toContain('s3cret');
  expect(line).toMatchObject({ accessKey: 'NIMB', clientToken: 't' });
});

test('a refusal has its code and no stack; a mistake has its stack', () => {
  expect(redact(new Fault('NoCapacity', 'no room', ['n1: full']))).toEqual({ code: 'NoCapacity', message: 'no room', reasons: ['n1: full'] });
  expect(redact(new TypeError('oops'))).toMatchObject({ message: 'oops', stack: expect.stringContaining('log.test') as string });
});

test('whatever is logged becomes bounded JSON', () => {
  const big = { list: Array.from({ length: 1000 }, () => 'x'.repeat(5000)) };
  expect(JSON.stringify(redact(big)).length).toBeLessThan(150_000);
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  expect(() => JSON.stringify(redact(circle))).not.toThrow();
  fc.assert(fc.property(fc.anything({ withBigInt: true, withDate: true, withMap: true }), (value) => {
    JSON.stringify(redact(value));
  }));
});

test('a line after the close is dropped, not thrown', async () => {
  const file = join(root, 'nimbus.log');
  const { log, close } = openLog(realClock, { level: 'info', file });
  const child = log.child({ part: 'late' });
  log.info('before');
  await close();
  child.warn('after');
  expect(readFileSync(file, 'utf8')).not.toContain('after');
});
