/**
 * A host whose memory is moved by libvirt: one designated domain gives memory up, usually Domain-0 of a Xen host with
 * libvirt's libxl driver. It is never among the guests. Amounts are KiB in libvirt (virsh(1)).
 */
import { withDeadline } from '../deadline.ts';
import type { Finding, Guest, MemoryMechanism, NodeSettings, ProgramContext } from '../types.ts';
import { Balloon } from './balloon.ts';
import type { Host } from './balloon.ts';
import { runCommand } from './command.ts';
import { checkPrograms } from './sudo.ts';

const CHECK_MS = 20_000;

type Settings = Pick<NodeSettings, 'libvirt'> & { readonly become: readonly string[] };

export function createLibvirt(settings: Settings, ctx: ProgramContext): MemoryMechanism {
  return new Balloon('libvirt', new LibvirtHost(settings, ctx), ctx);
}

class LibvirtHost implements Host {
  readonly what: string;
  readonly #settings: Settings;
  readonly #ctx: ProgramContext;

  constructor(settings: Settings, ctx: ProgramContext) {
    this.what = `domain ${settings.libvirt.domain}`;
    this.#settings = settings;
    this.#ctx = ctx;
  }

  hostMb(signal: AbortSignal): Promise<number> {
    return this.#memoryMb(this.#settings.libvirt.domain, signal);
  }

  async freeMb(signal: AbortSignal): Promise<number> {
    return mebibytes(await this.#virsh(signal, 'freecell'), /(\d+) KiB/, 'freecell');
  }

  async setHostMb(mb: number, signal: AbortSignal): Promise<void> {
    await this.#virsh(signal, 'setmem', this.#settings.libvirt.domain, `${mb * 1024}`, '--live');
  }

  async guests(signal: AbortSignal): Promise<readonly Guest[]> {
    const domains = parseDomains(await this.#virsh(signal, 'list')).filter(({ id, name }) => id !== '0' && name !== this.#settings.libvirt.domain);
    return Promise.all(domains.map(async (domain) => ({ ...domain, memoryMb: await this.#memoryMb(domain.id, signal) })));
  }

  async destroy(guest: Guest, signal: AbortSignal): Promise<void> {
    if (!/^[1-9]\d*$/.test(guest.id)) throw new Error(`${JSON.stringify(guest.id)} is no guest's id`);
    await this.#virsh(signal, 'destroy', guest.id);
  }

  async check(): Promise<readonly Finding[]> {
    const { become, libvirt: { virsh, uri, domain } } = this.#settings;
    const virshWith = (args: readonly string[]): readonly string[] => [virsh, '-c', uri, ...args];
    const commands = [['dominfo', domain], ['freecell'], ['list'], ['setmem', domain, '524288', '--live'], ['destroy', '1']].map(virshWith);
    const programs = await checkPrograms(this.#ctx.clock, become, commands);
    return programs.every((f) => f.ok) ? [...programs, await this.#checkDomain()] : programs;
  }

  async #checkDomain(): Promise<Finding> {
    const { uri } = this.#settings.libvirt;
    try {
      const mb = await withDeadline(this.#ctx.clock, CHECK_MS, (signal) => this.hostMb(signal));
      return { ok: true, what: `${this.what} at ${uri} has ${mb} MB` };
    } catch (e) {
      return { ok: false, what: `${this.what} at ${uri} cannot be read: ${(e as Error).message}`, mend: 'correct uri and domain in [libvirt], and see that libvirtd runs' };
    }
  }

  async #memoryMb(domain: string, signal: AbortSignal): Promise<number> {
    return mebibytes(await this.#virsh(signal, 'dominfo', domain), /^Used memory:\s*(\d+) KiB/m, `dominfo ${domain}`);
  }

  #virsh(signal: AbortSignal, ...args: string[]): Promise<string> {
    const { become, libvirt: { virsh, uri } } = this.#settings;
    return runCommand([...become, virsh, '-c', uri, ...args], { clock: this.#ctx.clock, signal });
  }
}

/** ` 1    name   running`, below a header and a rule; states are one or two words. */
function parseDomains(text: string): { id: string; name: string }[] {
  return text.split('\n').flatMap((line) => {
    const [, id, name] = /^\s*(\d+)\s+(\S.*?)\s{2,}\S/.exec(line) ?? [];
    return id === undefined || name === undefined ? [] : [{ id, name }];
  });
}

function mebibytes(text: string, pattern: RegExp, what: string): number {
  const kib = pattern.exec(text)?.[1];
  if (kib === undefined) throw new Error(`virsh ${what} shows no amount of memory`);
  return Math.floor(Number(kib) / 1024);
}
