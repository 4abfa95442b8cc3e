/**
 * A VMM that only pretends, with delays and failures by configuration. Its VMs are entries of a journal in the state
 * directory, so they outlive the agent as real ones do. They have no guest that could be reached.
 */
import type { VmSpec } from '../../protocol.ts';
import type { Clock, Timer } from '../clock.ts';
import { sleep } from '../clock.ts';
import type { SimulatedConfig, SimulatedFault } from '../config.ts';
import type { Driver, DriverStatus, MemoryKeeper, RunningVm, VmPlace } from '../driver.ts';
import { AgentFault } from '../fault.ts';
import { Journal } from '../journal.ts';

export interface SimulatedOptions extends SimulatedConfig {
  readonly clock: Clock;
  /** Uniform in [0, 1) */
  readonly random: () => number;
  readonly file: string;
}

interface SimulatedVm {
  readonly lease: string;
  readonly state: 'running' | 'paused' | 'off' | 'serialized' | 'gone';
  /** How often the guest has booted; its console shows each. */
  readonly boots: number;
  /** Lines that it was told; its console shows the last ones. */
  readonly notices?: readonly string[];
}

const MAX_NOTICES = 8;
/** A guest that powered off while the disk was full is off as soon as that can be written. */
const OFF_AGAIN_MS = 1_000;

/** An end that fails by chance would leave a VM for good, and nothing is learnt from that. */
const FAILS_BY_CHANCE: ReadonlySet<SimulatedFault['op']> = new Set(['start', 'reboot', 'pause', 'resume', 'serialize', 'restore']);
const STATUS: DriverStatus = { accelerator: null, qemuVersion: null, missing: [] };

export function createSimulatedDriver(options: SimulatedOptions): Driver {
  return new SimulatedDriver(options);
}

class SimulatedDriver implements Driver {
  readonly name = 'simulated' as const;
  readonly fileless = true;
  readonly memory?: MemoryKeeper;
  readonly #journal: Journal;
  readonly #vms = new Map<string, SimulatedVm>();
  readonly #options: SimulatedOptions;
  readonly #struck = new Map<SimulatedFault, number>();
  /** Lease → the image that its disk is, as nothing ever changes it. */
  readonly #disks = new Map<string, string>();
  /** Lease → how to break its operation that hangs. */
  readonly #hanging = new Map<string, () => void>();
  /** Lease → who wants to hear when its guest powers off. */
  readonly #listeners = new Map<string, Set<(reason: string) => void>>();

