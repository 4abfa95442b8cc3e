/** Disks that are saved when the batch system takes a node back before its leases' time is over. */
import { afterEach, describe, expect, it } from 'vitest';
import { statement } from '../../../src/store/db.ts';
import { imageById } from '../../../src/store/images.ts';
import { expectInvariants } from '../../support/invariants.ts';
import { SAVED_DISK } from '../../support/fake-control.ts';
import { openPilotSite, type PilotSite } from './site.ts';

let p: PilotSite;
afterEach(async () => { await p.site.close(); });

const LAST_NODE = statement<{ id: number }>('test-last-node', 'SELECT max(id) AS id FROM vmm_node');
const SAVE = { 'nimbus:on-preempt': 'save' };
const terminated = (states: readonly string[]): boolean => states.length > 0 && states.every((s) => s === 'Terminated');

/** A lease that runs on n1 with these tags, and its slot. */
async function running(tags: Record<string, string>): Promise<{ lease: string; slot: string }> {
  p = await openPilotSite();
  const { leases } = await p.site.manager.leases.create(p.site.alice, { minCount: 1, maxCount: 1, image: 'guest', durationS: 3600, tags });
  const slot = await p.run('n1');
  await p.reserved(slot, 'n1');
  await p.until(p.states, (s) => s.every((state) => state === 'Running'));
  return { lease: leases[0]?.id ?? '', slot };
}

const preempt = (slot: string, graceMs = 20_000) => p.say(slot, 'n1', { state: 'early-unreserving', graceMs });
const view = async (id: string) => (await p.site.manager.leases.describe(p.site.alice, { ids: [id] }))[0];
const savedImages = async () => (await p.site.manager.images.list(p.site.alice)).filter((i) => i.name.startsWith('saved-'));
const operations = async (): Promise<string[]> => {
  const [node] = await p.site.db.query(LAST_NODE);
  return p.site.control.node(node?.id ?? 0).seen.map((r) => r.op).filter((op) => op !== 'list');
};

describe('nimbus:on-preempt=save', () => {
  it('makes the disk an image of the lease’s owner before the VM is removed, and says so', async () => {
    const { lease, slot } = await running(SAVE);
    const asked = p.site.control.reached((_n, r) => r.op === 'save');
    await preempt(slot);
    const request = await asked;
    expect(request).toMatchObject({ op: 'save', graceMs: expect.any(Number) as number });
    expect('graceMs' in request && (request.graceMs ?? 0) < request.deadlineMs && request.deadlineMs <= 20_000).toBe(true);
    await p.until(p.states, terminated);
    const [image] = await savedImages();
    expect(image).toMatchObject({ name: `saved-${lease}`, owner: 'alice', format: 'raw', sizeBytes: SAVED_DISK.length });
    expect(await view(lease)).toMatchObject({ reasonCode: 'Server.BatchSystemPreempted', reason: expect.stringContaining(`saved as image ${image?.id ?? ''} (saved-${lease})`) as string });
    const [row] = await p.site.db.query(imageById, [image?.id]);
    expect(p.site.saving.files()).toEqual([row?.file.split('/')[1]]);
    await expectInvariants(p.site, 'after a save');
  });

  it('stands in the lease’s trail', async () => {
    const { lease, slot } = await running(SAVE);
    await preempt(slot);
    await p.until(p.states, terminated);
    const trail = (await p.site.manager.leases.events(p.site.alice, lease)).map((e) => `${e.from} ${e.trigger} ${e.to}`);
    expect(trail.slice(-4)).toEqual([
      'Running make-transportable ReadyingForTransport', 'ReadyingForTransport transportable ReadyForTransport', 'ReadyForTransport end Ending', 'Ending ended Terminated',
    ]);
  });

  it('that fails ends the lease all the same, and says that nothing was saved and why', async () => {
    const { lease, slot } = await running(SAVE);
    p.site.control.answer = (_n, r) => (r.op === 'save' ? { code: 'DiskFull', message: 'no space left on the node' } : undefined);
    await preempt(slot);
    await p.until(p.states, terminated);
    expect(await view(lease)).toMatchObject({ reasonCode: 'Server.BatchSystemPreempted', reason: expect.stringMatching(/nothing was saved: .*no space left on the node/) as string });
    expect(await savedImages()).toEqual([]);
  });

  it('that is not done when the pilot must go is over, and that is said', async () => {
    const { lease, slot } = await running(SAVE);
    p.site.control.answer = (_n, r) => (r.op === 'save' ? 'silent' : undefined);
    const asked = p.site.control.reached((_n, r) => r.op === 'save');
    await preempt(slot);
    await asked;
    await p.say(slot, 'n1', { state: 'unreserving', text: 'ended by SIGTERM' });
    await p.say(slot, 'n1', { state: 'restored' });
    await p.until(p.states, terminated);
    expect(await view(lease)).toMatchObject({ reasonCode: 'Server.BatchSystemPreempted', reason: expect.stringContaining('nothing was saved: the time that was left was too short') as string });
  });

  it('that breaks in the middle of the transfer leaves no image and no file', async () => {
    const { lease, slot } = await running(SAVE);
    p.site.control.answer = (_n, r) => (r.op === 'read-saved' && r.offset > 0 ? { code: 'WrongState', message: 'the node is going' } : undefined);
    await preempt(slot);
    await p.until(p.states, terminated);
    expect((await view(lease))?.reason).toContain('nothing was saved');
    expect(await savedImages()).toEqual([]);
    expect(p.site.saving.files()).toEqual([]);
  });

  it('of more than the lease’s disk can hold is not begun, whatever the node says', async () => {
    const { lease, slot } = await running(SAVE);
    p.site.control.savedBytes = 2 ** 40;
    await preempt(slot);
    await p.until(p.states, terminated);
    expect((await view(lease))?.reason).toMatch(/nothing was saved: .*1099511627776 bytes; a disk as large as the lease’s has at most \d+/);
    expect(p.site.saving.files()).toEqual([]);
  });

  it('is broken off by the owner who ends the lease', async () => {
    const { lease, slot } = await running(SAVE);
    p.site.control.answer = (_n, r) => (r.op === 'save' ? 'silent' : undefined);
    const asked = p.site.control.reached((_n, r) => r.op === 'save');
    await preempt(slot);
    await asked;
    await p.site.manager.leases.end(p.site.alice, [lease], '');
    await p.until(p.states, terminated);
    expect(await savedImages()).toEqual([]);
    await expectInvariants(p.site, 'after a save that was broken off');
  });

  it('can be set and taken back while the VM runs', async () => {
    const { lease, slot } = await running({});
    await p.site.manager.tags.set(p.site.alice, [lease], SAVE);
    await p.site.manager.tags.set(p.site.alice, [lease], { 'nimbus:on-preempt': 'end' });
    await preempt(slot);
    await p.until(p.states, terminated);
    expect(await operations()).toEqual(['start', 'remove']);
    expect((await view(lease))?.reason).not.toContain('saved');
  });

  it('has two values', async () => {
    const { lease } = await running({});
    await expect(p.site.manager.tags.set(p.site.alice, [lease], { 'nimbus:on-preempt': 'sometimes' })).rejects.toMatchObject({ code: 'TagRefused', reasons: [expect.stringContaining('sometimes') as string] });
  });
});
