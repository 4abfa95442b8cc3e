/** Leases whose VMs' memory is kept while they do not run: their room, their charge, their end, and what may go wrong. */
import { rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { AgentError, AgentRequest } from '../../src/control/protocol.ts';
import { ec2State } from '../../src/lease/states.ts';
import type { CreateRequest, GridRequest } from '../../src/lease/types.ts';
import type { Workspace } from '../../src/manager/workspaces.ts';
import { statement } from '../../src/store/db.ts';
import { checkedSite } from '../fsck/site.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { unanswered } from '../support/unanswered.ts';

/** The monitor hears of a node by itself. */
const WAIT = { timeout: 60_000, interval: 20 };

let site: TestSite;
beforeAll(async () => {
  site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 1024, cores: 8 }] });
});
afterAll(() => site?.close());
afterEach(async () => {
  site.control.answer = () => undefined;
  site.control.serializes = true;
  site.control.setUp(1, true);
  const left = await site.manager.workspaces.list(site.alice);
  for (const { number } of left) await change(number, 'end');
  await site.settled();
  await expectInvariants(site);
});

type To = 'start' | 'shutdown' | 'pause' | 'serialize' | 'reboot' | 'end';
const create = (grid: Partial<GridRequest> = {}, count = 1): Promise<Workspace[]> => site.manager.workspaces.create(site.alice, {
  minCount: count, maxCount: count, image: 'guest', resources: { memoryMb: 256 },
  grid: { name: 'http://example/workspace', nics: ['eth0'], architecture: 'x86', cores: false, target: null, saveAs: null, ensemble: null, ...grid },
} satisfies CreateRequest);
const change = (number: number, to: To): Promise<void> => site.manager.workspaces.change(site.alice, { number }, { to });
async function seen(number: number): Promise<Workspace> {
  await site.settled();
  const [lease] = await site.manager.workspaces.find(site.alice, { number });
  if (lease === undefined) throw new Error(`workspace ${number} is unknown`);
  return lease;
}
async function running(grid: Partial<GridRequest> = {}): Promise<Workspace> {
  const [lease] = await create(grid);
  return seen(lease?.number ?? 0);
}
async function serialized(grid: Partial<GridRequest> = {}): Promise<Workspace> {
  const lease = await running(grid);
  await change(lease.number, 'serialize');
  return seen(lease.number);
}
const asked = (id: string): string[] => site.control.node(1).seen.filter((r) => 'lease' in r && r.lease === id).map((r) => r.op);
const openIntervals = statement<{ n: number }>('serialize-open', 'SELECT count(*)::int AS n FROM usage_interval WHERE lease_id = $1 AND stop_at IS NULL');
const charged = async (id: string): Promise<number | undefined> => (await site.db.query(openIntervals, [id]))[0]?.n;
const fails = (op: AgentRequest['op'], code: AgentError['code']): void => {
  site.control.answer = (_, r) => (r.op === op ? { code, message: 'as the test wants it' } : undefined);
};
const used = statement<{ memory_used: number }>('serialize-room', "SELECT memory_used FROM vmm_node WHERE name = 'n1'");

