/** VMs as QEMU processes. Each VM's truth is its process and QMP; what a restarted agent needs is in the VM's directory. */
import { constants } from 'node:fs';
import { chmod, mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Reach } from '../../../../lease/types.ts';
import type { VmSpec } from '../../../protocol.ts';
import { within } from '../../clock.ts';
import type { Clock, Timer } from '../../clock.ts';
import type { Driver, DriverStatus, MemoryKeeper, RunningVm, VmPlace } from '../../driver.ts';
import { AgentFault } from '../../fault.ts';
import { canFollow, follow } from '../../helper/command.ts';
import type { Log } from '../../log.ts';
import { readConsole, trimConsole } from './console.ts';
import { closeParent, exists, prepareOverlay } from './disk.ts';
import type { NodeFacts } from './facts.ts';
import type { VmHost } from './host.ts';
import { FILES } from './launch.ts';
import type { Launch } from './launch.ts';
import { VmLink } from './link.ts';
import { dropMemory, memoryIsKept, readMemoryFacts } from './memory.ts';
import { continueFrom, saveState } from './migrate.ts';
import { showOnConsole } from './notices.ts';
import { type ForwardPorts } from './ports.ts';
import { findVmProcess, waitForEnd } from './process.ts';
import { run } from './programs.ts';
import type { Programs } from './programs.ts';
import { readRecord, removeRecord, writeRecord } from './record.ts';
import type { VmRecord } from './record.ts';
import { requireRoom } from './room.ts';
import { copyStill } from './still.ts';

const COMMAND_MS = 5_000;
const QUIT_MS = 3_000;
const POWER_DOWN_POLL_MS = 20;
/** Ports tried when QEMU finds one taken that was free a moment before. */
const PORT_ATTEMPTS = 8;
const TRIM_MS = 2_000;
const MEASURE_MS = 10_000;

export interface QemuDriverParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly host: VmHost;
  readonly programs: Programs;
  readonly facts: NodeFacts;
  readonly ports: ForwardPorts;
  /** Address of the node that forwarded ports are bound to. */
  readonly bindAddress: string;
  /** Address at which users reach those ports. */
  readonly reachHost: string;
}

export class QemuDriver implements Driver {
  readonly name = 'qemu';
  readonly #parts: QemuDriverParts;
  /** The VMs that this agent has touched, by directory. */
  readonly #links = new Map<string, VmLink>();
  /** Directories of VMs that are being copied by this agent. */
  readonly #copying = new Set<string>();
  #trimming: Timer | null = null;
  #canFollow: Promise<boolean> | null = null;

  readonly memory: MemoryKeeper = {
    save: async (place, memoryMb, ms, signal) => {
      const facts = { accelerator: (await readRecord(place.dir))?.accelerator };
      await saveState(this.#link(place), this.#parts, { memoryMb, ms, signal, facts, end: () => this.end(place) });
    },
    kept: (place) => memoryIsKept(place.dir),
    restore: async (place, spec, signal) => {
      if (!(await memoryIsKept(place.dir))) throw new AgentFault('WrongState', `no memory of ${place.lease} is kept`);
      return this.#begin(place, spec, signal);
    },
    drop: (place) => dropMemory(place.dir),
  };

  constructor(parts: QemuDriverParts) {
    this.#parts = parts;
  }

  async prepare(place: VmPlace, spec: VmSpec, baseImage: string): Promise<void> {
    const { host } = this.#parts;
    const { diskMb, image } = spec;
    if (host.ownUids) await closeParent(place.dir);
    await prepareOverlay({
      dir: place.dir, base: baseImage, baseFormat: image.format, diskMb, foreignUid: host.ownUids,
    });
  }

  async start(place: VmPlace, spec: VmSpec): Promise<RunningVm> {
    const running = await this.find(place);
    if (running !== null) return running;
    await dropMemory(place.dir);
    return this.#begin(place, spec, null);
  }

  /** `from`: goes on with the memory that is kept, until the signal fires; null = boots. */
  async #begin(place: VmPlace, spec: VmSpec, from: AbortSignal | null): Promise<RunningVm> {
    const forwarded = spec.nics.some((nic) => nic.kind === 'user');
    for (let attempt = 1; ; attempt++) {
      const port = forwarded ? await this.#parts.ports.take(place.lease) : null;
      try {
        return await this.#launch(place, spec, port, from);
      } catch (e) {
        await this.#undo(place, port);
        if (port === null || attempt === PORT_ATTEMPTS || !isPortRefusal(e)) throw e;
      }
    }
  }

