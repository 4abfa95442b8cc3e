/**
 * A machine that runs VMs: a disk, memory, a clock that may be wrong, and processes. The VMs of the product's simulated driver are
 * what its journal says, as long as the machine runs, and on a borrowed node as long as their pilot does.
 */
import type { Agent } from '../../../src/control/agent/agent.ts';
import { streamEnds, type Network } from '../world/network.ts';
import { Process } from '../world/process.ts';
import type { Leap } from '../world/time.ts';
import type { Dice } from '../world/random.ts';
import type { Trace } from '../world/trace.ts';
import { Disk, type Inode, type SpecialFile } from './disk.ts';
import { instantiate, type NodeProgram } from './instance.ts';
import type { Web } from './http.ts';
import { Names } from './sockets.ts';

export const PAGE_MB = 2;
const STATE_DIR = '/var/nimbus';
const JOURNAL = '/simulated.journal';
const HUGE = '/sys/kernel/mm/hugepages/hugepages-2048kB';
/** What the host's own programs have. */
const HOST_MB = 512;

export interface MachineParts {
  readonly network: Network;
  readonly random: Dice;
  readonly trace: Trace;
  readonly immediate: (fn: () => void) => void;
  /** Of an agent's clock. */
  readonly leap: Leap | undefined;
  /** How the simulated VMM behaves. */
  readonly simulated: object;
}

interface RunningVm {
  readonly lease: string;
  readonly state: string;
}

interface Running {
  readonly process: Process;
  readonly agent: Promise<Agent>;
}

