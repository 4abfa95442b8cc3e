/**
 * A KVM host: room for VMs is a pool of huge pages (Linux, Documentation/admin-guide/mm/hugetlbpage.rst). The kernel
 * takes as many as it can and says nothing about the rest, so the file is read back. Pages that a VM still holds stay
 * in the pool until it has ended.
 */
import { access, constants, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT } from '../stages.ts';
import { PilotError } from '../types.ts';
import type { Finding, Guest, MemoryMechanism, NodeSettings, ProgramContext } from '../types.ts';
import { Balloon } from './balloon.ts';
import type { Host } from './balloon.ts';
import { runCommand } from './command.ts';
import { readMemInfo } from './none.ts';
import { destroyQemuGuest, qemuGuests } from './qemu-guests.ts';
import { checkPrograms } from './sudo.ts';

const KIB = 1024;
const TEE = '/usr/bin/tee';

type Settings = Pick<NodeSettings, 'hugepages' | 'minMb'> & { readonly become: readonly string[] };

export function createHugepages(settings: Settings, ctx: ProgramContext): MemoryMechanism {
  return new Balloon('hugepages', new HugepagesHost(settings, ctx), ctx);
}

class HugepagesHost implements Host {
  readonly what = 'the host';
  readonly #settings: Settings;
  readonly #ctx: ProgramContext;
  readonly #dir: string;
  readonly #pageMb: number;

  constructor(settings: Settings, ctx: ProgramContext) {
    this.#settings = settings;
    this.#ctx = ctx;
    this.#dir = join(settings.hugepages.sysDir, `hugepages-${settings.hugepages.sizeKb}kB`);
    this.#pageMb = settings.hugepages.sizeKb / KIB;
  }

  /** What is not in the pool. */
  async hostMb(): Promise<number> {
    const [{ totalMb }, pages] = await Promise.all([readMemInfo(), this.#count('nr_hugepages')]);
    return totalMb - pages * this.#pageMb;
  }

  async freeMb(): Promise<number> {
    return (await this.#count('free_hugepages')) * this.#pageMb;
  }

  async setHostMb(mb: number, signal: AbortSignal): Promise<void> {
    const [{ totalMb, availableMb }, before] = await Promise.all([readMemInfo(), this.#count('nr_hugepages')]);
    const pages = Math.ceil((totalMb - mb) / this.#pageMb);
    const takenMb = (pages - before) * this.#pageMb;
    if (takenMb > 0 && availableMb - takenMb < this.#settings.minMb) {
      throw new PilotError(EXIT.actionFailed, `${takenMb} MB of huge pages would leave the host's programs ${availableMb - takenMb} MB; minmem is ${this.#settings.minMb}`);
    }
    await this.#write(Math.max(0, pages), signal);
  }

  guests(): Promise<readonly Guest[]> {
    return qemuGuests();
  }

  destroy(guest: Guest): Promise<void> {
    return destroyQemuGuest(guest, this.#ctx.clock);
  }

  async check(): Promise<readonly Finding[]> {
    const file = this.#file('nr_hugepages');
    try {
      const pages = await this.#count('nr_hugepages');
      const found = { ok: true, what: `${pages} huge pages of ${this.#settings.hugepages.sizeKb} kB are reserved now` };
      return [found, ...(await this.#checkWritable(file))];
    } catch (e) {
      return [{ ok: false, what: `${file} cannot be read: ${(e as Error).message}`, mend: 'set sizekb in [hugepages] to a size that the kernel has, see /sys/kernel/mm/hugepages' }];
    }
  }

  async #checkWritable(file: string): Promise<readonly Finding[]> {
    const { become } = this.#settings;
    if (become.length > 0) return checkPrograms(this.#ctx.clock, become, [[TEE, file]]);
    const ok = await access(file, constants.W_OK).then(() => true, () => false);
    return [ok ? { ok, what: `${file} can be written` } : { ok, what: `${file} cannot be written`, mend: `set xmsudo: yes and have sudo allow "${TEE} ${file}"` }];
  }

  #file(name: string): string {
    return join(this.#dir, name);
  }

  async #count(name: string): Promise<number> {
    const text = (await readFile(this.#file(name), 'utf8')).trim();
    if (!/^\d{1,12}$/.test(text)) throw new Error(`${this.#file(name)} holds no number`);
    return Number(text);
  }

  async #write(pages: number, signal: AbortSignal): Promise<void> {
    const file = this.#file('nr_hugepages');
    if (this.#settings.become.length === 0) return writeFile(file, `${pages}\n`, { flag: 'r+' });
    await runCommand([...this.#settings.become, TEE, file], { clock: this.#ctx.clock, signal, input: `${pages}\n` });
  }
}
