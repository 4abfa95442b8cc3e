/** What the node can do: QEMU's version and the accelerator that suits, each found out once. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../clock.ts';
import type { DriverStatus } from '../../driver.ts';
import type { Log } from '../../log.ts';
import { cachedChoice, chooseAccelerator, kvmOpens, measureWith } from './accelerator.ts';
import type { Choice } from './accelerator.ts';
import type { VmHost } from './host.ts';
import { isExecutable, run } from './programs.ts';
import type { Programs } from './programs.ts';

const VERSION_MS = 20_000;

export interface FactsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly programs: Programs;
  readonly host: VmHost;
  /** Where the choice of accelerator is kept. Several agents may share it. */
  readonly acceleratorFile: string;
  /** The agent's own, for what is there only while it measures. */
  readonly workDir: string;
}

const PACKAGES: readonly (readonly [keyof Programs, string, string])[] = [
  ['qemu', 'qemu-system-x86_64', 'qemu-system-x86'],
  ['prlimit', 'prlimit', 'util-linux'],
  ['env', 'env', 'coreutils'],
];

export class NodeFacts {
  readonly #options: FactsOptions;
  #choice: Promise<Choice> | null = null;
  #version: Promise<string> | null = null;

  constructor(options: FactsOptions) {
    this.#options = options;
  }

  /** Measured at the first call of this boot; a failure is not remembered. */
  accelerator(): Promise<Choice> {
    this.#choice ??= this.#choose().catch((e: unknown) => {
      this.#choice = null;
      throw e;
    });
    return this.#choice;
  }

  async #choose(): Promise<Choice> {
    const { clock, log, programs, acceleratorFile, workDir, host } = this.#options;
    const [version, bootId, opens] = await Promise.all([this.version(), readFile('/proc/sys/kernel/random/boot_id', 'utf8'), kvmOpens(host.ownUids)]);
    // A batch system may give /dev/kvm to one job and not to the next.
    const key = `${bootId.trim()} ${version} ${opens ? 'kvm' : 'no kvm'}`;
    return cachedChoice({ file: acceleratorFile, draft: join(workDir, 'accelerator.new'), key, log }, () =>
      chooseAccelerator(opens, measureWith(programs.qemu, clock, workDir)));
  }

  /** `7.2.22` of `QEMU emulator version 7.2.22 (Debian …)`. */
  version(): Promise<string> {
    this.#version ??= run(this.#options.programs.qemu, ['--version'], { ms: VERSION_MS })
      .then((text) => /version (\S+)/.exec(text)?.[1] ?? 'unknown')
      .catch((e: unknown) => {
        this.#version = null;
        throw e;
      });
    return this.#version;
  }

  async status(): Promise<DriverStatus> {
    const { programs, host } = this.#options;
    const missing = PACKAGES.filter(([key]) => !isExecutable(programs[key]))
      .map(([, name, debian]) => `${name} is not installed (Debian: apt-get install ${debian})`);
    if (missing.length > 0) return { accelerator: null, qemuVersion: null, missing };
    try {
      const [{ accelerator }, qemuVersion] = await Promise.all([this.accelerator(), this.version()]);
      return { accelerator, qemuVersion, missing: await host.lacks() };
    } catch (e) {
      return { accelerator: null, qemuVersion: null, missing: [`QEMU does not work: ${(e as Error).message}`] };
    }
  }
}