export class Machine {
  readonly disk = new Disk((path) => this.#special(path));
  readonly names = new Names();
  up = true;
  clockOffset = 0;
  /** Pages that the kernel has set aside for VMs. */
  hugePages = 0;
  boots = 1;
  /** Goes up whenever a VM comes, goes or changes. */
  vmChanges = 0;
  readonly #processes = new Map<number, Process>();
  /** Of each journal: the VMs that are not gone. */
  readonly #vms = new Map<string, Map<string, RunningVm>>();
  readonly #read = new Map<string, number>();
  #agent: Running | undefined;
  #pids = 100;

  constructor(readonly name: string, readonly memoryMb: number, readonly cores: number, private readonly parts: MachineParts) {
    this.disk.onRemove = (path) => { for (const journal of this.#vms.keys()) if (journal === path || journal.startsWith(`${path}/`)) this.#forget(journal); };
    this.disk.onChange = (file) => { if (file.path.endsWith(JOURNAL)) this.#follow(file); };
  }

  /** A process of this machine with the product's program in it. */
  run(what: string, web: (process: Process) => Web): { process: Process; program: NodeProgram } {
    const { network, random, immediate } = this.parts;
    const process = new Process(`${what}@${this.name}`, network.time, this);
    const pid = (this.#pids += 1);
    this.#processes.set(pid, process);
    process.atEnd(() => this.#processes.delete(pid));
    return { process, program: instantiate({ process, pid, machine: this, random: random.fork(`${what} ${pid}`), immediate, web: web(process) }) };
  }

  /** As `workspace-control serve` does: it holds the directory, or passes the stream to the agent that does. */
  async serve(from: Process): Promise<ReturnType<typeof streamEnds>[0]> {
    if (!this.up) throw new Error('no route to host');
    const running = this.#agent ?? this.#start();
    const [near, far] = streamEnds(this.parts.network, from, running.process);
    const agent = await running.agent;
    agent.serve({ input: far, output: far, name: from.name });
    return near;
  }

  #start(): Running {
    const { leap } = this.parts;
    const { process, program } = this.run('agent', () => NO_WEB);
    const agent = program.openAgent({
      stateDir: STATE_DIR, driver: 'simulated', config: program.parseAgentConfig({ simulated: this.parts.simulated }), clock: leap === undefined ? process.clock : process.leapingClock(leap),
      log: this.parts.trace.logOf(process),
    });
    const running = { process, agent };
    this.#agent = running;
    process.atEnd(() => { if (this.#agent === running) this.#agent = undefined; });
    agent.then((a) => a.over).then(() => process.kill(), (e: unknown) => {
      this.parts.trace.add('agent does not start', this.name, String(e));
      process.kill();
    });
    return running;
  }

  get agent(): Process | undefined {
    return this.#agent?.process;
  }

  /** Power is gone: every process, and every VM. */
  powerOff(): void {
    this.up = false;
    // Nobody is told: a machine without power says nothing any more.
    this.parts.network.dark.add(this.name);
    for (const process of [...this.#processes.values()]) process.kill();
    for (const path of this.#vms.keys()) this.endVms(path);
    this.hugePages = 0;
  }

  powerOn(): void {
    if (this.up) return;
    this.up = true;
    this.parts.network.dark.delete(this.name);
    this.boots += 1;
  }

  /** VMs of this journal are killed: what it says of them is no longer so. */
  endVms(journal: string): void {
    this.disk.remove(journal, { force: true });
  }

  #forget(journal: string): void {
    this.#vms.delete(journal);
    this.#read.delete(journal);
    this.vmChanges += 1;
  }

  /** Journals of VMs below a directory. */
  journals(dir: string): string[] {
    return [...this.#vms.keys()].filter((path) => path.startsWith(`${dir}/`));
  }

  /** VMs that run or are paused now. */
  vms(): Array<RunningVm & { readonly journal: string }> {
    const found: Array<RunningVm & { readonly journal: string }> = [];
    for (const [path, vms] of this.#vms) {
      for (const vm of vms.values()) if (vm.state === 'running' || vm.state === 'paused') found.push({ ...vm, journal: path });
    }
    return found;
  }

  #follow(file: Inode): void {
    const { path } = file;
    const known = this.#read.get(path) ?? 0;
    const whole = file.data.length < known || known === 0;
    const vms = whole ? new Map<string, RunningVm>() : this.#vms.get(path) ?? new Map<string, RunningVm>();
    for (const line of file.data.toString('utf8', whole ? 0 : known).split('\n')) {
      if (line === '') continue;
      const vm = JSON.parse(line) as RunningVm;
      if (vm.state === 'gone') vms.delete(vm.lease);
      else vms.set(vm.lease, vm);
    }
    this.vmChanges += 1;
    this.#vms.set(path, vms);
    this.#read.set(path, file.data.length);
  }

  #special(path: string): SpecialFile | undefined {
    if (path === '/proc/sys/kernel/random/boot_id') return { read: () => `00000000-0000-4000-8000-${String(this.boots).padStart(12, '0')}\n` };
    if (path === '/proc/meminfo') return { read: () => this.#meminfo() };
    if (path === `${HUGE}/nr_hugepages`) return { read: () => `${this.hugePages}\n`, write: (text) => this.#setHugePages(Number(text)) };
    if (path === `${HUGE}/free_hugepages`) return { read: () => `${this.hugePages}\n` };
    const pid = /^\/proc\/(\d+)\/stat$/.exec(path)?.[1];
    if (pid === undefined || !this.#processes.has(Number(pid))) return undefined;
    return { read: () => `${pid} (node) S ${'0 '.repeat(18)}${pid}` };
  }

  #meminfo(): string {
    const free = this.memoryMb - HOST_MB - this.hugePages * PAGE_MB;
    return `MemTotal: ${this.memoryMb * 1024} kB\nMemFree: ${free * 1024} kB\nMemAvailable: ${free * 1024} kB\n`;
  }

  /** The kernel takes as many as it can, and says nothing about the rest. */
  #setHugePages(pages: number): void {
    this.hugePages = Math.max(0, Math.min(pages, Math.floor((this.memoryMb - HOST_MB) / PAGE_MB)));
  }
}

const NO_WEB: Web = {
  post: () => Promise.reject(new Error('agents speak with nobody by themselves')),
  upgrade: () => { throw new Error('agents speak with nobody by themselves'); },
};
