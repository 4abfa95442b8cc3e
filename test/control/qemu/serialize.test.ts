/** Real VMs whose memory is written to a file, and which go on from it. */
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSeed } from '../../../src/control/agent/seed.ts';
import type { Driver, MemoryKeeper, RunningVm, VmPlace } from '../../../src/control/agent/driver.ts';
import { receiveMemory } from '../../../src/control/agent/drivers/qemu/memory.ts';
import type { VmSpec } from '../../../src/control/protocol.ts';
import { hasPart } from '../../parts.ts';
import { atEnd, consoleText, newNode, runs, temporaryDir, until, userNic, WAIT_MS, type Node } from './fixture.ts';
import { countedOn, countingGuestImage } from '../../guests/counting.ts';

const never = new AbortController().signal;

function memoryOf(driver: Driver): MemoryKeeper {
  if (driver.memory === undefined) throw new Error('the driver keeps no memory');
  return driver.memory;
}

interface Counting { node: Node; driver: Driver; place: VmPlace; spec: VmSpec; vm: RunningVm }

/** Counts, and has said something. With a seed and a network, as VMs of leases are. */
async function counting(): Promise<Counting> {
  const node = await newNode();
  await writeFile(node.base, countingGuestImage());
  const driver = node.driver();
  const place = await node.place();
  const spec = node.spec(place.lease, { nics: [userNic()] });
  atEnd(() => driver.end(place));
  writeSeed(place.dir, spec);
  await driver.prepare(place, spec, node.base);
  const vm = await driver.start(place, spec);
  await counts(driver, place);
  return { node, driver, place, spec, vm };
}

/** Until it has said more than it has now; all that it said. */
async function counts(driver: Driver, place: VmPlace): Promise<string> {
  const before = await consoleText(driver, place);
  const said = await until('more letters', async () => {
    const text = await consoleText(driver, place);
    return text.length >= before.length + 3 ? text : null;
  });
  expect(countedOn(said), said).toBe(true);
  return said;
}

const save = ({ driver, place, spec }: Counting, signal = never, ms = WAIT_MS): Promise<void> => memoryOf(driver).save(place, spec.memoryMb, ms, signal);
const files = async (place: VmPlace): Promise<string[]> => (await readdir(place.dir)).filter((name) => name.startsWith('memory')).sort();

describe.skipIf(!hasPart('qemu'))('a VM that is serialized', () => {
  it('has no process and goes on where it was stopped, time after time', async () => {
    const c = await counting();
    let { pid } = c.vm;
    for (let round = 0; round < 3; round += 1) {
      await save(c);
      expect(await runs(pid ?? 0)).toBe(false);
      expect(await c.driver.find(c.place)).toBeNull();
      expect(await files(c.place)).toEqual(['memory.state']);
      const { mode, size } = await stat(join(c.place.dir, 'memory.state'));
      expect(mode & 0o777).toBe(0o600);
      // Pages of zeros take no room.
      expect(size).toBeLessThan(4 * 1024 * 1024);
      const stopped = await consoleText(c.driver, c.place);
      const vm = await memoryOf(c.driver).restore(c.place, c.spec, never);
      expect(vm).toMatchObject({ state: 'running', reach: { forwarded: true } });
      expect((await counts(c.driver, c.place)).startsWith(stopped)).toBe(true);
      expect(await files(c.place)).toEqual([]);
      pid = vm.pid;
    }
  });

  it('is found by the next agent, which lets it go on', async () => {
    const c = await counting();
    await save(c);
    const next = c.node.driver();
    atEnd(() => next.end(c.place));
    expect(await next.find(c.place)).toBeNull();
    expect(await memoryOf(next).kept(c.place)).toBe(true);
    await memoryOf(next).restore(c.place, c.spec, never);
    await counts(next, c.place);
  });

  it('goes on with the accelerator that it had, whatever would be chosen now', async () => {
    const c = await counting();
    await save(c);
    const facts = join(c.place.dir, 'serialized.json');
    expect(JSON.parse(await readFile(facts, 'utf8'))).toEqual({ accelerator: expect.stringMatching(/^(kvm|tcg)$/) as string });
    await writeFile(facts, JSON.stringify({ accelerator: 'none' }));
    await expect(memoryOf(c.driver).restore(c.place, c.spec, never)).rejects.toThrow(/QEMU ended with status 1: .*none/);
  });

  it('had stood still before: it goes on all the same', async () => {
    const c = await counting();
    await c.driver.pause(c.place);
    await save(c);
    await memoryOf(c.driver).restore(c.place, c.spec, never);
    await counts(c.driver, c.place);
  });

  it('boots when it is started without its memory, which is gone then', async () => {
    const c = await counting();
    await save(c);
    const before = (await consoleText(c.driver, c.place)).length;
    await c.driver.start(c.place, c.spec);
    expect(await files(c.place)).toEqual([]);
    await until('the first letters', async () => countedOn((await consoleText(c.driver, c.place)).slice(before)) && (await consoleText(c.driver, c.place)).length > before + 3);
  });
});

