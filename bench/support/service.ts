/** A service of its own for a bench: `bin/nimbus.mjs serve` in a temporary directory, as a site would run it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const NIMBUS = new URL('../../bin/nimbus.mjs', import.meta.url).pathname;
const run = promisify(execFile);

export interface BenchService {
  readonly ec2: string;
  readonly pid: number;
  readonly dataDir: string;
  readonly credentials: { accessKey: string; secretKey: string };
  /** The `nimbus` command against this service; parsed JSON output. */
  admin(...args: string[]): Promise<unknown>;
  /** User + system CPU of the service process so far, ms. */
  cpuMs(): number;
  /** Resident memory of the service process, MiB. */
  rssMb(): number;
  stop(): Promise<void>;
}

export async function startBenchService(toml: string): Promise<BenchService> {
  const root = mkdtempSync(join(tmpdir(), 'nimbus-bench-'));
  const [config, data, readyFile] = [join(root, 'nimbus.toml'), join(root, 'data'), join(root, 'ready.json')];
  writeFileSync(config, `[ec2]\nlisten = "127.0.0.1:0"\n${toml}`);
  const child = spawn(process.execPath, [NIMBUS, 'serve', '--config', config, '--data', data, '--ready-file', readyFile], { stdio: ['ignore', 'ignore', 'inherit'] });
  await ready(child, readyFile);
  const { ec2, pid } = JSON.parse(readFileSync(readyFile, 'utf8')) as { ec2: string; pid: number };
  const admin = async (...args: string[]): Promise<unknown> =>
    JSON.parse((await run(process.execPath, [NIMBUS, ...args, '--data', data, '--json'], { maxBuffer: 2 ** 28 })).stdout);
  const credentials = (await admin('user', 'add', 'bench')) as { accessKey: string; secretKey: string };
  return {
    ec2, pid, dataDir: data, credentials, admin,
    cpuMs: () => cpuMs(pid),
    rssMb: () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024,
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      rmSync(root, { recursive: true, force: true });
    },
  };
}

async function ready(child: ChildProcess, file: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!existsSync(file)) {
    if (child.exitCode !== null) throw new Error(`nimbus serve ended with ${child.exitCode}`);
    if (Date.now() > deadline) throw new Error('nimbus serve did not become ready within a minute');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Fields 14 and 15 of /proc/PID/stat are user and system time in ticks of 10 ms (proc(5)). */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const mid = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[mid] ?? NaN) : ((sorted[mid - 1] ?? NaN) + (sorted[mid] ?? NaN)) / 2;
};

/** Nodes with a simulated VMM and room for many small VMs. */
export const simulatedNodes = (count: number, memoryMb: number, startMs = 0): string => `
[simulated]
start_ms = ${startMs}
stop_ms = 0
[types."m1.small"]
memory_mb = 1
cores = 1
${Array.from({ length: count }, (_, i) => `[[local_nodes]]\nname = "n${i + 1}"\ndriver = "simulated"\nmemory_mb = ${memoryMb}\ncores = ${memoryMb}\n`).join('')}`;
