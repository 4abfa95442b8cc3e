/** Pilots as processes that are killed with SIGKILL, and the same program as `--recover` and `--killnine` after them. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { realClock as clock, sleep } from '../../src/control/agent/clock.ts';
import type { NodeLock } from '../../src/pilot/program/lock.ts';
import { hasPart } from '../parts.ts';
import { holdHugePages, HUGE_PAGES } from '../support/huge-pages.ts';
import { FakeXl } from './memory/fake-xl.ts';
import { bundlePilot, Node, SLOT } from './program/pilot.ts';
import type { Pilot, Sections } from './program/pilot.ts';

let program: string;
let node: Node;
beforeAll(async () => { program = await bundlePilot(mkdtempSync(`${tmpdir()}/bundle-`)); });
beforeEach(() => { node = new Node(program); });
afterEach(() => node.remove());

const recover = (config: Sections): Pilot => node.start(['--recover', '-p', node.config(config)], undefined, { SLURMD_NODENAME: 'node7', SLURM_JOB_NAME: SLOT });

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = clock.monotonic() + 60_000;
  while (!holds()) {
    if (clock.monotonic() > deadline) throw new Error(`not in time: ${what}`);
    await sleep(clock, 5);
  }
}

describe('a pilot that is killed with SIGKILL on a Xen host', () => {
  let xl: FakeXl;
  let config: Sections;
  beforeEach(() => {
    xl = new FakeXl(mkdtempSync(`${tmpdir()}/xl-`));
    config = { memory: { mechanism: 'xl' }, xen: { xl: xl.program, minmem: 256 } };
  });

  it('leaves a node that --recover gives back, once', async () => {
    const pilot = node.reserve({ memory: 512, config });
    await pilot.says('stage reserved');
    expect(xl.state().dom0.target).toBe(1495);
    await pilot.kill();
    expect(node.left()).toHaveLength(1);
    const first = recover(config);
    expect(await first.ended).toBe(0);
    expect(first.output).toContain('512 MB were given back, the host has 2007 MB');
    expect([xl.state().dom0.target, node.left()]).toEqual([2007, []]);
    const second = recover(config);
    expect(await second.ended).toBe(0);
    expect(second.output).toContain('no slot to recover');
  });

  it('in the middle of a change, is recovered too', async () => {
    xl.change({ faults: [{ command: 'mem-set', times: 1, beforeMs: 300, afterMs: 600_000 }] });
    const pilot = node.reserve({ memory: 512, config });
    await until('xl is told', () => xl.calls().some((c) => c.startsWith('mem-set')));
    await pilot.kill();
    // The batch system ends what the job has left before its epilogue runs; xl has taken effect by then.
    await until('xl takes effect', () => xl.state().dom0.target === 1495);
    expect(await recover(config).ended).toBe(0);
    expect([xl.state().dom0.target, node.left()]).toEqual([2007, []]);
  });

  it('is said to have left something when it did: exit 4, and again until it is gone', async () => {
    const pilot = node.reserve({ memory: 512, config });
    await pilot.says('stage reserved');
    await pilot.kill();
    xl.change({ guests: [{ id: 5, name: SLOT, mb: 100, immortal: true }] });
    const failing = recover(config);
    expect(await failing.ended).toBe(4);
    expect(failing.output).toContain(`FAILED: ${SLOT} on node7: guest ${SLOT} (5) was not ended`);
    xl.change({ guests: [] });
    expect(await recover(config).ended).toBe(0);
    expect([xl.state().dom0.target, node.left()]).toEqual([2007, []]);
  });

  it('does not keep the next one out; a living one does, and is named', async () => {
    const dead = node.reserve({ memory: 512, config });
    await dead.says('stage reserved');
    await dead.kill();
    const next = node.reserve({ memory: 600, config });
    await next.says('stage reserved');
    expect(xl.state().dom0.target).toBe(1407);
    const third = node.reserve({ memory: 10, config });
    expect(await third.ended).toBe(4);
    expect(third.output).toContain(`held by slot ${SLOT} on node7 (process ${next.pid}`);
    const living = recover(config);
    expect(await living.ended).toBe(0);
    expect(living.output).toContain(`left alone, its pilot lives (process ${next.pid})`);
    next.signal('SIGTERM');
    expect(await next.ended).toBe(5);
    expect([xl.state().dom0.target, node.left()]).toEqual([2007, []]);
  });

  it('is recovered where the configuration calls the node by another name than the batch system', async () => {
    const forced = { ...config, other: { forcehostname: 'else.where' } };
    const pilot = node.reserve({ memory: 512, config: forced });
    await pilot.says('stage reserved');
    await pilot.kill();
    expect(await recover(forced).ended).toBe(0);
    expect([xl.state().dom0.target, node.left()]).toEqual([2007, []]);
  });
});

describe.skipIf(!hasPart('hugepages'))('a pilot with huge pages of this machine', () => {
  const config: Sections = { memory: { mechanism: 'hugepages' }, xen: { minmem: 64 } };
  let pool: NodeLock;
  beforeAll(async () => { pool = await holdHugePages(); });
  afterAll(() => pool.release());
  const pages = (): number => Number(readFileSync(HUGE_PAGES, 'utf8'));

  it('takes them, gives them back, and is recovered when it is killed', async () => {
    const before = pages();
    const orderly = node.reserve({ memory: 64, config });
    await orderly.says('stage reserved');
    expect(pages()).toBe(before + 32);
    orderly.signal('SIGTERM');
    expect(await orderly.ended).toBe(5);
    expect(pages()).toBe(before);
    const killed = node.reserve({ memory: 64, config });
    await killed.says('stage reserved');
    await killed.kill();
    expect(pages()).toBe(before + 32);
    expect(await recover(config).ended).toBe(0);
    expect([pages(), node.left()]).toEqual([before, []]);
  });
});