describe.skipIf(!hasPart('qemu'))('a VM that cannot be serialized runs on', () => {
  it('when that is broken off, whenever that is', async () => {
    const c = await counting();
    for (const steps of [0, 5, 20, 60]) {
      const broken = new AbortController();
      const saving = save(c, broken.signal).then(() => 'saved', (e: Error) => e.message);
      // Turns of the event loop, not time: each comes at another moment of it.
      for (let i = 0; i < steps; i += 1) await new Promise((resolve) => setImmediate(resolve));
      broken.abort();
      if ((await saving) === 'saved') await memoryOf(c.driver).restore(c.place, c.spec, never);
      expect((await c.driver.find(c.place))?.state).toBe('running');
      await counts(c.driver, c.place);
      expect(await files(c.place)).toEqual([]);
    }
  });

  it('when its time is over', async () => {
    const c = await counting();
    await expect(save(c, never, 0)).rejects.toMatchObject({ code: 'DeadlineExceeded' });
    await counts(c.driver, c.place);
  });

  it('when there is no room on the disk for all of its memory', async () => {
    const c = await counting();
    await c.driver.pause(c.place);
    await expect(memoryOf(c.driver).save(c.place, 2 ** 24, WAIT_MS, never)).rejects.toMatchObject({ code: 'DiskFull' });
    await counts(c.driver, c.place);
  });

  it('and can be serialized later', async () => {
    const c = await counting();
    await expect(save(c, AbortSignal.abort())).rejects.toThrow('broken off');
    await counts(c.driver, c.place);
    await save(c);
    await memoryOf(c.driver).restore(c.place, c.spec, never);
    await counts(c.driver, c.place);
  });
});

describe.skipIf(!hasPart('qemu'))('memory that is kept', () => {
  it('is not used when it is damaged, and stays', async () => {
    const c = await counting();
    await save(c);
    const kept = join(c.place.dir, 'memory.state');
    await truncate(kept, 1000);
    await expect(memoryOf(c.driver).restore(c.place, c.spec, never)).rejects.toThrow('did not take the VM\'s state');
    expect(await c.driver.find(c.place)).toBeNull();
    expect(await files(c.place)).toEqual(['memory.state']);
  });

  it('stays when its use is broken off', async () => {
    const c = await counting();
    await save(c);
    await expect(memoryOf(c.driver).restore(c.place, c.spec, AbortSignal.abort())).rejects.toMatchObject({ code: 'DriverFailed' });
    expect(await c.driver.find(c.place)).toBeNull();
    await memoryOf(c.driver).restore(c.place, c.spec, never);
    await counts(c.driver, c.place);
  });

  it('that a guest went on from is no memory any more', async () => {
    const c = await counting();
    await save(c);
    await rename(join(c.place.dir, 'memory.state'), join(c.place.dir, 'memory.spent'));
    expect(await memoryOf(c.driver).kept(c.place)).toBe(false);
    await expect(memoryOf(c.driver).restore(c.place, c.spec, never)).rejects.toMatchObject({ code: 'WrongState' });
  });

  it('has a bound, whatever is sent', async () => {
    const dir = await temporaryDir();
    const receiver = await receiveMemory(dir, 100_000, never);
    atEnd(() => Promise.resolve(receiver.close()));
    const socket = createConnection({ path: join(dir, 'memory.sock') });
    socket.on('error', () => undefined);
    socket.write(Buffer.alloc(300_000));
    await expect(receiver.received).rejects.toThrow('more than the 100000 bytes');
    socket.destroy();
    receiver.close();
    expect((await stat(join(dir, 'memory.new'))).size).toBeLessThanOrEqual(100_000);
    expect(existsSync(join(dir, 'memory.state'))).toBe(false);
  });
});
