/** Pilots of one account on a node share images: brought once, kept across slots, whole whoever is killed. */
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { ImageRef } from '../../../src/control/protocol.ts';
import { Agent } from '../../control/agent/program.ts';
import { makeImage, start as startVm } from '../../control/agent/rig.ts';
import { hasPart } from '../../parts.ts';
import type { Pilot } from './pilot.ts';
import { node, usePilots } from './rig.ts';

usePilots();

const slotOf = (n: number): string => `sl-00000000000${n}`;
const cacheDir = (): string => join(node.stateBase, 'cache');
const kept = (): string[] => readdirSync(cacheDir()).filter((f) => /^[0-9a-f]{64}$/.test(f));
const elsewhere = ({ id, sha256, format, sizeBytes }: ImageRef): ImageRef => ({ id, sha256, format, sizeBytes });
const config = (driver = 'simulated', agentconfig: string | null = null): string => node.config({ other: { pilots_per_node: 2, driver, agentconfig } });

async function pilot(n: number, conf = config()): Promise<Pilot> {
  const started = node.start(['-r', '-m', '64', '-d', '600', '-g', '20', '-i', slotOf(n), '-p', conf, '-s', '-v']);
  await started.says('room is made');
  return started;
}
const slotDir = (n: number): string => join(node.stateBase, `${slotOf(n)}.node7`);
async function agentOf(n: number): Promise<Agent> {
  const agent = new Agent(node.program, ['control', '--state', join(slotDir(n), 'control')]);
  await agent.open();
  return agent;
}
async function leaseOn(n: number, image: ImageRef): Promise<unknown> {
  const agent = await agentOf(n);
  return agent.ask(startVm('i-1', 1, image));
}

it('two at once: one file, which outlives the slot that brought it and is there for the next', async () => {
  const image = makeImage(node.root, 100_000);
  const [first, second] = await Promise.all([pilot(1), pilot(2)]);
  expect(await Promise.all([leaseOn(1, image), leaseOn(2, image)])).toMatchObject([{ ok: true }, { ok: true }]);
  expect(kept()).toEqual([image.sha256]);
  const file = join(cacheDir(), image.sha256);
  expect(statSync(file).nlink, 'the node and two slots').toBe(3);
  first.signal('SIGTERM');
  expect(await first.ended).toBe(5);
  expect(statSync(file).nlink).toBe(2);
  const third = await pilot(3);
  expect(await leaseOn(3, elsewhere(image))).toMatchObject({ ok: true });
  for (const p of [second, third]) p.signal('SIGTERM');
  expect(await Promise.all([second.ended, third.ended])).toEqual([5, 5]);
  expect(readFileSync(file).equals(image.data)).toBe(true);
  expect(node.left()).toEqual([]);
});

it('SIGKILL of one, recovered: the image stays, and the other keeps what it has', async () => {
  const image = makeImage(node.root, 100_000);
  const [first, second] = await Promise.all([pilot(1), pilot(2)]);
  await Promise.all([leaseOn(1, image), leaseOn(2, image)]);
  writeFileSync(join(slotDir(1), 'control', 'cache', 'tmp', '7'), 'half an image');
  first.signal('SIGKILL');
  await first.ended;
  const recovering = node.start(['--recover', '-p', config(), '-s']);
  expect(await recovering.ended).toBe(0);
  expect(existsSync(slotDir(1))).toBe(false);
  expect(kept()).toEqual([image.sha256]);
  expect(readFileSync(join(slotDir(2), 'control', 'cache', image.sha256)).equals(image.data)).toBe(true);
  second.signal('SIGTERM');
  expect(await second.ended).toBe(5);
});

it('no more is kept than cacheMb says: what no slot uses goes', async () => {
  const agentconfig = join(node.root, 'agent.json');
  writeFileSync(agentconfig, JSON.stringify({ cacheMb: 1, simulated: { startMs: 0, stopMs: 0 } }));
  const conf = config('simulated', agentconfig);
  const [old, wanted, third] = [makeImage(node.root, 600_000), makeImage(node.root, 500_000), makeImage(node.root, 600_000)];
  const first = await pilot(1, conf);
  await leaseOn(1, old);
  first.signal('SIGTERM');
  await first.ended;
  const [second, other] = await Promise.all([pilot(2, conf), pilot(3, conf)]);
  expect(await leaseOn(2, wanted)).toMatchObject({ ok: true });
  expect(kept()).toEqual([wanted.sha256]);
  expect(await leaseOn(3, third)).toMatchObject({ ok: false, error: { code: 'CacheFull' } });
  for (const p of [second, other]) p.signal('SIGTERM');
  await Promise.all([second.ended, other.ended]);
});

it.skipIf(!hasPart('qemu'))('what QEMU is faster with is measured once', async () => {
  const measured = (): string | undefined => (existsSync(join(cacheDir(), 'accelerator.json')) ? readFileSync(join(cacheDir(), 'accelerator.json'), 'utf8') : undefined);
  const first = await pilot(1, config('qemu'));
  await expect.poll(measured, { timeout: 60_000 }).toBeDefined();
  const before = measured();
  first.signal('SIGTERM');
  await first.ended;
  const second = await pilot(2, config('qemu'));
  const agent = await agentOf(2);
  expect(await agent.ask({ op: 'status', id: 's-1', deadlineMs: 20_000 })).toMatchObject({ ok: true, result: { status: { accelerator: expect.stringMatching(/^(kvm|tcg)$/) as string } } });
  expect(measured()).toBe(before);
  expect(node.log().match(/accelerator chosen/g)).toHaveLength(1);
  second.signal('SIGTERM');
  await second.ended;
});
