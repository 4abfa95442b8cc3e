/** A service for a bench, with its CPU and memory as the kernel counts them. */
import { readFileSync } from 'node:fs';
import { startServe, type Serve } from '../../test/support/serve.ts';

export interface BenchService extends Serve {
  readonly credentials: { accessKey: string; secretKey: string };
  /** User + system CPU of the service process so far, ms. */
  cpuMs(): number;
  /** Resident memory of the service process, MiB. */
  rssMb(): number;
}

export async function startBenchService(toml: string): Promise<BenchService> {
  const serve = await startServe(toml);
  return {
    ...serve,
    credentials: await serve.user('bench'),
    cpuMs: () => cpuMs(serve.pid),
    rssMb: () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${serve.pid}/status`, 'utf8'))?.[1] ?? 0) / 1024,
  };
}

/** Fields 14 and 15 of /proc/PID/stat are user and system time in ticks of 10 ms (proc(5)). */
export function cpuMs(pid: number): number {
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
