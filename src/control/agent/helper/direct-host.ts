/**
 * Starts and ends QEMU in this process: the agent's own way when it is root or has no root at all, and what the helper
 * does when sudo made it root.
 */
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sleep, within } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { VmPlace } from '../driver.ts';
import { qemuArguments } from '../drivers/qemu/argv.ts';
import { fileLimit } from '../drivers/qemu/console.ts';
import type { VmHost } from '../drivers/qemu/host.ts';
import { FILES } from '../drivers/qemu/launch.ts';
import type { Launch } from '../drivers/qemu/launch.ts';
import { findVmProcess, killVm } from '../drivers/qemu/process.ts';
import { lastWords } from '../drivers/qemu/programs.ts';
import { Qmp } from '../drivers/qemu/qmp.ts';
import { readQcow2 } from '../drivers/qemu/qcow2.ts';
import { AgentFault } from '../fault.ts';
import { giveToVm, openErrors, openVmDirectory, readErrors } from './files.ts';
import type { Owner, VmDirectory } from './files.ts';
import type { HostPolicy } from './policy.ts';
import { probeJobShield, vmCommand } from './command.ts';
import type { JobShield } from './command.ts';
import { createTaps, deleteTaps } from './tap.ts';
import { claimUid } from './uids.ts';

const START_MS = 30_000;
const POLL_MS = 2;
const KILL_GRACE_MS = 1_000;
const MIB = 1024 * 1024;

export interface DirectHostOptions {
  readonly clock: Clock;
  readonly policy: HostPolicy;
  /** Whose the VM directories are: the agent. */
  readonly agent: Owner;
  readonly isRoot: boolean;
  /** VMs belong to a batch system's job, as the agent does. */
  readonly inJob?: boolean;
  /** Sentences on what the node lacks. */
  readonly lacks?: readonly string[];
}

export class DirectHost implements VmHost {
  readonly #o: DirectHostOptions;
  readonly ownUids: boolean;
  #jobShield: Promise<JobShield> | null = null;

  constructor(options: DirectHostOptions) {
    this.#o = options;
    this.ownUids = options.isRoot && options.policy.uids !== null;
  }