  async #launch(place: VmPlace, spec: VmSpec, port: number | null, from: AbortSignal | null): Promise<RunningVm> {
    const { host, facts, bindAddress } = this.#parts;
    if (!(await exists(join(place.dir, FILES.disk)))) throw new AgentFault('WrongState', 'the VM has no disk; it was not prepared');
    const [chosen, kept, seed] = await Promise.all([facts.accelerator(), from === null ? {} : readMemoryFacts(place.dir), exists(join(place.dir, FILES.seed))]);
    const { accelerator } = { ...chosen, ...kept };
    const { memoryMb, cores, image, nics } = spec;
    const launch: Launch = {
      memoryMb, cores, accelerator, baseFormat: image.format, seed, nics,
      forward: port === null ? null : { address: bindAddress, port }, ...(from === null ? {} : { incoming: true }),
    };
    const reach = this.#reach(spec, port);
    const record: VmRecord = { pid: null, reach, port, taps: nics.some((nic) => nic.kind === 'bridge'), accelerator };
    await writeRecord(place.dir, record);
    await makeOutputs(place.dir);
    if (seed && host.ownUids) await openSeed(join(place.dir, FILES.seed));
    const { pid } = await host.start(place, launch);
    await writeRecord(place.dir, { ...record, pid });
    const link = this.#link(place);
    if (from !== null) await continueFrom(link, this.#parts.clock, from);
    const state = await link.state(COMMAND_MS);
    if (state === null) throw new AgentFault('DriverFailed', 'QEMU ended right after its start');
    return { pid, state, reach };
  }

  #reach(spec: VmSpec, port: number | null): Reach | null {
    const bridged = spec.nics.find((nic) => nic.kind === 'bridge');
    if (bridged !== undefined) return { host: bridged.ip, sshPort: 22, forwarded: false };
    return port === null ? null : { host: this.#parts.reachHost, sshPort: port, forwarded: true };
  }

