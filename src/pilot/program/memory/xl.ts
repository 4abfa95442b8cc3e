/**
 * A Xen host: dom0 gives memory up by ballooning, told by `xl` or the older `xm`. What dom0 has is read from the kernel,
 * as /proc/xen/balloon or below /sys/devices/system/xen_memory (Linux, drivers/xen/xen-balloon.c); only where it does not
 * tell, the toolstack is asked.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { withDeadline } from '../deadline.ts';
import type { Finding, Guest, MemoryMechanism, NodeSettings, ProgramContext } from '../types.ts';
import { Balloon } from './balloon.ts';
import type { Host } from './balloon.ts';
import { runCommand } from './command.ts';
import { checkPrograms } from './sudo.ts';

/** Each with how its text tells the kB. */
const KERNEL_FILES: readonly (readonly [string, RegExp])[] = [
  ['/sys/devices/system/xen_memory/xen_memory0/info/current_kb', /^\s*(\d+)/],
  ['/proc/xen/balloon', /Current allocation:\s*(\d+)\s*kB/i],
];
/** What the kernel's balloon driver has been told. */
const TARGET_FILE = '/sys/devices/system/xen_memory/xen_memory0/target_kb';
const CHECK_MS = 20_000;
/** `Domain-0   0  2007  2  r-----  12.3`: a name may contain anything, the figures stand at the end. */
const LIST_LINE = /^(.*\S)\s+(\d+)\s+(\d+)\s+\d+\s+[a-z-]+\s+[\d.]+\s*$/;

type Settings = Pick<NodeSettings, 'xen'> & { readonly become: readonly string[] };

export function createXl(settings: Settings, ctx: ProgramContext): MemoryMechanism {
  if (settings.xen.restartXend) ctx.log.info('[xen] xend is ignored: nothing needs a xend to be restarted', { xm: settings.xen.xm });
  return new Balloon('xl', new XlHost(settings, ctx), ctx);
}

class XlHost implements Host {
  readonly what = 'dom0';
  readonly #settings: Settings;
  readonly #ctx: ProgramContext;

  constructor(settings: Settings, ctx: ProgramContext) {
    this.#settings = settings;
    this.#ctx = ctx;
  }

  async hostMb(signal: AbortSignal): Promise<number> {
    for (const [file, pattern] of KERNEL_FILES) {
      const kb = pattern.exec(await readFile(file, 'utf8').catch(() => ''))?.[1];
      if (kb !== undefined) return Math.floor(Number(kb) / 1024);
    }
    const dom0 = parseList(await this.#xl(signal, 'list')).find((domain) => domain.id === '0');
    if (dom0 === undefined) throw new Error(`${this.#settings.xen.xm} list shows no domain 0`);
    return dom0.memoryMb;
  }

  async freeMb(signal: AbortSignal): Promise<number> {
    const mb = /^\s*free_memory\s*:\s*(\d+)/m.exec(await this.#xl(signal, 'info'))?.[1];
    if (mb === undefined) throw new Error(`${this.#settings.xen.xm} info shows no free_memory`);
    return Number(mb);
  }

  /**
   * Linux gives a target up that it could not reach in a few tries (a guest still has the memory). Then it looks once an
   * hour, or when it is told another one (drivers/xen/balloon.c, BP_ECANCELED). So a target that it has already is told by
   * way of another one.
   */
  async setHostMb(mb: number, signal: AbortSignal): Promise<void> {
    const toldKb = Number(await readFile(TARGET_FILE, 'utf8').catch(() => Number.NaN));
    if (Math.floor(toldKb / 1024) === mb && (await this.hostMb(signal)) !== mb) await this.#xl(signal, 'mem-set', '0', this.#amount(mb - 1));
    await this.#xl(signal, 'mem-set', '0', this.#amount(mb));
  }

  async guests(signal: AbortSignal): Promise<readonly Guest[]> {
    return parseList(await this.#xl(signal, 'list')).filter((domain) => domain.id !== '0');
  }

  async destroy(guest: Guest, signal: AbortSignal): Promise<void> {
    if (!/^[1-9]\d*$/.test(guest.id)) throw new Error(`${JSON.stringify(guest.id)} is no guest's id`);
    await this.#xl(signal, 'destroy', guest.id);
  }

  async check(): Promise<readonly Finding[]> {
    const { xen: { xm }, become } = this.#settings;
    const commands = [['list'], ['info'], ['mem-set', '0', this.#amount(512)], ['destroy', '1']].map((args) => [xm, ...args]);
    const programs = await checkPrograms(this.#ctx.clock, become, commands);
    return programs.every((f) => f.ok) ? [...programs, await this.#checkDom0()] : programs;
  }

  async #checkDom0(): Promise<Finding> {
    try {
      const mb = await withDeadline(this.#ctx.clock, CHECK_MS, (signal) => this.hostMb(signal));
      return { ok: true, what: `this is dom0 of a Xen host; it has ${mb} MB` };
    } catch (e) {
      return { ok: false, what: `the memory of dom0 cannot be read: ${(e as Error).message}`, mend: 'boot Xen, start its toolstack (on Debian: systemctl start xen), or set another [memory] mechanism' };
    }
  }

  /** `xm` of old versions takes plain MiB only; for `xl` the unit is said. */
  #amount(mb: number): string {
    return basename(this.#settings.xen.xm) === 'xm' ? `${mb}` : `${mb}m`;
  }

  #xl(signal: AbortSignal, ...args: string[]): Promise<string> {
    return runCommand([...this.#settings.become, this.#settings.xen.xm, ...args], { clock: this.#ctx.clock, signal });
  }
}

/** Lines that are no domain (the header, and domains that `xm` keeps without running them) are passed over. */
export function parseList(text: string): Guest[] {
  return text.split('\n').flatMap((line) => {
    const [, name, id, mb] = LIST_LINE.exec(line) ?? [];
    return name === undefined || id === undefined ? [] : [{ id, name, memoryMb: Number(mb) }];
  });
}