  constructor(options: SimulatedOptions) {
    this.#options = options;
    if (options.serializes) this.memory = this.#memory();
    this.#journal = new Journal(options.file);
    for (const vm of this.#journal.read()) if (vm !== undefined) this.#keep(vm as SimulatedVm);
    this.#journal.rewrite(this.#vms.values());
  }

  async prepare(place: VmPlace, _spec: VmSpec, baseImage: string): Promise<void> {
    await this.#strike('prepare', place);
    this.#disks.set(place.lease, baseImage);
  }

  async start(place: VmPlace): Promise<RunningVm> {
    if (this.#options.startMs > 0) await sleep(this.#options.clock, this.#options.startMs);
    await this.#strike('start', place);
    return running(this.#change({ lease: place.lease, state: 'running', boots: 1 }));
  }

  find(place: VmPlace): Promise<RunningVm | null> {
    const vm = this.#vms.get(place.lease);
    return Promise.resolve(vm === undefined || !isUp(vm) ? null : running(vm));
  }

  watch(place: VmPlace, onExit: (reason: string) => void): () => void {
    const forget = this.#whenOff(place.lease, onExit);
    const exit = this.#options.exits.find((e) => place.lease.startsWith(e.lease));
    const timer: Timer | undefined = exit && this.#options.clock.after(exit.afterMs, () => this.#powerOff(place.lease), true);
    return () => {
      timer?.cancel();
      forget();
    };
  }

  async reboot(place: VmPlace): Promise<void> {
    await this.#strike('reboot', place);
    const vm = this.#need(place);
    this.#change({ ...vm, boots: vm.boots + 1 });
  }

  async pause(place: VmPlace): Promise<void> {
    await this.#strike('pause', place);
    this.#change({ ...this.#need(place), state: 'paused' });
  }

  async resume(place: VmPlace): Promise<void> {
    await this.#strike('resume', place);
    this.#change({ ...this.#need(place), state: 'running' });
  }

  async end(place: VmPlace): Promise<void> {
    this.#hanging.get(place.lease)?.();
    const vm = this.#vms.get(place.lease);
    if (vm === undefined || vm.state === 'serialized') return;
    if (this.#options.stopMs > 0) await sleep(this.#options.clock, this.#options.stopMs);
    await this.#strike('end', place);
    this.#change({ ...vm, state: 'gone' });
  }

  async save(place: VmPlace, _ms: number, signal: AbortSignal): Promise<string> {
    this.#breaksAt(signal, place);
    await this.#strike('save', place);
    const disk = this.#disks.get(place.lease);
    if (disk === undefined) throw new AgentFault('WrongState', 'the disk of a simulated VM does not outlive its agent');
    return disk;
  }

  async copy(place: VmPlace, ms: number, signal: AbortSignal): Promise<string> {
    this.#breaksAt(signal, place);
    await this.#strike('copy', place);
    this.#need(place);
    return this.save(place, ms, signal);
  }

  clean(): Promise<void> {
    return Promise.resolve();
  }

  /** What is kept is the VM's entry, which knows all that the guest does. */
  #memory(): MemoryKeeper {
    const kept = (place: VmPlace): boolean => this.#vms.get(place.lease)?.state === 'serialized';
    return {
      kept: (place) => Promise.resolve(kept(place)),
      save: async (place, _memoryMb, _ms, signal) => {
        this.#breaksAt(signal, place);
        try {
          await this.#strike('serialize', place);
        } catch (e) {
          this.#change({ ...this.#need(place), state: 'running' });
          throw e;
        }
        if (this.#options.stopMs > 0) await sleep(this.#options.clock, this.#options.stopMs);
        this.#change({ ...this.#need(place), state: 'serialized' });
      },
      restore: async (place) => {
        if (this.#options.startMs > 0) await sleep(this.#options.clock, this.#options.startMs);
        await this.#strike('restore', place);
        const vm = this.#vms.get(place.lease);
        if (vm === undefined || !kept(place)) throw new AgentFault('WrongState', `no memory of ${place.lease} is kept`);
        return running(this.#change({ ...vm, state: 'running' }));
      },
      drop: (place) => {
        const vm = this.#vms.get(place.lease);
        if (vm !== undefined && kept(place)) this.#change({ ...vm, state: 'gone' });
        return Promise.resolve();
      },
    };
  }

  async powerDown(place: VmPlace, ms: number, signal?: AbortSignal): Promise<boolean> {
    const { clock, powerDownMs } = this.#options;
    await this.#strike('powerDown', place);
    if ((await this.find(place)) === null) return true;
    if (powerDownMs !== null) clock.after(powerDownMs, () => this.#powerOff(place.lease), true);
    await new Promise<void>((resolve) => {
      const done = (): void => {
        timer.cancel();
        signal?.removeEventListener('abort', done);
        forget();
        resolve();
      };
      const forget = this.#whenOff(place.lease, done);
      const timer = clock.after(signal?.aborted === true ? 0 : ms, done);
      signal?.addEventListener('abort', done, { once: true });
    });
    return (await this.find(place)) === null;
  }

  async notice(place: VmPlace, text: string): Promise<void> {
    await this.#strike('notice', place);
    const vm = this.#need(place);
    this.#change({ ...vm, notices: [...(vm.notices ?? []), text].slice(-MAX_NOTICES) });
  }

  async console(place: VmPlace, maxBytes: number): Promise<{ bytes: Buffer; truncated: boolean }> {
    await this.#strike('console', place);
    const { boots, notices } = this.#vms.get(place.lease) ?? { boots: 0 };
    const banners = `nimbus-workspace guest ${place.lease} is up (simulated)\r\n`.repeat(boots);
    const all = Buffer.from(banners + (notices ?? []).map((text) => `${text}\r\n`).join(''));
    return { bytes: all.subarray(Math.max(0, all.length - maxBytes)), truncated: all.length > maxBytes };
  }

  status(): Promise<DriverStatus> {
    return Promise.resolve(STATUS);
  }

  #strike(op: SimulatedFault['op'], place: VmPlace): Promise<void> {
    const { faults, failureRate, random } = this.#options;
    const fault = faults.find((f) => f.op === op && place.lease.startsWith(f.lease) && (this.#struck.get(f) ?? 0) < (f.times ?? Infinity));
    if (fault !== undefined) {
      this.#struck.set(fault, (this.#struck.get(fault) ?? 0) + 1);
      if (fault.hang === true) return this.#hang(place);
      return Promise.reject(new AgentFault('DriverFailed', `the simulated ${op} fails as configured`));
    }
    if (failureRate > 0 && FAILS_BY_CHANCE.has(op) && random() < failureRate) {
      return Promise.reject(new AgentFault('DriverFailed', `the simulated ${op} fails by chance`));
    }
    return Promise.resolve();
  }

  #whenOff(lease: string, tell: (reason: string) => void): () => void {
    const listeners = this.#listeners.get(lease) ?? new Set();
    this.#listeners.set(lease, listeners.add(tell));
    return () => {
      listeners.delete(tell);
      if (listeners.size === 0) this.#listeners.delete(lease);
    };
  }

  #powerOff(lease: string): void {
    const vm = this.#vms.get(lease);
    if (vm?.state !== 'running') return;
    try {
      this.#change({ ...vm, state: 'off' });
    } catch {
      this.#options.clock.after(OFF_AGAIN_MS, () => this.#powerOff(lease), true);
      return;
    }
    for (const tell of [...(this.#listeners.get(lease) ?? [])]) tell('the simulated guest has powered off');
  }

  #need(place: VmPlace): SimulatedVm {
    const vm = this.#vms.get(place.lease);
    if (vm === undefined || !isUp(vm)) throw new AgentFault('WrongState', `the VM ${place.lease} does not run`);
    return vm;
  }

  /** What cannot be written has not happened: the next agent would not know of it. */
  #change(vm: SimulatedVm): SimulatedVm {
    this.#journal.append(vm);
    this.#keep(vm);
    if (this.#journal.outgrown) this.#journal.rewrite(this.#vms.values());
    return vm;
  }

  #keep(vm: SimulatedVm): void {
    if (vm.state === 'gone') this.#vms.delete(vm.lease);
    else this.#vms.set(vm.lease, vm);
  }

  #breaksAt(signal: AbortSignal, { lease }: VmPlace): void {
    signal.addEventListener('abort', () => this.#hanging.get(lease)?.(), { once: true });
  }

  /** Until the VM is ended, as a hypervisor that is killed. */
  #hang(place: VmPlace): Promise<void> {
    return new Promise((_, reject) => {
      this.#hanging.set(place.lease, () => {
        this.#hanging.delete(place.lease);
        reject(new AgentFault('DriverFailed', 'the simulated operation was broken off'));
      });
    });
  }
}

function running(vm: SimulatedVm): RunningVm {
  return { pid: null, state: vm.state === 'paused' ? 'paused' : 'running', reach: null };
}

const isUp = ({ state }: SimulatedVm): boolean => state === 'running' || state === 'paused';