  async #undo(place: VmPlace, port: number | null): Promise<void> {
    this.#forget(place);
    try {
      await this.#parts.host.end(place, null);
      await removeRecord(place.dir);
    } catch (e) {
      this.#parts.log.error('a failed start could not be undone', { lease: place.lease, error: (e as Error).message });
    }
    if (port !== null) this.#parts.ports.release(port);
  }

  async find(place: VmPlace): Promise<RunningVm | null> {
    const record = await readRecord(place.dir);
    // A record is written before QEMU is started: without one there is no process to look for.
    if (record === null) return null;
    const vm = await findVmProcess(place, record.pid);
    if (vm === null) return null;
    if (record.port !== null) this.#parts.ports.hold(record.port);
    await this.#wake(place);
    const state = await this.#link(place).state(COMMAND_MS).catch((e: unknown) => {
      this.#parts.log.warn('a VM runs but its QMP does not answer', { lease: place.lease, error: (e as Error).message });
      return 'running' as const;
    });
    return state === null ? null : { pid: vm.pid, state, reach: record.reach };
  }

  watch(place: VmPlace, onExit: (reason: string) => void): () => void {
    return this.#link(place).watch(onExit);
  }

  async reboot(place: VmPlace): Promise<void> {
    await this.#link(place).execute('system_reset', COMMAND_MS);
  }

  pause(place: VmPlace): Promise<void> {
    return this.#switch(place, 'stop', 'paused');
  }

  resume(place: VmPlace): Promise<void> {
    return this.#switch(place, 'cont', 'running');
  }

  async #switch(place: VmPlace, command: string, wanted: 'running' | 'paused'): Promise<void> {
    const link = this.#link(place);
    await link.execute(command, COMMAND_MS);
    const state = await link.state(COMMAND_MS);
    if (state !== wanted) throw new AgentFault('DriverFailed', `QEMU took "${command}", but the VM is ${state ?? 'gone'}`);
  }

  async end(place: VmPlace): Promise<void> {
    const record = await readRecord(place.dir);
    if (record === null) return this.#forget(place);
    const vm = await findVmProcess(place, record.pid);
    const gone = vm === null || ((await this.#quit(place)) && (await waitForEnd(vm, this.#parts.clock, QUIT_MS)));
    this.#forget(place);
    if (!gone || record.taps) await this.#parts.host.end(place, vm?.pid ?? null);
    await removeRecord(place.dir);
    if (record.port !== null) this.#parts.ports.release(record.port);
  }

  /** False when QEMU did not take the command: it has to be killed. */
  async #quit(place: VmPlace): Promise<boolean> {
    const { clock, log } = this.#parts;
    const link = this.#link(place);
    link.ending();
    const late = (): Error => new AgentFault('DriverFailed', `no answer within ${QUIT_MS} ms`);
    try {
      await within(clock, QUIT_MS, link.execute('quit', QUIT_MS), late);
      return true;
    } catch (e) {
      log.info('a VM did not take "quit" and is killed', { lease: place.lease, error: (e as Error).message });
      return false;
    }
  }

  async powerDown(place: VmPlace, ms: number, signal?: AbortSignal): Promise<boolean> {
    const vm = await findVmProcess(place, (await readRecord(place.dir))?.pid ?? null);
    if (vm === null) return true;
    const pressed = this.#link(place).execute('system_powerdown', COMMAND_MS);
    if (ms <= 0) {
      await pressed;
      return false;
    }
    // So short a time may be over before QEMU has said that it heard: that is no failure.
    const ended = waitForEnd(vm, this.#parts.clock, ms, { pollMs: POWER_DOWN_POLL_MS, signal });
    return Promise.race([pressed.then(() => ended), ended]);
  }

  /** The base's clusters are copied in: what leaves the node must not name a file that stays. */
  async save(place: VmPlace, ms: number, signal: AbortSignal): Promise<string> {
    return this.#flatten(place, FILES.disk, FILES.saved, ms, signal);
  }

  async #flatten(place: VmPlace, from: string, to: string, ms: number, signal: AbortSignal): Promise<string> {
    // What is still written where no process can be made to end with its agent is another file then.
    await rm(join(place.dir, to), { force: true });
    await requireRoom(place.dir, await this.#flatBytes(place, from, signal), 'the saved disk');
    await this.#qemuImg(place, ['convert', '-f', 'qcow2', '-O', 'qcow2', from, to], ms, signal);
    return join(place.dir, to);
  }

  /** The most that a disk in one file takes; 0 where qemu-img cannot tell. */
  async #flatBytes(place: VmPlace, disk: string, signal: AbortSignal): Promise<number> {
    try {
      const said = await this.#qemuImg(place, ['measure', '--output=json', '-f', 'qcow2', '-O', 'qcow2', disk], MEASURE_MS, signal);
      return (JSON.parse(said) as { required: number }).required;
    } catch (e) {
      this.#parts.log.info('how large a saved disk will be is not known', { lease: place.lease, error: (e as Error).message });
      return 0;
    }
  }

  /** In a process that ends with the agent: the next one's would find its files locked. */
  async #qemuImg(place: VmPlace, args: readonly string[], ms: number, signal: AbortSignal): Promise<string> {
    const { programs } = this.#parts;
    this.#canFollow ??= canFollow(programs);
    const [program, ...rest] = follow(programs, await this.#canFollow, [programs.qemuImg, ...args]);
    return run(program, rest, { ms, cwd: place.dir, signal });
  }

  /**
   * The VM stands still while its overlay is copied, which has only what was written since its start, and takes no time where the file
   * system shares blocks: QEMU has written all of its own down then (QEMU, `vm_stop`). What takes long is done with the copy.
   */
  async copy(place: VmPlace, ms: number, signal: AbortSignal): Promise<string> {
    const [still, copy] = [FILES.still, FILES.copy].map((name) => join(place.dir, name)) as [string, string];
    this.#copying.add(place.dir);
    try {
      await writeFile(still, '', { mode: 0o600 });
      try {
        await this.pause(place);
        await copyStill(join(place.dir, FILES.disk), copy, { clock: this.#parts.clock, signal });
      } finally {
        await this.resume(place);
      }
      await rm(still, { force: true });
      if (signal.aborted) throw new AgentFault('DriverFailed', 'the copy was broken off');
      return await this.#flatten(place, FILES.copy, FILES.copied, ms, signal);
    } finally {
      this.#copying.delete(place.dir);
      await Promise.all([still, copy].map((name) => rm(name, { force: true })));
    }
  }

  async clean(place: VmPlace): Promise<void> {
    for (const name of [FILES.saved, FILES.copy, FILES.copied]) await rm(join(place.dir, name), { force: true });
  }

  /** An agent that died while a VM stood still for its copy has left it so. */
  async #wake(place: VmPlace): Promise<void> {
    const still = join(place.dir, FILES.still);
    if (this.#copying.has(place.dir) || !(await exists(still))) return;
    await this.#link(place).execute('cont', COMMAND_MS).catch((e: unknown) => this.#parts.log.warn('a VM that stood still for its copy does not go on', { lease: place.lease, error: (e as Error).message }));
    await rm(still, { force: true });
  }

  async notice(place: VmPlace, text: string): Promise<void> {
    await Promise.all([showOnConsole(place.dir, text), this.#link(place).notices.say(text)]);
  }

  console(place: VmPlace, maxBytes: number): Promise<{ bytes: Buffer; truncated: boolean }> {
    return readConsole(place.dir, maxBytes);
  }

  async status(): Promise<DriverStatus> {
    return this.#parts.facts.status();
  }

  #link(place: VmPlace): VmLink {
    const known = this.#links.get(place.dir);
    if (known !== undefined) return known;
    const link = new VmLink(place, this.#parts.clock, this.#parts.log);
    this.#links.set(place.dir, link);
    this.#trimming ??= this.#parts.clock.after(TRIM_MS, () => void this.#trim(), true);
    return link;
  }

  #forget(place: VmPlace): void {
    this.#links.get(place.dir)?.close();
    this.#links.delete(place.dir);
  }

  async #trim(): Promise<void> {
    for (const link of [...this.#links.values()]) {
      await trimConsole(link.place.dir).catch((e: unknown) =>
        this.#parts.log.warn('a console could not be shortened', { lease: link.place.lease, error: (e as Error).message }));
    }
    this.#trimming = this.#links.size === 0 ? null : this.#parts.clock.after(TRIM_MS, () => void this.#trim(), true);
  }
}

const isPortRefusal = (e: unknown): boolean => e instanceof Error && e.message.includes('Could not set up host forwarding rule');

/** What QEMU writes to exists before it starts, so that it needs no right to make files in the VM's directory. */
async function makeOutputs(dir: string): Promise<void> {
  await mkdir(join(dir, FILES.run), { recursive: true, mode: 0o700 });
  for (const socket of [FILES.qmp, FILES.notices]) await rm(join(dir, socket), { force: true });
  for (const name of [FILES.console, FILES.errors]) {
    await (await open(join(dir, name), constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)).close();
  }
}

/** The VM's uid reads the seed; other uids are kept out by the closed directory above (disk.ts, `closeParent`). */
async function openSeed(dir: string): Promise<void> {
  await chmod(dir, 0o755);
  for (const name of await readdir(dir)) await chmod(join(dir, name), 0o644);
}
