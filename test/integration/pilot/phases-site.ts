/**
 * A service as a site runs it, with real pilots, over commands of a batch system that the test can hold still: in the midst of
 * a submission, of a cancellation, before a pilot's start.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAdminClient } from '../../../src/cli/client.ts';
import type { SlotView } from '../../../src/manager/slots/types.ts';
import type { LeaseView } from '../../../src/manager/types.ts';
import { fakeSlurmCommands } from '../../support/fake-lrm.ts';
import { freePort } from '../../support/ports.ts';
import { processesWith, signal } from '../../support/processes.ts';
import { startServe, type Serve } from '../../support/serve.ts';
import { eventually } from '../../support/slurm.ts';
import { PILOT } from './cluster.ts';

/** Where a command can be held: before it does anything, or when it has done everything and has not said so. */
export type Hold = 'sbatch-before' | 'sbatch-after' | 'scancel-before' | 'scancel-after' | 'pilot-b';

export interface FakeJobFile {
  readonly id: number;
  readonly name: string;
  readonly state: string;
  readonly hosts: readonly string[];
  readonly pid: number | null;
}

/** How long the service waits for a pilot's next word, and a pilot for the service to take its first; default: longer than a busy machine takes to start a service. */
export interface Patience {
  readonly silenceS: number;
  readonly reserveWaitS: number;
}

/** A pilot's last word has a quarter of it to be taken. */
const KILL_WAIT_S = 60;
const NODES = ['a', 'b'];

export class PhasesSite {
  serve!: Serve;
  readonly dir = mkdtempSync(join(tmpdir(), 'phases-'));
  readonly #control = join(this.dir, 'control');
  /** The batch system's own, for whoever acts behind the service's back. */
  scancel = '';
  #toml = '';
  readonly #patience: Patience;
  #blocker: ChildProcess | undefined;

  private constructor(patience: Partial<Patience>) {
    this.#patience = { silenceS: 60, reserveWaitS: 60, ...patience };
  }

  /** @param contact pilots are told, given the port of the service's own listener; default: that listener */
  static async open(patience: Partial<Patience> = {}, contact: (port: number) => Promise<string> = (port) => Promise.resolve(`http://127.0.0.1:${port}`)): Promise<PhasesSite> {
    const site = new PhasesSite(patience);
    try {
      await site.#begin(contact);
    } catch (e) {
      rmSync(site.dir, { recursive: true, force: true });
      throw e;
    }
    return site;
  }

  async #begin(contact: (port: number) => Promise<string>): Promise<void> {
    mkdirSync(this.#control);
    const { settings } = fakeSlurmCommands(this.dir, { nodes: NODES, killWaitS: KILL_WAIT_S, epilog: '/etc/epilog' });
    this.scancel = settings.scancel;
    const [sbatch, scancel] = [this.#holdable('sbatch', settings.sbatch), this.#holdable('scancel', settings.scancel)];
    const conf = join(this.dir, 'pilot.conf');
    mkdirSync(join(this.dir, 'logs'));
    writeFileSync(conf, `[logging]\nlogfiledir: ${this.dir}/logs\n[memory]\nmechanism: none\n[other]\nearlywaitratio: 0.5\nlockfile: ${this.dir}/lock-%h\nstatedir: ${this.dir}/pilots\nreservewait: ${this.#patience.reserveWaitS}\ndriver: simulated\nheartbeat: 2\n`);
    const pilot = this.#program('pilot', `[ "$SLURMD_NODENAME" = b ] && while [ -e '${this.#control}/pilot-b' ]; do sleep 0.05; done\nexec '${process.execPath}' '${PILOT}' "$@"\n`);
    // Pilots look for a service that was restarted where it was.
    const port = await freePort();
    const commands = Object.entries({ ...settings, sbatch, scancel }).map(([verb, file]) => `${verb} = "${file}"\n`).join('');
    this.#toml = `[scheduler]\nmode = "pilot"\n[pilot]\nprogram = ["${pilot}"]\nconfig_path = "${conf}"\npoll = "1s"\nsilence = "${this.#patience.silenceS}s"\nlisten = "127.0.0.1:${port}"\naddress = "${await contact(port)}"\n[slurm]\n${commands}`;
    this.serve = await startServe(this.#toml);
  }

  /** A command that says when it is called and has heard all of its input (whoever is killed then has said everything), and waits where the test holds it. */
  #holdable(verb: string, real: string): string {
    const at = (where: string): string => `while [ -e '${this.#control}/${verb}-${where}' ]; do sleep 0.05; done\n`;
    return this.#program(verb, `case " $* " in *" --version "*) exec '${real}' "$@";; esac\ninput=$(mktemp -p '${this.#control}')\ncat >"$input"\n: >'${this.#control}/${verb}-called'\n${at('before')}`
      + `[ -e '${this.#control}/${verb}-dies' ] && exit 1\nout=$('${real}' "$@" <"$input" 2>'${this.#control}/${verb}-errors')\n: >'${this.#control}/${verb}-done'\n${at('after')}`
      + `cat '${this.#control}/${verb}-errors' >&2\nprintf '%s\\n' "$out"\n`);
  }

