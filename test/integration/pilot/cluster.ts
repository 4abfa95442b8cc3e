/** A site whose nodes are a real Slurm's: the batch system, the service in pilot mode, the built pilot, and a look at what is left on the nodes. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PrivateSlurmOptions } from '../../../src/demo/slurm/index.ts';
import { createAdminClient, type AdminClient } from '../../../src/cli/client.ts';
import type { FsckReport } from '../../../src/fsck/types.ts';
import type { LeaseView } from '../../../src/manager/types.ts';
import { freePort } from '../../support/ports.ts';
import { startServe, type Serve } from '../../support/serve.ts';
import { eventually, startTestSlurm, type TestSlurm } from '../../support/slurm.ts';

export const PILOT = fileURLToPath(new URL('../../../dist/workspace-pilot.cjs', import.meta.url));

export interface ClusterOptions {
  readonly slurm?: Omit<PrivateSlurmOptions, 'dir' | 'epilog'>;
  readonly driver?: 'qemu' | 'simulated';
  /** TOML besides `scheduler`, `pilot` and `slurm`. */
  readonly toml?: string;
  /** Lines of the section `[pilot]`. */
  readonly pilot?: string;
  readonly lrm?: 'slurm' | 'pbs';
  /** After which a pilot is lost; default: longer than a busy machine is silent. */
  readonly silence?: string;
}

export interface Cluster {
  readonly slurm: TestSlurm;
  serve: Serve;
  /** `env` of whatever runs beside the service. */
  readonly env: Readonly<Record<string, string>>;
  readonly toml: string;
  /** The service again, on the data that a killed one left. */
  restart(): Promise<Serve>;
  leases(all?: boolean): Promise<LeaseView[]>;
  /** Until every lease that is shown is in `state`. */
  all(state: string, ms?: number): Promise<LeaseView[]>;
  slots(): Promise<Array<{ id: string; state: string; jobId: string | null; reasonCode: string | null; nodes: Array<{ host: string | null; state: string }> }>>;
  /** Until no job is in the queue, every slot has ended and nothing of any slot is on the nodes; then leases, nodes, addresses and usage records agree. */
  clean(): Promise<void>;
  /** Pids of pilots, by node. */
  pilots(): Map<string, number>;
  stop(): Promise<void>;
}

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const site = await makeSite(options);
  const { slurm, toml, stateDir } = site;
  const { env } = slurm;
  const conf = join(dirname(stateDir), 'pilot.conf');
  const within = ['env', ...Object.entries(env).map(([k, v]) => `${k}=${v}`)];
  const serve = await startServe(toml, undefined, within).catch(async (e: unknown) => {
    await slurm.stop();
    throw e;
  });
  const admin = (): AdminClient => createAdminClient(self.serve.dataDir);
  const self: Cluster = {
    slurm, serve, env, toml,
    async restart() {
      self.serve = await startServe(toml, self.serve.root, within);
      return self.serve;
    },
    // Not the command: a process for every look would keep two cores busy.
    leases: (all = false) => admin().get<LeaseView[]>('/v1/leases', { live: String(!all) }),
    all: (state, ms = 120_000) => eventually(`all leases ${state}`, async () => {
      const leases = await self.leases(true);
      return leases.length > 0 && leases.every((l) => l.state === state) ? leases : undefined;
    }, ms),
    slots: () => admin().get('/v1/slots', { live: 'false' }),
    async clean() {
      await eventually('an empty queue', async () => ((await slurm.run(['squeue', '--noheader'])).stdout.trim() === '' ? true : undefined), 120_000);
      await eventually('the end of every slot', async () => ((await self.slots()).every((s) => s.state === 'Ended') ? true : undefined), 120_000);
      await eventually('clean nodes', () => (remains(stateDir).length === 0 ? true : undefined), 60_000).catch((e: unknown) => {
        throw new Error(`${(e as Error).message}; what is left: ${remains(stateDir).join(', ')}`);
      });
      const { problems } = await admin().get<FsckReport>('/v1/fsck');
      if (problems.length > 0) throw new Error(`the books are wrong: ${JSON.stringify(problems)}`);
    },
    pilots: () => new Map(processes().flatMap((p) => (p.argv.includes('--reserveslot') && p.argv.includes(conf) ? [[p.env.get('SLURMD_NODENAME') ?? '?', p.pid] as const] : []))),
    async stop() {
      try {
        await self.serve.stop();
      } finally {
        await slurm.stop();
      }
    },
  };
  return self;
}

