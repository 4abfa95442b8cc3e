/** `nimbus serve` as a site runs it: the built program in a process and a data directory of its own. For tests and benches. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createAdminClient } from '../../src/cli/client.ts';
import { sleep } from '../../src/platform/deadline.ts';
import { realClock } from '../../src/platform/real.ts';

export const NIMBUS = fileURLToPath(new URL('../../bin/nimbus.mjs', import.meta.url));
const READY_MS = 150_000;
const STOP_MS = 120_000;
const NODES_MS = 60_000;
const LOOK_MS = 100;
/** The service's own words when nodes were not there within its patience. */
const WITHOUT_NODES = 'starting without them';
/** Benches leave thousands of simulated leases, which are no processes. */
const MOST_ENDED = 100;
const run = promisify(execFile);

export interface Serve {
  readonly ec2: string;
  readonly pid: number;
  readonly process: ChildProcess;
  readonly root: string;
  readonly dataDir: string;
  /** What the service wrote to its log so far. */
  log(): string;
  /** The `nimbus` command against this service: parsed JSON. */
  admin<T = unknown>(...args: string[]): Promise<T>;
  user(name: string): Promise<{ accessKey: string; secretKey: string }>;
  /** SIGTERM, waits for the exit; the exit code. Files stay when `keep`. */
  stop(options?: { keep?: boolean }): Promise<number | null>;
  /** SIGKILL to the service's whole process group; files stay. */
  kill(): Promise<void>;
}

/**
 * `root`: a directory that an earlier service left, to start on its data again. `within`: a command that runs another, such
 * as `nsenter`, before the service's own. `lacking`: some of its nodes are not there, and are not waited for.
 */
export async function startServe(toml: string, root = mkdtempSync(join(tmpdir(), 'serve-')), within: readonly string[] = [], lacking = false): Promise<Serve> {
  const [config, dataDir, readyFile, logFile] = [join(root, 'nimbus.toml'), join(root, 'data'), join(root, 'ready.json'), join(root, 'service.log')];
  const listen = toml.includes('[ec2]') ? '' : '[ec2]\nlisten = "127.0.0.1:0"\n';
  const monitoring = toml.includes('[monitoring]') ? '' : '[monitoring]\nlisten = "127.0.0.1:0"\n';
  writeFileSync(config, `${toml}\n${listen}${monitoring}[log]\nfile = ${JSON.stringify(logFile)}\n`);
  rmSync(readyFile, { force: true });
  // A process group of its own, so that a test can end exactly this group.
  const [program = '', ...before] = [...within, process.execPath];
  const log = (): string => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
  const said = log().length;
  const child = spawn(program, [...before, NIMBUS, 'serve', '--config', config, '--data', dataDir, '--ready-file', readyFile], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString()).slice(-20_000); });
  await fileAppears(readyFile, child, () => stderr);
  const { ec2, pid } = JSON.parse(readFileSync(readyFile, 'utf8')) as { ec2: string; pid: number };
  if (!lacking && log().slice(said).includes(WITHOUT_NODES)) await nodesAnswer(dataDir);
  const admin = async <T>(...args: string[]): Promise<T> =>
    JSON.parse((await run(process.execPath, [NIMBUS, ...args, '--data', dataDir, '--json'], { maxBuffer: 2 ** 28 })).stdout) as T;
  const ended = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit', { signal: AbortSignal.timeout(STOP_MS) });
  };
  return {
    ec2, pid, process: child, root, dataDir, admin,
    log,
    user: (name) => admin('user', 'add', name),
    async stop(options = {}) {
      if (options.keep !== true) await endLeases(admin);
      child.kill('SIGTERM');
      await ended();
      // Its agents end a moment after it, with a last word to their logs.
      if (options.keep !== true) rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
      return child.exitCode;
    },
    async kill() {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
      await ended();
    },
  };
}

/** A test that failed half-way leaves leases, whose VMs would outlive their service. */
async function endLeases(admin: Serve['admin']): Promise<void> {
  const deadline = performance.now() + STOP_MS;
  for (;;) {
    const live = await admin<Array<{ id: string; state: string }>>('lease', 'list').catch(() => []);
    const open = live.filter((l) => l.state !== 'Ending').map((l) => l.id);
    if (live.length === 0 || live.length > MOST_ENDED || performance.now() > deadline) return;
    // A failure shows in the next look.
    if (open.length > 0) await admin('lease', 'destroy', ...open).catch(() => undefined);
  }
}

/** On a machine under load agents may need longer than the service waits for them; who asks for leases at once has nodes then. */
async function nodesAnswer(dataDir: string): Promise<void> {
  const deadline = realClock.monotonic() + NODES_MS;
  // Of one that has ended meanwhile its caller hears by the next request.
  const nodes = (): Promise<Array<{ reachable: boolean }>> => createAdminClient(dataDir).get<Array<{ reachable: boolean }>>('/v1/nodes').catch(() => []);
  while ((await nodes()).some((n) => !n.reachable) && realClock.monotonic() < deadline) await sleep(realClock, LOOK_MS);
}

/** Resolves when the ready file is there; it is renamed into place. */
function fileAppears(file: string, child: ChildProcess, said: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    const watcher = watch(join(file, '..'), () => { if (existsSync(file)) settle(); });
    const timer = setTimeout(() => settle(new Error(`nimbus serve did not become ready within ${READY_MS} ms: ${said()}`)), READY_MS);
    const onExit = (code: number | null): void => settle(new Error(`nimbus serve ended with ${code}: ${said()}`));
    child.once('exit', onExit);
    function settle(error?: Error): void {
      watcher.close();
      clearTimeout(timer);
      child.off('exit', onExit);
      if (error === undefined) resolve();
      else reject(error);
    }
    if (existsSync(file)) settle();
  });
}
