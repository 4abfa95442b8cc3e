/** `--evaluate`: looks at everything, changes nothing, and says how to mend what is wrong. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { describe as lines, evaluate } from '../../src/pilot/program/evaluate.ts';
import type { EvaluateOptions, Evaluation } from '../../src/pilot/program/evaluate.ts';
import { takePlace } from '../../src/pilot/program/lock.ts';
import { createMechanism } from '../../src/pilot/program/memory/index.ts';
import { createXl } from '../../src/pilot/program/memory/xl.ts';
import type { NodeSettings } from '../../src/pilot/program/types.ts';
import { FakeXl, settingsIn, testContext as ctx } from './memory/fake-xl.ts';

let dir: string;
let settings: NodeSettings;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'evaluate-'));
  settings = settingsIn(dir, { mechanism: 'xl' });
});

const run = (change: Partial<EvaluateOptions> = {}): Promise<Evaluation> =>
  evaluate({ ctx, settings, mechanism: createMechanism(change.settings ?? settings, ctx), memoryMb: 512, driver: 'simulated', qemu: 'qemu-system-x86_64', guestAddress: null, service: null, contact: null, ...change });
const wrong = (e: Evaluation): string[] => e.findings.filter((f) => !f.ok).map((f) => f.what);

describe('a dry run', () => {
  it('finds a good node good and changes nothing on it', async () => {
    const xl = new FakeXl(dir);
    const result = await run();
    expect(wrong(result)).toEqual([]);
    expect(result.exit).toBe(0);
    expect(lines(result.findings)).toContain('ok     512 MB can be taken; the host keeps 1495 MB');
    expect(xl.calls().filter((c) => c !== 'list' && c !== 'info')).toEqual([]);
    expect(existsSync(settings.stateBase)).toBe(false);
  });

  it('P5: asks the service too, and says when it does not answer', async () => {
    new FakeXl(dir);
    let asked = 0;
    const good = await run({ contact: () => { asked += 1; return Promise.resolve(); } });
    expect([good.exit, asked]).toEqual([0, 1]);
    const bad = await run({ contact: () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.1:41999')) });
    expect([bad.exit, wrong(bad)]).toEqual([3, ['the service does not take messages of this pilot: connect ECONNREFUSED 10.0.0.1:41999']]);
  });

  it('shows where guests are reached, and says when that is this node only though the service is elsewhere', async () => {
    new FakeXl(dir);
    const here = await run({ service: new URL('http://127.0.0.1:41999') });
    expect(lines(here.findings)).toContain('ok     ports of this node that lead to guests are reached at 127.0.0.1: from this node only, as the service');
    const elsewhere = new URL('http://no-such-name.invalid:41999');
    const nowhere = await run({ service: elsewhere });
    expect([nowhere.exit, wrong(nowhere)]).toEqual([3, ['ports of this node that lead to guests are reached at 127.0.0.1, from this node only']]);
    expect(lines(nowhere.findings)).toContain('-> set [other] guestaddress to where users reach this node, or see that no-such-name.invalid leads to the service');
    expect(wrong(await run({ service: elsewhere, guestAddress: '198.51.100.7' }))).toEqual([]);
  });

  it('finds every fault at once, each with how to mend it', async () => {
    const xl = new FakeXl(dir);
    const sudo = join(dir, 'sudo');
    writeFileSync(sudo, '#!/bin/sh\nshift\n[ "$1" = -l ] && exit 1\nexec "$@"\n');
    chmodSync(sudo, 0o755);
    mkdirSync(settings.stateBase, { mode: 0o755 });
    const place = await takePlace(ctx.clock, settings.lockFile, 1, 'slot sl-ffffffffffff');
    const mechanism = createXl({ ...settings, become: [sudo, '-n'] }, ctx);
    const result = await run({ mechanism, memoryMb: 1900 });
    await place.release();
    expect(result.exit).toBe(3);
    expect(wrong(result)).toEqual([
      `${settings.stateBase} is open to other users; run: chmod 700 ${settings.stateBase}`,
      'the node is held by slot sl-ffffffffffff',
      ...['list', 'info', 'mem-set 0 512m', 'destroy 1'].map((args) => `sudo does not allow "${xl.program} ${args}" without a password`),
      '1900 MB cannot be taken: the host would keep 107 MB, less than 256',
    ]);
    expect(result.findings.filter((f) => !f.ok && f.mend === undefined)).toEqual([]);
  });

  it('says what is missing, and what could not be looked at', async () => {
    const result = await run();
    expect(result.exit).toBe(3);
    expect(wrong(result)).toEqual([
      `${settings.xen.xm} cannot be run`, expect.stringContaining('the memory of the host could not be checked'),
    ]);
  });

  it('knows more than a host without a mechanism has', async () => {
    const none = { ...settings, mechanism: 'none' } as const;
    expect((await run({ settings: none, memoryMb: 64 })).exit).toBe(0);
    expect(wrong(await run({ settings: none, memoryMb: 1e9 }))).toEqual([expect.stringMatching(/^1000000000 MB cannot be taken/)]);
  });
});
