/**
 * A program for tests that need another uid or other namespaces than the test itself: boots the VM that its argument
 * describes and prints, as JSON, what it saw while it ran and after its end. With the argument `helper` it is the helper.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { realClock, sleep } from '../../../src/control/agent/clock.ts';
import { createQemuDriver } from '../../../src/control/agent/drivers/qemu/index.ts';
import { runHelper } from '../../../src/control/agent/helper/main.ts';
import { silentLog } from '../../../src/control/agent/log.ts';
import type { Nic } from '../../../src/lease/types.ts';
import { guestBanner, guestImage } from '../../../src/images/builtin/guest.ts';

export interface NodeTask {
  readonly stateDir: string;
  readonly lease: string;
  readonly nics: readonly Nic[];
  readonly settings: Readonly<Record<string, unknown>>;
  readonly helper: Readonly<Record<string, unknown>>;
}
export interface NodeSight {
  readonly banner: boolean;
  readonly uid: number;
  readonly diskOwner: number;
  readonly links: readonly { readonly ifname: string; readonly master?: string }[];
  readonly linksAfter: readonly { readonly ifname: string }[];
  readonly found: boolean;
  readonly foundAfter: boolean;
  /** `quiet`: it has not booted again. */
  readonly serialized: { readonly owner: number; readonly mode: number; readonly state: string; readonly quiet: boolean };
}

const linksNow = (): NodeSight['links'] => JSON.parse(execFileSync('ip', ['-json', 'link'], { encoding: 'utf8' })) as NodeSight['links'];

function unserializable(): never {
  throw new Error('the driver keeps no memory');
}

async function perform(task: NodeTask): Promise<NodeSight> {
  const place = { lease: task.lease, dir: join(task.stateDir, 'vms', task.lease) };
  mkdirSync(place.dir, { recursive: true, mode: 0o700 });
  chmodSync(join(task.stateDir, 'vms'), 0o700);
  const base = join(task.stateDir, 'base.img');
  writeFileSync(base, guestImage());
  const spec = {
    memoryMb: 32, cores: 1, diskMb: 0, nics: task.nics,
    image: { id: 'ami-0', sha256: '0'.repeat(64), format: 'raw', sizeBytes: 1 },
    seed: { instanceId: task.lease, hostname: 'guest', publicKeys: [] },
  } as const;
  const make = (): ReturnType<typeof createQemuDriver> => createQemuDriver({
    clock: realClock, log: silentLog, stateDir: task.stateDir, forwardPorts: [20_000, 32_000], settings: task.settings, helper: task.helper,
  });
  const driver = make();
  try {
    await driver.prepare(place, spec, base);
    const { pid } = await driver.start(place, spec);
    const end = realClock.monotonic() + 30_000;
    const banner = async (): Promise<boolean> => (await driver.console(place, 4096)).bytes.toString() === guestBanner(task.lease);
    while (!(await banner()) && realClock.monotonic() < end) await sleep(realClock, 10);
    const seen = {
      banner: await banner(),
      uid: Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]),
      diskOwner: statSync(join(place.dir, 'disk.qcow2')).uid,
      links: linksNow(),
      found: (await driver.find(place)) !== null,
    };
    // Its memory passes between the agent and the VM's uid, both ways.
    const memory = driver.memory ?? unserializable();
    await memory.save(place, spec.memoryMb, 30_000, new AbortController().signal);
    const kept = statSync(join(place.dir, 'memory.state'));
    const restored = await memory.restore(place, spec, new AbortController().signal);
    const serialized = { owner: kept.uid, mode: kept.mode & 0o777, state: restored.state, quiet: await banner() };
    await driver.end(place);
    // A VM that was stopped is started again on the same disk.
    await driver.start(place, spec);
    await driver.end(place);
    // The executor's part: whatever the VM's uid left behind, the agent can remove.
    rmSync(place.dir, { recursive: true });
    return { ...seen, serialized, linksAfter: linksNow(), foundAfter: (await driver.find(place)) !== null };
  } finally {
    await driver.end(place);
  }
}

if (process.argv[2] === 'helper') {
  process.exitCode = await runHelper({
    uid: process.getuid?.() ?? -1, env: process.env, input: process.stdin, write: (line) => void process.stdout.write(line),
  });
} else {
  process.stdout.write(JSON.stringify(await perform(JSON.parse(process.argv[2] ?? '') as NodeTask)));
}