  async lacks(): Promise<readonly string[]> {
    return [...(this.#o.lacks ?? []), ...((await this.#shield())?.lacks ?? [])];
  }

  /** null outside of jobs. */
  #shield(): Promise<JobShield | null> {
    if (this.#o.inJob !== true) return Promise.resolve(null);
    return (this.#jobShield ??= probeJobShield(this.#o.policy.programs));
  }

  async start(place: VmPlace, launch: Launch): Promise<{ pid: number }> {
    const { policy, agent, isRoot } = this.#o;
    if (!isRoot && launch.nics.some((nic) => nic.kind === 'bridge')) {
      throw new AgentFault('NotPermitted', 'networks on a bridge need root: let the agent use the helper (docs/operations.md, "Helper")');
    }
    const dir = await openVmDirectory(place, policy.stateDirs, agent, this.ownUids);
    try {
      const uid = await this.#giveUid(place, dir);
      await createTaps(policy.programs.ip, place.lease, launch.nics, policy.bridges, uid ?? agent.uid);
      return { pid: await this.#spawn(place.lease, launch, dir, uid) };
    } catch (e) {
      await this.#removeTaps(place);
      throw e;
    } finally {
      await dir.handle.close();
    }
  }

  async end(place: VmPlace, pid: number | null): Promise<void> {
    // Proves that the caller has this VM; a directory that is gone has no VM.
    await (await openVmDirectory(place, this.#o.policy.stateDirs, this.#o.agent, false)).handle.close();
    await this.#clear(place, pid);
  }

  async #clear(place: VmPlace, pid: number | null): Promise<void> {
    const vm = await findVmProcess(place, pid);
    // In a job SIGTERM is blocked: it would wait for nothing.
    const signals = (await this.#shield())?.blocksSignals === true ? (['SIGKILL'] as const) : (['SIGTERM', 'SIGKILL'] as const);
    if (vm !== null && !(await killVm(vm, this.#o.clock, KILL_GRACE_MS, signals))) {
      throw new AgentFault('DriverFailed', `process ${vm.pid} of ${place.lease} does not end`);
    }
    await this.#removeTaps(place);
  }

  async #removeTaps(place: VmPlace): Promise<void> {
    if (this.#o.isRoot) await deleteTaps(this.#o.policy.programs.ip, place.lease);
  }

  async #giveUid(place: VmPlace, dir: VmDirectory): Promise<number | null> {
    const { policy, agent } = this.#o;
    if (!this.ownUids || policy.uids === null) return null;
    return claimUid(place.lease, policy.uids, dirname(place.dir), (uid) => giveToVm(dir, uid, agent));
  }

  async #spawn(lease: string, launch: Launch, dir: VmDirectory, uid: number | null): Promise<number> {
    const { programs, memPath } = this.#o.policy;
    // QEMU would make a plain file of that name.
    if (memPath !== null && !isDirectory(memPath)) throw new AgentFault('DriverFailed', noMemPath(memPath));
    const { virtualSize } = await readQcow2(join(dir.path, FILES.disk));
    const shield = await this.#shield();
    const [program, ...argv] = [
      ...vmCommand(programs, Math.max(fileLimit(virtualSize), memPath === null ? 0 : launch.memoryMb * MIB), shield),
      ...qemuArguments(lease, launch, memPath),
    ];
    const ids = uid === null ? {} : { uid, gid: await gidFor(launch, uid) };
    const errors = await openErrors(dir, [uid ?? this.#o.agent.uid]);
    try {
      let ended: string | null = null;
      // A session of its own: neither the agent's end nor a signal to its process group reaches the VM. In a job it stays
      // in the session and group by which a batch system without cgroups finds the job's processes (Torque's and OpenPBS's
      // MOM go by session, Slurm's proctrack/pgid by group), and follows the agent.
      const child = spawn(program, argv, { cwd: dir.path, detached: shield === null, stdio: ['ignore', 'ignore', errors.fd], env: {}, ...ids });
      child.once('error', (e) => { ended = e.message; });
      child.once('exit', (code, signal) => { ended ??= `ended with ${signal ?? `status ${code}`}`; });
      const exited = new Promise<void>((resolve) => void child.once('close', () => resolve()).once('error', () => resolve()));
      child.unref();
      const greeted = await this.#greets(dir, () => ended !== null);
      if (greeted && child.pid !== undefined) return child.pid;
      child.kill('SIGKILL');
      await within(this.#o.clock, KILL_GRACE_MS, exited, () => new AgentFault('DriverFailed', `process ${child.pid} of ${lease} does not end`));
      const words = lastWords(await readErrors(errors));
      const what = ended ?? `did not answer within ${START_MS} ms`;
      throw new AgentFault('DriverFailed', `QEMU ${what}${words === '' ? '' : `: ${words}`}`);
    } finally {
      await errors.close();
    }
  }

  /** QMP greets when everything that QEMU was started with is in place; until then any part may still be refused. */
  async #greets(dir: VmDirectory, over: () => boolean): Promise<boolean> {
    const { clock } = this.#o;
    const deadline = clock.monotonic() + START_MS;
    while (!over() && clock.monotonic() < deadline) {
      try {
        const qmp = await Qmp.connect(join(dir.path, FILES.qmp), clock, START_MS, () => undefined);
        qmp.close();
        return true;
      } catch {
        await sleep(clock, POLL_MS);
      }
    }
    return false;
  }
}

export const isDirectory = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
export const noMemPath = (path: string): string => `${path} is no directory: mount a hugetlbfs there, or take "memPath" out of the settings`;

/** /dev/kvm opens for its group; everything else that the VM's uid may do, it may as owner. */
async function gidFor(launch: Launch, uid: number): Promise<number> {
  return launch.accelerator === 'kvm' ? (await stat('/dev/kvm')).gid : uid;
}
