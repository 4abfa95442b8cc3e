/** A node for driver tests: a state directory, a driver, VMs made of the built-in guest; all of it removed at the end. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import type { Nic } from '../../../src/lease/types.ts';
import type { Driver, RunningVm, VmPlace } from '../../../src/control/agent/driver.ts';
import { realClock, sleep } from '../../../src/control/agent/clock.ts';
import { createQemuDriver } from '../../../src/control/agent/drivers/qemu/index.ts';
import { silentLog } from '../../../src/control/agent/log.ts';
import { PUT_CHUNK, type VmSpec } from '../../../src/control/protocol.ts';
import { guestImage } from '../../../src/images/builtin/guest.ts';
import type { Agent } from '../agent/program.ts';
import { opId } from '../agent/rig.ts';

export const WAIT_MS = 60_000;

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});
export const atEnd = (clean: () => Promise<void>): void => void cleanups.push(clean);

export async function until<T>(what: string, probe: () => Promise<T | false | null | undefined>, ms = WAIT_MS): Promise<T> {
  const end = realClock.monotonic() + ms;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (realClock.monotonic() > end) throw new Error(`${what} did not come within ${ms} ms`);
    await sleep(realClock, 5);
  }
}

export async function temporaryDir(prefix = 'nimbus test '): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), prefix));
  atEnd(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

let leases = 0;
export const newLease = (): string => `i-${process.pid.toString(16).padStart(8, '0')}${(++leases).toString(16).padStart(9, '0')}`;

export const userNic = (ip = '10.31.0.7'): Nic => ({
  network: 'public', kind: 'user', bridge: null, mac: 'a2:aa:bb:00:00:07', ip, prefix: 24, gateway: '10.31.0.1', dns: ['10.31.0.2'], hostname: 'guest-7',
});

export interface Node {
  readonly stateDir: string;
  readonly base: string;
  /** A driver as a restarted agent would make it. */
  driver(settings?: Readonly<Record<string, unknown>>): Driver;
  place(lease?: string): Promise<VmPlace>;
  spec(lease: string, more?: Partial<VmSpec>): VmSpec;
  /** Prepares and starts a VM that is ended after the test. */
  boot(driver: Driver, more?: Partial<VmSpec>): Promise<{ place: VmPlace; spec: VmSpec; vm: RunningVm }>;
}

export async function newNode(stateDir?: string): Promise<Node> {
  const dir = stateDir ?? (await temporaryDir());
  const base = join(dir, 'base image.img');
  await writeFile(base, guestImage());
  const node: Node = {
    stateDir: dir,
    base,
    driver: (settings = {}) => createQemuDriver({
      clock: realClock, log: silentLog, stateDir: dir, forwardPorts: [20_000, 32_000], settings, helper: {},
    }),
    async place(lease = newLease()) {
      const place = { lease, dir: join(dir, 'vms', lease) };
      await mkdir(join(dir, 'vms'), { recursive: true, mode: 0o700 });
      await mkdir(place.dir, { recursive: true, mode: 0o700 });
      return place;
    },
    spec: (lease, more = {}) => ({
      memoryMb: 32, cores: 1, diskMb: 0, nics: [],
      image: { id: 'ami-0', sha256: '0'.repeat(64), format: 'raw', sizeBytes: 1024 * 1024 },
      seed: { instanceId: lease, hostname: 'guest', publicKeys: [] },
      ...more,
    }),
    async boot(driver, more) {
      const place = await node.place();
      const spec = node.spec(place.lease, more);
      atEnd(() => driver.end(place));
      await driver.prepare(place, spec, base);
      return { place, spec, vm: await driver.start(place, spec) };
    },
  };
  return node;
}

export async function consoleText(driver: Driver, place: VmPlace): Promise<string> {
  return (await driver.console(place, 64 * 1024)).bytes.toString('latin1');
}

/** Waits until the console has said `text` `times` times. */
export async function consoleSays(driver: Driver, place: VmPlace, text: string, times = 1): Promise<void> {
  await until(`"${text}" on the console`, async () => (await consoleText(driver, place)).split(text).length - 1 >= times);
}

/** False for a process that has ended, also when nobody collected it. */
export async function runs(pid: number): Promise<boolean> {
  const cmdline = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return cmdline !== '';
}

/** All of the disk that an agent has saved or copied. */
export async function savedOf(agent: Agent, lease: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let offset = 0, total = 1; offset < total; offset += PUT_CHUNK) {
    const done = await agent.ask({ op: 'read-saved', id: opId(), lease, offset, maxBytes: PUT_CHUNK, deadlineMs: 10_000 });
    if (!done.ok || !('saved' in done.result)) throw new Error('no piece of the disk');
    total = done.result.totalBytes;
    parts.push(Buffer.from(done.result.saved, 'base64'));
  }
  return Buffer.concat(parts);
}
