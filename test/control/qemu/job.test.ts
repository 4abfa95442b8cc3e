/** VMs of a batch system's job: what the job is told does not end them, what ends the pilot does. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterEach, describe, expect, it } from 'vitest';
import { findPrograms, run } from '../../../src/control/agent/drivers/qemu/programs.ts';
import { probeJobShield, vmCommand } from '../../../src/control/agent/helper/command.ts';
import type { AgentRequest, ImageRef, VmInfo } from '../../../src/control/protocol.ts';
import { guestBanner, guestImage } from '../../../src/images/builtin/guest.ts';
import { findProgram, hasPart } from '../../parts.ts';
import { Agent, killAgents } from '../agent/program.ts';
import { leaseOp, opId, specOf, vmOf } from '../agent/rig.ts';
import { atEnd, consoleSays, consoleText, newLease, newNode, runs, savedOf, temporaryDir, until } from './fixture.ts';
import { POWER_GUEST_SAYS, powerGuestImage } from './power-guest.ts';

afterEach(killAgents);
const { qemuImg } = findPrograms({});

/** Bits of signals 1, 2 and 15 in the masks of /proc/PID/status. */
const HUP_INT_TERM = 0x4003n;

interface Job {
  readonly agent: Agent;
  readonly pid: number;
  /** Where the agent keeps its leases. */
  readonly stateDir: string;
  image(guest: Buffer, format: 'raw' | 'qcow2'): Promise<ImageRef>;
  start(guest?: Buffer, format?: 'raw' | 'qcow2'): Promise<VmInfo & { pid: number }>;
}

/** A pilot's process, in a session and group of its own as a batch system starts it. */
async function newJob(): Promise<Job> {
  const dir = await temporaryDir('nimbus job ');
  const outfile = join(dir, 'job.mjs');
  const entryPoints = [fileURLToPath(new URL('job-main.ts', import.meta.url))];
  await build({ entryPoints, outfile, bundle: true, platform: 'node', format: 'esm', target: 'node20', logLevel: 'error', define: { __NIMBUS_VERSION__: '"1.0.0"' } });
  const agent = new Agent(outfile, [join(dir, 'state')], process.env, { detached: true });
  atEnd(() => agent.kill());
  const { pid } = await agent.open();
  async function image(guest: Buffer, format: 'raw' | 'qcow2'): Promise<ImageRef> {
    const sha256 = createHash('sha256').update(guest).digest('hex');
    const path = join(dir, sha256);
    await writeFile(path, guest);
    return { id: 'ami-0', sha256, format, sizeBytes: guest.length, path };
  }
  return {
    agent, pid, stateDir: join(dir, 'state'), image,
    async start(guest = guestImage(), format = 'raw') {
      const lease = newLease();
      const vm = vmOf(await agent.ask({ op: 'start', id: opId(), lease, generation: 1, deadlineMs: 60_000, vm: specOf(await image(guest, format), lease) }));
      if (vm.pid === null) throw new Error('no process');
      return { ...vm, pid: vm.pid };
    },
  };
}

const listed = async (agent: Agent): Promise<readonly VmInfo[]> => {
  const done = await agent.ask({ op: 'list', id: opId(), deadlineMs: 10_000 });
  if (!done.ok || !('vms' in done.result)) throw new Error('no list');
  return done.result.vms;
};
const says = async (agent: Agent, lease: string): Promise<string> => {
  const done = await agent.ask({ op: 'console', id: opId(), lease, maxBytes: 4096, deadlineMs: 10_000 });
  return done.ok && 'console' in done.result ? Buffer.from(done.result.console, 'base64').toString('latin1') : '';
};