async function makeSite(options: ClusterOptions): Promise<{ slurm: TestSlurm; toml: string; stateDir: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'site-'));
  const [conf, epilog, stateDir, logs] = [join(dir, 'pilot.conf'), join(dir, 'epilog'), join(dir, 'state'), join(dir, 'logs')];
  mkdirSync(logs);
  writeFileSync(conf, `[logging]\nlogfiledir: ${logs}\n[memory]\nmechanism: none\n[systempaths]\nsudo: /usr/bin/sudo\n[other]\nearlywaitratio: 0.5\nlockfile: ${dir}/lock-%h\nstatedir: ${stateDir}\ndriver: ${options.driver ?? 'simulated'}\nheartbeat: 2\n`);
  writeFileSync(epilog, `#!/bin/sh\nexec ${process.execPath} ${PILOT} --recover --configpath ${conf} >>${logs}/epilog.txt 2>&1\n`);
  chmodSync(epilog, 0o755);
  const slurm = await startTestSlurm({ killWaitS: 20, ...options.slurm, epilog });
  const lrm = options.lrm ?? 'slurm';
  const pbs = lrm === 'slurm' ? '' : '[pbs]\nlauncher = ["srun", "--overlap", "--ntasks-per-node=1", "--input=all"]\nlauncher_stdin = true\n';
  // Pilots look for a service that was restarted where it was.
  const toml = `[scheduler]\nmode = "pilot"\n[pilot]\nlrm = "${lrm}"\nprogram = ["${process.execPath}", "${PILOT}"]\nconfig_path = "${conf}"\npoll = "1s"\nsilence = "${options.silence ?? '60s'}"\nlisten = "127.0.0.1:${await freePort()}"\n${options.pilot ?? ''}\n${pbs}${options.toml ?? ''}`;
  return { slurm, toml, stateDir };
}

interface Process {
  readonly pid: number;
  readonly argv: readonly string[];
  readonly env: ReadonlyMap<string, string>;
}

function processes(): Process[] {
  return readdirSync('/proc').filter((e) => /^\d+$/.test(e)).flatMap((pid) => {
    try {
      const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter((a) => a !== '');
      const env = new Map(readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').map((v) => [v.slice(0, v.indexOf('=')), v.slice(v.indexOf('=') + 1)] as const));
      return argv.length === 0 ? [] : [{ pid: Number(pid), argv, env }];
    } catch {
      return [];
    }
  });
}

/** What pilots of the account keep for the next ones: images, and which accelerator is faster. */
const KEPT = 'cache';

const hugePages = (): string => /HugePages_Total:\s*(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? '0';
const HUGE_PAGES = hugePages();

/** What is left of slots on the nodes: state directories, processes that work in them or name them, locks, mounts, taps, huge pages. */
function remains(stateDir: string): string[] {
  const files = existsSync(stateDir) ? readdirSync(stateDir).filter((f) => f !== KEPT).map((f) => `file ${f}`) : [];
  const site = dirname(stateDir);
  const alive = processes().filter((p) => p.argv.some((arg) => arg.startsWith(site))).map((p) => `process ${p.pid} ${p.argv.slice(0, 3).join(' ')}`);
  const locks = readFileSync('/proc/net/unix', 'utf8').split('\n').filter((l) => l.includes(site)).map((l) => `socket ${l.trim()}`);
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n').filter((l) => l.includes(site)).map((l) => `mount ${l}`);
  const taps = readdirSync('/sys/class/net').filter((n) => n.startsWith('nb')).map((n) => `tap ${n}`);
  return [...files, ...alive, ...locks, ...mounts, ...taps, ...(hugePages() === HUGE_PAGES ? [] : [`huge pages ${hugePages()}, ${HUGE_PAGES} before`])];
}
