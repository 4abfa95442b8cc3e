/**
 * A control client whose agents live in the test: each node keeps its VMs in a map and does what is asked, unless the test
 * says otherwise. For tests of manager and workers; agents themselves are tested for real elsewhere.
 */
import type { AgentError, AgentRequest, Done, DoneResult, VmEvent, VmInfo, VmState } from '../../src/control/protocol.ts';
import type { CallHandlers, ChannelState, ControlClient, NodeCall, NodeRef } from '../../src/control/types.ts';
import { Fault } from '../../src/lease/faults.ts';
import type { Clock } from '../../src/platform/context.ts';

export interface FakeNode {
  readonly vms: Map<string, VmInfo>;
  /** Every request that reached the node, in order. */
  readonly seen: AgentRequest[];
}

export interface FakeControl extends ControlClient {
  node(nodeId: number): FakeNode;
  /** Nodes answer by this instead; undefined = as usual. */
  answer: (nodeId: number, request: AgentRequest) => AgentError | 'silent' | 'busy' | undefined;
  /** Agents say that they keep the memory of VMs. */
  serializes: boolean;
  /** What it says that a saved disk has. */
  savedBytes: number;
  /** Does what is asked without a word about it. */
  perform(nodeId: number, request: AgentRequest): void;
  setUp(nodeId: number, up: boolean, reason?: string): void;
  exit(nodeId: number, lease: string, reason: string): void;
  /** As a node says it, true or not. */
  say(nodeId: number, event: VmEvent): void;
  /** Resolves when a request that `matches` has reached a node. */
  reached(matches: (nodeId: number, request: AgentRequest) => boolean): Promise<AgentRequest>;
}

/** More than one piece, the last one short. */
export const SAVED_DISK = Buffer.alloc(1300 * 512, 'a saved disk ');

const STATE_AFTER: Partial<Record<AgentRequest['op'], VmState>> = { remove: 'removed', pause: 'paused', save: 'saved', shutdown: 'propagated', propagate: 'propagated', serialize: 'serialized' };