describe.skipIf(!hasPart('qemu'))('a VM in a job', () => {
  it('stays in the pilot\'s line, group and session, survives a signal to all of the job, and ends with a killed pilot', async () => {
    const job = await newJob();
    const vm = await job.start();
    const [, parent, group, session] = (await readFile(`/proc/${vm.pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ').map(Number);
    expect([parent, group, session]).toEqual([job.pid, job.pid, job.pid]);
    expect(await readFile(`/proc/${vm.pid}/cgroup`, 'utf8')).toBe(await readFile(`/proc/${job.pid}/cgroup`, 'utf8'));
    const blocked = BigInt(`0x${/^SigBlk:\s+([0-9a-f]+)/m.exec(await readFile(`/proc/${vm.pid}/status`, 'utf8'))?.[1] ?? '0'}`);
    expect(blocked & HUP_INT_TERM).toBe(HUP_INT_TERM);

    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.kill(-job.pid, signal);
      await until(`${signal} at the pilot`, async () => job.agent.stderr.includes(signal));
    }
    // QEMU answers: it is there and not on its way out.
    const paused = await job.agent.ask(leaseOp('pause', vm.lease, 2));
    expect(vmOf(paused)).toMatchObject({ state: 'paused', pid: vm.pid });
    expect(vmOf(await job.agent.ask(leaseOp('resume', vm.lease, 3)))).toMatchObject({ state: 'running', pid: vm.pid });

    await job.agent.kill();
    await until('the end of the VM', async () => !(await runs(vm.pid)));
  });

  it('is removed, and a hung one is killed, although it takes no SIGTERM', async () => {
    const job = await newJob();
    const [one, hung] = [await job.start(), await job.start()];
    process.kill(hung.pid, 'SIGSTOP');
    const removed = await Promise.all([one, hung].map((vm) => job.agent.ask(leaseOp('remove', vm.lease, 2))));
    expect(removed.map((d) => vmOf(d).state)).toEqual(['removed', 'removed']);
    expect(await Promise.all([one, hung].map((vm) => runs(vm.pid)))).toEqual([false, false]);
    expect(await listed(job.agent)).toEqual([]);
  });

  it('powers down within the grace of its removal, which tells no exit', async () => {
    const job = await newJob();
    const vm = await job.start(powerGuestImage());
    await until('the guest', async () => (await says(job.agent, vm.lease)).includes(POWER_GUEST_SAYS));
    const remove: AgentRequest = { ...leaseOp('remove', vm.lease, 2, opId(), 120_000), graceMs: 60_000 } as AgentRequest;
    expect(vmOf(await job.agent.ask(remove)).state).toBe('removed');
    expect(await runs(vm.pid)).toBe(false);
    expect(await readFile(join(job.agent.child.spawnargs[2] ?? '', 'agent.log'), 'utf8')).toContain('guest has powered down');
    expect(job.agent.lines.filter((line) => 'event' in line)).toEqual([]);
  });
});

const qemuIo = findProgram('qemu-io') ?? 'qemu-io';

/** A guest that runs, on a disk with 64 KiB of that byte. */
async function bootMarked(job: Job, mark: string): Promise<{ lease: string; pid: number | null; disk: string }> {
  const lease = newLease();
  const spec = { ...specOf(await job.image(powerGuestImage(), 'raw'), lease), diskMb: 4 };
  await job.agent.ask({ op: 'propagate', id: opId(), lease, generation: 1, deadlineMs: 60_000, vm: spec });
  const disk = join(job.stateDir, 'vms', lease, 'disk.qcow2');
  // As a guest with a disk driver would.
  await run(qemuIo, ['-f', 'qcow2', '-c', `write -P ${mark} 1M 64k`, disk], { ms: 30_000 });
  const { pid } = vmOf(await job.agent.ask({ op: 'start', id: opId(), lease, generation: 2, deadlineMs: 60_000, vm: spec }));
  await until('the guest', async () => (await says(job.agent, lease)).includes(POWER_GUEST_SAYS));
  return { lease, pid, disk };
}

/** What is read of its disk has the mark, needs no other file, and boots as another VM. */
async function expectBoots(job: Job, lease: string, mark: string): Promise<string> {
  const file = join(job.stateDir, 'copy.qcow2');
  await writeFile(file, await savedOf(job.agent, lease));
  await run(qemuIo, ['-r', '-f', 'qcow2', '-c', `read -P ${mark} 1M 64k`, file], { ms: 30_000 });
  expect(JSON.parse(await run(qemuImg, ['info', '--output=json', file], { ms: 30_000 }))).not.toHaveProperty('backing-filename');
  const again = await job.start(await readFile(file), 'qcow2');
  await until('the guest again', async () => (await says(job.agent, again.lease)).includes(POWER_GUEST_SAYS));
  return file;
}

describe.skipIf(!hasPart('qemu'))('a disk that is saved', () => {
  it('is one file with all that was written, which boots elsewhere', async () => {
    const job = await newJob();
    const { lease, pid, disk } = await bootMarked(job, '0xa5');
    expect(vmOf(await job.agent.ask({ ...leaseOp('save', lease, 3, opId(), 120_000), graceMs: 60_000 } as AgentRequest))).toMatchObject({ state: 'saved', pid: null });
    expect(await runs(pid ?? 0)).toBe(false);
    expect(job.agent.lines.filter((line) => 'event' in line)).toEqual([]);
    const file = await expectBoots(job, lease, '0xa5');
    await run(qemuImg, ['compare', '-f', 'qcow2', '-F', 'qcow2', file, disk], { ms: 30_000 });
  });
});

describe.skipIf(!hasPart('qemu'))('a disk that is copied', () => {
  it('is one file with all that was written so far, which boots elsewhere, and its VM goes on', async () => {
    const job = await newJob();
    const { lease, pid, disk } = await bootMarked(job, '0x5a');
    expect(vmOf(await job.agent.ask(leaseOp('copy', lease, 3, opId(), 120_000)))).toMatchObject({ state: 'running', pid });
    await expectBoots(job, lease, '0x5a');
    // It runs on, and nothing of the copy stays once something else is asked of it.
    expect((await listed(job.agent)).find((vm) => vm.lease === lease)).toMatchObject({ state: 'running', pid });
    expect(vmOf(await job.agent.ask(leaseOp('pause', lease, 4)))).toMatchObject({ state: 'paused', pid });
    await until('the end of the copy', async () => (await readdir(dirname(disk))).every((name) => !name.startsWith('cop')));
  });

  it('a VM that stood still for it when its agent died goes on with the next one', async () => {
    const node = await newNode();
    const driver = node.driver();
    const { place } = await node.boot(driver);
    // What is left by one that was killed between the two.
    await writeFile(join(place.dir, 'copy.qcow2.part'), '');
    await driver.pause(place);
    expect((await driver.find(place))?.state).toBe('running');
    expect(await readdir(place.dir)).not.toContain('copy.qcow2.part');
  });
});

describe.skipIf(!hasPart('qemu'))('the power button and notices', () => {
  it('a guest that obeys ends, one that does not goes on; both are told by `powerDown`', async () => {
    const node = await newNode();
    const driver = node.driver();
    await writeFile(node.base, powerGuestImage());
    const obeys = await node.boot(driver);
    const reasons: string[] = [];
    driver.watch(obeys.place, (reason) => reasons.push(reason));
    await consoleSays(driver, obeys.place, POWER_GUEST_SAYS);
    expect(await driver.powerDown(obeys.place, 30_000)).toBe(true);
    await until('the exit', async () => reasons.length > 0);
    expect(reasons).toEqual(['the guest shut itself down']);
    expect(await driver.powerDown(obeys.place, 30_000)).toBe(true);

    await writeFile(node.base, guestImage());
    const stubborn = await node.boot(driver);
    await consoleSays(driver, stubborn.place, guestBanner(stubborn.place.lease));
    expect(await driver.powerDown(stubborn.place, 1)).toBe(false);
    expect(await driver.powerDown(stubborn.place, 30_000, AbortSignal.abort())).toBe(false);
    expect((await driver.find(stubborn.place))?.state).toBe('running');
  });

  it('a notice stands on the console in one line, whatever is in it, and QEMU takes it for the guest', async () => {
    const node = await newNode();
    const driver = node.driver();
    const { place } = await node.boot(driver);
    await consoleSays(driver, place, guestBanner(place.lease));
    await driver.notice(place, `ends in 8 s\n\u001b[2Jforged ${'x'.repeat(10_000)}`);
    await driver.notice(place, 'second');
    const [, first = '', second] = (await consoleText(driver, place)).split('\r\n*** ');
    expect(first).toMatch(/^ends in 8 s \[2Jforged x+\r\n$/);
    expect(first.length).toBeLessThan(600);
    expect(second).toBe('second\r\n');
  });
});

describe.skipIf(!hasPart('qemu'))('memory from a file system of pages', () => {
  it('is mapped from the directory that was configured, and nothing stays there', async () => {
    const pages = await mkdtemp('/dev/shm/nimbus-pages-');
    atEnd(() => rm(pages, { recursive: true }));
    const node = await newNode();
    // More memory than the disk may take: the process's file limit must not stand in the way.
    const { vm } = await node.boot(node.driver({ memPath: pages, uids: null }), { memoryMb: 160 });
    expect(await readFile(`/proc/${vm.pid}/maps`, 'utf8')).toMatch(new RegExp(`${pages}/\\S+`));
    expect(await readdir(pages)).toEqual([]); // QEMU has removed the name of what it maps
  });

  it('a directory that cannot be used is a failed start, and missing', async () => {
    const node = await newNode();
    await expect(node.boot(node.driver({ memPath: '/nonexistent', uids: null }))).rejects.toThrow(/\/nonexistent is no directory/);
    expect((await node.driver({ memPath: '/nonexistent', uids: null }).status()).missing.join()).toContain('/nonexistent is no directory');
    expect(() => node.driver({ memPath: 'relative' })).toThrow(/memPath must match/);
  });
});

describe('the command of a VM', () => {
  it('shields what the node\'s programs can shield, and says what they cannot', async () => {
    const programs = findPrograms({});
    const shield = await probeJobShield(programs);
    expect(shield).toEqual({ blocksSignals: true, followsParent: true, lacks: [] });
    expect(vmCommand(programs, 1, shield).join(' ')).toMatch(/setpriv --pdeathsig KILL \S*prlimit .* --block-signal=TERM,INT,HUP \S+$/);
    const old = await probeJobShield({ ...programs, env: '/bin/false', setpriv: '/nonexistent/setpriv' });
    expect(old).toMatchObject({ blocksSignals: false, followsParent: false });
    expect(old.lacks.join()).toMatch(/coreutils 8\.31.*util-linux 2\.33/);
    expect(vmCommand(programs, 1, old)).toEqual(vmCommand(programs, 1, null));
  });
});