  #program(name: string, script: string): string {
    const file = join(this.dir, `${name}.sh`);
    writeFileSync(file, `#!/bin/sh\n${script}`);
    chmodSync(file, 0o755);
    return file;
  }

  hold(where: Hold): void {
    writeFileSync(join(this.#control, where), '');
  }

  letGo(where: Hold): void {
    rmSync(join(this.#control, where), { force: true });
  }

  /** Whoever waits in a held command ends there, as if it had died before it did anything. */
  async die(verb: 'sbatch' | 'scancel'): Promise<void> {
    writeFileSync(join(this.#control, `${verb}-dies`), '');
    this.letGo(`${verb}-before`);
    await eventually(`the end of ${verb}`, () => (this.inside(verb) === 0 ? true : undefined));
    rmSync(join(this.#control, `${verb}-dies`));
  }

  /** How many of these commands are under way. */
  inside = (verb: 'sbatch' | 'scancel'): number => processesWith(join(this.dir, `${verb}.sh`)).length;

  reached = (verb: 'sbatch' | 'scancel', what: 'called' | 'done'): Promise<true> =>
    eventually(`${verb} ${what}`, () => (existsSync(join(this.#control, `${verb}-${what}`)) ? true : undefined));

  /** A job of somebody else has both nodes. */
  block(): void {
    this.#blocker = spawn('sleep', ['600'], { stdio: 'ignore', detached: true });
    writeFileSync(join(this.dir, 'state/jobs/1.json'), JSON.stringify({ id: 1, name: 'other', nodes: 2, state: 'RUNNING', reason: 'None', hosts: NODES, pid: this.#blocker.pid, cancelled: false }));
  }

  async unblock(): Promise<void> {
    const blocker = this.#blocker;
    this.#blocker = undefined;
    if (blocker === undefined) return;
    const gone = once(blocker, 'exit');
    blocker.kill('SIGKILL');
    await gone;
  }

  /** Without the one that blocks. */
  jobs(): FakeJobFile[] {
    const dir = join(this.dir, 'state/jobs');
    return readdirSync(dir).filter((f) => f.endsWith('.json')).map((f) => JSON.parse(readFileSync(join(dir, f), 'utf8')) as FakeJobFile).filter((j) => j.name !== 'other');
  }

  leases = (): Promise<LeaseView[]> => createAdminClient(this.serve.dataDir).get<LeaseView[]>('/v1/leases', { live: 'false' });
  slots = (): Promise<SlotView[]> => createAdminClient(this.serve.dataDir).get<SlotView[]>('/v1/slots', { live: 'false' });

  all = (state: string, ms = 120_000): Promise<LeaseView[]> => eventually(`all leases ${state}`, async () => {
    const leases = await this.leases();
    return leases.length > 0 && leases.every((l) => l.state === state) ? leases : undefined;
  }, ms).catch(async (e: unknown) => {
    throw new Error(`${(e as Error).message}: ${JSON.stringify([await this.leases(), await this.slots()].map((rows) => rows.map((r) => ({ ...r, phases: undefined }))))}`);
  });

  /** kill -9, and the service again on what it left. */
  async killAndRestart(meanwhile: () => Promise<void> | void = () => undefined): Promise<void> {
    await this.serve.kill();
    await meanwhile();
    this.serve = await startServe(this.#toml, this.serve.root);
  }

  /** Processes of pilots and of what they have started. */
  onNodes = (): string[] => processesWith(`${this.dir}/`).map((p) => p.argv).filter((argv) => !argv.includes(`${this.dir}/state `) && !argv.includes(`${this.dir}/bin/`));

  async close(): Promise<void> {
    for (const hold of ['sbatch-before', 'sbatch-after', 'scancel-before', 'scancel-after', 'pilot-b'] as const) this.letGo(hold);
    await this.unblock();
    await this.serve.stop();
    for (const { pid } of processesWith(`${this.dir}/`)) signal(pid, 'SIGKILL');
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}