describe('a serialized lease', () => {
  it('is stopped at one door and Propagated at the other, keeps its room, is not charged, and goes on', async () => {
    const lease = await serialized();
    expect([lease.state, lease.visible]).toEqual(['Serialized', 'Propagated']);
    expect(ec2State(lease.state, true)).toBe('stopped');
    expect(await site.db.query(used)).toEqual([{ memory_used: 256 }]);
    expect(await charged(lease.id)).toBe(0);
    await change(lease.number, 'start');
    expect((await seen(lease.number)).state).toBe('Running');
    expect(await charged(lease.id)).toBe(1);
    expect(asked(lease.id)).toEqual(['start', 'serialize', 'start']);
  });

  it('may be asked for again, from Paused too; Normal leaves it, a reboot is refused', async () => {
    const lease = await running();
    await change(lease.number, 'pause');
    await site.settled();
    for (const to of ['serialize', 'serialize', 'shutdown'] as const) {
      await change(lease.number, to);
      expect((await seen(lease.number)).state, to).toBe('Serialized');
    }
    for (const to of ['reboot', 'pause'] as const) await expect(change(lease.number, to), to).rejects.toMatchObject({ code: 'StateRefused' });
    expect(asked(lease.id)).toEqual(['start', 'pause', 'serialize']);
  });

  it('goes on and is shut down through the EC2 door as any that is stopped', async () => {
    const lease = await serialized();
    await site.manager.leases.stop(site.alice, [lease.id]);
    expect((await seen(lease.number)).state).toBe('Serialized');
    await site.manager.leases.start(site.alice, [lease.id]);
    expect((await seen(lease.number)).state).toBe('Running');
  });

  it('ends when its user wants it, or when its time is over', async () => {
    const [one, other] = [await serialized(), await serialized()];
    await change(one.number, 'end');
    await site.settled();
    expect(site.control.node(1).vms.get(one.id)?.state).toBe('removed');
    await site.db.query(statement('serialize-overdue', "UPDATE lease SET ends_at = now() - interval '1 s' WHERE id = $1"), [other.id]);
    expect(await site.manager.work.sweep()).toBe(1);
    await site.settled();
    expect(site.control.node(1).vms.get(other.id)?.state).toBe('removed');
  });

  it('whose disk was to be saved at its end has it saved', async () => {
    const lease = await serialized({ saveAs: 'kept-disk' });
    await site.db.query(statement('serialize-overdue', "UPDATE lease SET ends_at = now() - interval '1 s' WHERE id = $1"), [lease.id]);
    await site.manager.work.sweep();
    await site.settled();
    expect((await site.manager.images.list(site.alice)).map((i) => i.name)).toContain('kept-disk');
  });

  it('that cannot be serialized runs on, and says why', async () => {
    const lease = await running();
    fails('serialize', 'DiskFull');
    await change(lease.number, 'serialize');
    expect(await seen(lease.number)).toMatchObject({ state: 'Running', reasonCode: 'Server.DiskFull' });
    expect(await charged(lease.id)).toBe(1);
  });

  it('that does not go on stays serialized, and may go on later', async () => {
    const lease = await serialized();
    fails('start', 'DriverFailed');
    await change(lease.number, 'start');
    expect(await seen(lease.number)).toMatchObject({ state: 'Serialized', reasonCode: 'Server.DriverFailed' });
    site.control.answer = () => undefined;
    await change(lease.number, 'start');
    expect((await seen(lease.number)).state).toBe('Running');
  });
});

describe('a node', () => {
  /** It is away, and answers again. */
  async function returns(): Promise<void> {
    site.control.setUp(1, false);
    site.control.setUp(1, true);
    await site.monitor.reload();
    await site.settled();
  }

  it('that was restarted still has it', async () => {
    const lease = await serialized();
    await returns();
    expect((await seen(lease.number)).state).toBe('Serialized');
    await change(lease.number, 'start');
    expect((await seen(lease.number)).state).toBe('Running');
  });

  it('that had serialized it before anyone heard is asked again, and nothing is lost', async () => {
    const lease = await running();
    site.control.answer = (nodeId, r) => {
      if (r.op !== 'serialize') return undefined;
      site.control.perform(nodeId, r);
      return 'silent';
    };
    const reached = site.control.reached((_, r) => r.op === 'serialize');
    await change(lease.number, 'serialize');
    await reached;
    await unanswered(site);
    site.control.answer = () => undefined;
    await returns();
    await vi.waitFor(async () => expect((await seen(lease.number)).state).toBe('Serialized'), WAIT);
  });

  it('that has lost its memory ends it', async () => {
    const lease = await serialized();
    const vms = site.control.node(1).vms;
    const vm = vms.get(lease.id);
    if (vm === undefined) throw new Error('no VM');
    vms.set(lease.id, { ...vm, state: 'stopped', reason: 'its memory is not there any more' });
    const checked = await checkedSite(site);
    expect((await checked.fsck({ serving: true })).problems.map((p) => p.rule)).toContain('vm-gone');
    rmSync(checked.directory, { recursive: true });
    await returns();
    await vi.waitFor(() => expect(seen(lease.number)).rejects.toMatchObject({ code: 'LeaseNotFound' }), WAIT);
  });

  it('whose agent cannot is not asked: an older one, or one of another VMM', async () => {
    site.control.serializes = false;
    await returns();
    await vi.waitFor(async () => expect(await site.db.query(statement('serialize-can', 'SELECT serializes FROM vmm_node'))).toEqual([{ serializes: false }]), WAIT);
    const [one, other] = await create({}, 2);
    await site.settled();
    await expect(change(one?.number ?? 0, 'serialize')).rejects.toMatchObject({ code: 'SerializeUnsupported' });
    const group = one?.grid?.group ?? '';
    await expect(site.manager.workspaces.change(site.alice, { group }, { to: 'serialize' })).rejects.toMatchObject({ code: 'SerializeUnsupported' });
    expect((await seen(other?.number ?? 0)).state).toBe('Running');
    expect(asked(one?.id ?? '')).toEqual(['start']);
  });

  it('is not named as the reason where there is nothing to serialize yet', async () => {
    site.control.serializes = false;
    await returns();
    const resting = await running({ target: 'Unpropagated' });
    await expect(change(resting.number, 'serialize')).rejects.toMatchObject({ code: 'StateRefused', reasons: [`workspace ${resting.number} is Unpropagated`] });
  });
});