export function createFakeControl(clock: Clock): FakeControl {
  const nodes = new Map<number, FakeNode & { up: boolean; reason: string | null }>();
  const stateListeners: Array<(s: ChannelState) => void> = [];
  const eventListeners: Array<Parameters<ControlClient['onVmEvent']>[0]> = [];
  const copied = new Set<string>();
  const waiters: Array<{ matches: (nodeId: number, r: AgentRequest) => boolean; resolve: (r: AgentRequest) => void }> = [];
  const get = (id: number) => {
    let n = nodes.get(id);
    if (n === undefined) nodes.set(id, (n = { vms: new Map(), seen: [], up: true, reason: null }));
    return n;
  };
  const state = (nodeId: number): ChannelState => {
    const n = get(nodeId);
    return {
      nodeId, up: n.up, connecting: false, reason: n.up ? null : n.reason, clockOffsetMs: 0,
      hello: n.up ? { program: 'workspace-control', version: '0.0.0', protocols: [1, 2], node: `n${nodeId}`, bootId: 'boot', pid: 1, driver: 'simulated', can: control.serializes ? ['serialize'] : [], at: clock.now() } : null,
    };
  };

  function perform(nodeId: number, r: AgentRequest): DoneResult | AgentError {
    const { vms } = get(nodeId);
    if (r.op === 'list') return { vms: [...vms.values()] };
    if (r.op === 'console') return { console: Buffer.from(`console of ${r.lease}`).toString('base64'), truncated: false, at: clock.now() };
    if (r.op === 'release') return { releasing: true };
    if (r.op === 'status' || r.op === 'info') return { code: 'BadRequest', message: 'not part of the fake' };
    const before = vms.get(r.lease);
    if (r.op === 'read-saved') {
      if (before?.state !== 'saved' && !copied.has(r.lease)) return { code: 'WrongState', message: `no disk of ${r.lease} was saved` };
      return { saved: SAVED_DISK.subarray(r.offset, r.offset + r.maxBytes).toString('base64'), totalBytes: control.savedBytes };
    }
    if (before !== undefined && before.generation > r.generation) return { code: 'StaleGeneration', message: 'stale' };
    if (r.op === 'copy') copied.add(r.lease);
    else copied.delete(r.lease);
    const vm: VmInfo = {
      lease: r.lease, generation: r.generation, state: STATE_AFTER[r.op] ?? 'running',
      memoryMb: 'vm' in r ? r.vm.memoryMb : before?.memoryMb ?? 0, cores: 1, image: '', pid: null,
      reach: { host: '127.0.0.1', sshPort: 42_000, forwarded: true }, startedAt: clock.now(), reason: null,
    };
    vms.set(r.lease, vm);
    return { vm };
  }

  function done(nodeId: number, r: AgentRequest): Done | 'silent' | 'busy' {
    const refused = control.answer(nodeId, r);
    if (refused === 'silent' || refused === 'busy') return refused;
    const at = clock.now();
    const result = refused ?? perform(nodeId, r);
    if ('code' in result) return { id: r.id, ok: false, error: result, stamps: { received: at, finished: at } };
    const stamps = r.op === 'start' ? { received: at, 'propagate-begun': at, propagated: at, 'start-begun': at, started: at, finished: at } : { received: at, finished: at };
    return { id: r.id, ok: true, result, stamps };
  }

  function deliver(nodeId: number, r: AgentRequest, handlers: CallHandlers): void {
    const n = get(nodeId);
    if (!n.up) return handlers.onAnswer({ nodeId, id: r.id, lost: 'unreachable', reason: n.reason ?? 'down' });
    n.seen.push(r);
    const answer = done(nodeId, r);
    if (answer === 'silent') handlers.onAnswer({ nodeId, id: r.id, lost: 'deadline', reason: 'no answer' });
    else if (answer === 'busy') handlers.onAnswer({ nodeId, id: r.id, lost: 'busy', reason: 'much waits for the node already' });
    else handlers.onAnswer({ nodeId, id: r.id, done: answer });
    for (const w of waiters.splice(0)) {
      if (w.matches(nodeId, r)) w.resolve(r);
      else waiters.push(w);
    }
  }

  const control: FakeControl = {
    answer: () => undefined,
    serializes: true,
    savedBytes: SAVED_DISK.length,
    perform: (nodeId, r) => void perform(nodeId, r),
    node: get,
    setNodes: (refs: readonly NodeRef[]) => refs.forEach((r) => {
      const known = nodes.has(r.id);
      get(r.id);
      if (!known) stateListeners.forEach((l) => l(state(r.id)));
    }),
    state,
    async call(calls: readonly NodeCall[], handlers: CallHandlers) {
      await Promise.resolve();
      for (const { nodeId, requests } of calls) for (const r of requests) deliver(nodeId, r, handlers);
    },
    async ask(nodeId, r) {
      if (!get(nodeId).up) throw new Fault('NodeUnreachable', 'down');
      if (r.op === 'release') get(nodeId).seen.push(r);
      const d = done(nodeId, r);
      if (d === 'silent') throw new Fault('NodeUnreachable', 'no answer');
      if (d === 'busy') throw new Fault('Busy', 'much waits for the node already');
      if (!d.ok) throw new Fault('NodeRefused', 'refused');
      return d;
    },
    async release(nodeId, why) {
      await control.ask(nodeId, { op: 'release', id: `release-${nodeId}`, deadlineMs: 1000, why });
    },
    onState: (l) => void stateListeners.push(l),
    onVmEvent: (l) => void eventListeners.push(l),
    setUp(nodeId, up, reason = 'connection refused') {
      Object.assign(get(nodeId), { up, reason });
      stateListeners.forEach((l) => l(state(nodeId)));
    },
    exit(nodeId, lease, reason) {
      const vm = get(nodeId).vms.get(lease);
      if (vm === undefined) throw new Error(`no VM ${lease}`);
      get(nodeId).vms.set(lease, { ...vm, state: 'stopped', reason });
      eventListeners.forEach((l) => l(nodeId, { kind: 'vm-exited', lease, generation: vm.generation, at: clock.now(), reason }));
    },
    say: (nodeId, event) => eventListeners.forEach((l) => l(nodeId, event)),
    reached: (matches) => new Promise((resolve) => waiters.push({ matches, resolve })),
    close: () => Promise.resolve(),
  };
  return control;
}
