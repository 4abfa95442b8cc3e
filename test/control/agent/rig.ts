/** The agent's parts in this process: records, cache and executor over the simulated driver, in a directory of their own. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageCache } from '../../../src/control/agent/cache.ts';
import { realClock, type Clock } from '../../../src/control/agent/clock.ts';
import { DEFAULTS } from '../../../src/control/agent/config.ts';
import type { SimulatedConfig } from '../../../src/control/agent/config.ts';
import type { Driver } from '../../../src/control/agent/driver.ts';
import { createSimulatedDriver } from '../../../src/control/agent/drivers/simulated.ts';
import { Executor } from '../../../src/control/agent/executor.ts';
import { silentLog } from '../../../src/control/agent/log.ts';
import type { Reply } from '../../../src/control/agent/operation.ts';
import { answerQuestion } from '../../../src/control/agent/questions.ts';
import { Records } from '../../../src/control/agent/records.ts';
import { recoverVms } from '../../../src/control/agent/recover.ts';
import { Vms } from '../../../src/control/agent/vms.ts';
import type { AgentPhase, AgentRequest, Done, ImageRef, VmEvent, VmInfo, VmSpec } from '../../../src/control/protocol.ts';

export function scratch(): { dir: string; remove(): void } {
  const dir = mkdtempSync(join(tmpdir(), 'agent test '));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

export function makeImage(dir: string, bytes = 4096): ImageRef & { path: string; data: Buffer } {
  const data = randomBytes(bytes);
  const sha256 = createHash('sha256').update(data).digest('hex');
  const path = join(dir, `image-${sha256.slice(0, 8)}`);
  writeFileSync(path, data);
  return { id: `ami-${sha256.slice(0, 8)}`, sha256, format: 'raw', sizeBytes: bytes, path, data };
}

export function refOf({ id, sha256, format, sizeBytes, path }: ImageRef): ImageRef {
  return { id, sha256, format, sizeBytes, ...(path === undefined ? {} : { path }) };
}

export function specOf(image: ImageRef, lease = 'i-1'): VmSpec {
  return { memoryMb: 64, cores: 1, diskMb: 0, image: refOf(image), nics: [], seed: { instanceId: lease, hostname: lease, publicKeys: [] } };
}

let operations = 0;
export const opId = (): string => `op-${(operations += 1)}`;

export function start(lease: string, generation: number, image: ImageRef, id = opId(), deadlineMs = 20_000): AgentRequest {
  return { op: 'start', id, lease, generation, deadlineMs, vm: specOf(image, lease) };
}

export function leaseOp(op: 'remove' | 'reboot' | 'pause' | 'resume' | 'unpropagate' | 'save' | 'copy' | 'shutdown' | 'serialize', lease: string, generation: number, id = opId(), deadlineMs = 20_000): AgentRequest {
  return { op, id, lease, generation, deadlineMs };
}

export interface Rig {
  readonly dir: string;
  readonly executor: Executor;
  readonly records: Records;
  readonly cache: ImageCache;
  readonly driver: Driver;
  readonly vms: Vms;
  readonly events: VmEvent[];
  /** Every answer of `ask`, in the order given. */
  ask(request: AgentRequest): Promise<Done>;
  phases(id: string): AgentPhase[];
}

export async function makeRig(dir: string, options: { simulated?: Partial<SimulatedConfig>; cacheBytes?: number; parallel?: number; clock?: Clock; wrap?: (driver: Driver) => Driver } = {}): Promise<Rig> {
  const clock = options.clock ?? realClock;
  const log = silentLog;
  // As a real one, with a directory and a seed for each VM.
  const simulated = Object.assign(createSimulatedDriver({
    ...DEFAULTS.simulated, startMs: 0, stopMs: 0, ...options.simulated, clock, random: Math.random, file: join(dir, 'simulated.journal'),
  }), { fileless: false });
  const driver = options.wrap?.(simulated) ?? simulated;
  const records = new Records(join(dir, 'leases.journal'), clock, log);
  const events: VmEvent[] = [];
  const cache = new ImageCache({
    dir: join(dir, 'cache'), limitBytes: options.cacheBytes ?? 1024 * 1024 * 1024, clock, log,
    inUse: () => new Set(records.live().flatMap((r) => (r.sha256 === null ? [] : [r.sha256]))),
  });
  const vms = new Vms({ clock, log, driver, records, cache, vmsDir: join(dir, 'vms'), onEvent: (e) => events.push(e) });
  const executor = new Executor({
    clock, log, records, vms, parallel: options.parallel ?? 1024,
    ask: (question) => answerQuestion({ clock, driver, records, vms, stateDir: dir, cacheMb: 1 }, question),
  });
  await recoverVms({ clock, log, driver, records, vms });
  const phases = new Map<string, AgentPhase[]>();
  return {
    dir, executor, records, cache, driver, vms, events,
    ask: (request) => new Promise<Done>((resolve) => {
      const reply: Reply = {
        ack: () => undefined,
        progress: (id, phase) => phases.set(id, [...(phases.get(id) ?? []), phase]),
        done: resolve,
      };
      executor.submit(request, reply);
    }),
    phases: (id) => phases.get(id) ?? [],
  };
}

export function vmOf(done: Done): VmInfo {
  if (!done.ok) throw new Error(`${done.error.code}: ${done.error.message}`);
  if (!('vm' in done.result)) throw new Error('no VM in the answer');
  return done.result.vm;
}

export const codeOf = (done: Done): string => (done.ok ? 'ok' : done.error.code);
