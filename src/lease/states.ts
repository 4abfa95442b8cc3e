/**
 * The life of a lease, as data.
 *
 * A lease begins `Pending` when a batch system has yet to give it a node, or `Unpropagated` when its node is chosen.
 * The node's agent fetches the image (`Propagating`, `Propagated`), starts the VM (`Starting`) and reports `Running`.
 * From there the user may reboot, pause, resume, shut down and start again, serialize, or make the image ready for
 * transport; each of these has a transitional state that ends when the agent reports. Every lease has an end: by its
 * owner, an administrator, the sweeper at the end of its time, or its VM's own exit, it goes through `Ending` to
 * `Terminated`. A VM whose user wants it so comes to rest at its own exit (`powered-off`), with its disk, as after a
 * shutdown. A serialized lease goes on where it was stopped, through `Starting`, and is `Serialized` again when it cannot.
 * What fails goes to `Corrupted`, whose only way out is the end.
 *
 * `originals` are the internal state numbers of the original service (Nimbus 2.10.1) that a state stands for;
 * `visible` is what its WSRF clients see (`wt:state`); `ec2` is the EC2 instance state (name and code).
 */
export const LEASE_STATES = [
  'Pending', 'Unpropagated', 'Propagating', 'Propagated', 'Starting', 'Running', 'Rebooting', 'Pausing', 'Paused',
  'Resuming', 'ShuttingDown', 'Serializing', 'Serialized', 'ReadyingForTransport', 'ReadyForTransport',
  'StagingOut', 'StagedOut', 'Ending', 'Terminated', 'Corrupted',
] as const;
export type LeaseState = (typeof LEASE_STATES)[number];

export type VisibleState = 'Unpropagated' | 'Propagated' | 'Running' | 'Paused' | 'TransportReady' | 'Cancelled' | 'Corrupted';
export type Ec2State = 'pending' | 'running' | 'stopping' | 'stopped' | 'shutting-down' | 'terminated';

/** EC2 instance state codes (low byte), from the EC2 API reference, type InstanceState. */
export const EC2_STATE_CODE: Readonly<Record<Ec2State, number>> = {
  pending: 0, running: 16, 'shutting-down': 32, terminated: 48, stopping: 64, stopped: 80,
};

export interface StateFacts {
  readonly visible: VisibleState;
  readonly ec2: Ec2State;
  readonly originals: readonly number[];
  /** A VM process may exist on the node. Of a serialized one the memory is there. */
  readonly vm: boolean;
  /** The lease is over; nothing changes any more but its visibility. */
  readonly final: boolean;
  /** Passing: ends when an agent or the batch system reports. */
  readonly transitional: boolean;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const facts = (visible: VisibleState, ec2: Ec2State, originals: readonly number[], flags: string): StateFacts => ({
  visible, ec2, originals,
  vm: flags.includes('v'), final: flags.includes('f'), transitional: flags.includes('t'),
});

export const STATES: Readonly<Record<LeaseState, StateFacts>> = {
  Pending: facts('Unpropagated', 'pending', [-1], 't'),
  Unpropagated: facts('Unpropagated', 'pending', [0, 1, 2], 't'),
  Propagating: facts('Unpropagated', 'pending', [3, 4, 5], 't'),
  Propagated: facts('Propagated', 'pending', [6], ''),
  Starting: facts('Propagated', 'pending', [7], 'vt'),
  Running: facts('Running', 'running', [8], 'v'),
  Rebooting: facts('Running', 'running', [13], 'vt'),
  Pausing: facts('Running', 'running', [11], 'vt'),
  Paused: facts('Paused', 'stopped', [12], 'v'),
  Resuming: facts('Paused', 'pending', [], 'vt'),
  ShuttingDown: facts('Running', 'stopping', [14], 'vt'),
  Serializing: facts('Running', 'stopping', [9], 'vt'),
  Serialized: facts('Propagated', 'stopped', [10], ''),
  ReadyingForTransport: facts('Propagated', 'stopping', [15], 'vt'),
  ReadyForTransport: facts('TransportReady', 'stopped', [16], ''),
  StagingOut: facts('TransportReady', 'shutting-down', [17], 't'),
  StagedOut: facts('TransportReady', 'stopped', [18], ''),
  Ending: facts('Cancelled', 'shutting-down', [...range(19, 28), -128], 'vt'),
  Terminated: facts('Cancelled', 'terminated', [-256, -2], 'f'),
  Corrupted: facts('Corrupted', 'terminated', range(29, 58), 'v'),
};

/**
 * What EC2 clients see. At rest with the disk of a VM that ran before (`ran`) a lease is stopped; before its first start it is on
 * its way. A disk that is saved because the node is taken away (`leaves`) is the last that is done with its lease.
 */
export function ec2State(state: LeaseState, ran: boolean, leaves = false): Ec2State {
  if (state === 'ReadyingForTransport' && leaves) return 'shutting-down';
  return state === 'Propagated' && ran ? 'stopped' : STATES[state].ec2;
}

/** Why it was stopped says nothing of a lease that has been started again. */
export function isPastReason(reasonCode: string | null, state: Ec2State): boolean {
  return reasonCode?.startsWith('Client.') === true && (state === 'running' || state === 'pending');
}

/** Who may cause a transition. */
export type Actor = 'user' | 'admin' | 'agent' | 'sweeper' | 'service' | 'slot';

export type Trigger =
  | 'placed' | 'propagate-begun' | 'propagated' | 'start-begun' | 'started'
  | 'reboot' | 'rebooted' | 'pause' | 'paused' | 'resume' | 'resumed'
  | 'shutdown' | 'shut-down' | 'powered-off' | 'start' | 'serialize' | 'serialized' | 'unserialize'
  | 'make-transportable' | 'transportable' | 'image-made' | 'copy' | 'copy-done' | 'stage-out' | 'staged-out'
  | 'not-started' | 'refused' | 'failed' | 'vm-exited' | 'end' | 'ended' | 'forget';

/** Work that a transition asks of an agent. */
export type IntentKind = 'start' | 'reboot' | 'pause' | 'resume' | 'shutdown' | 'serialize' | 'unserialize' | 'save' | 'copy' | 'remove';

export interface Transition {
  readonly from: readonly LeaseState[];
  readonly trigger: Trigger;
  readonly to: LeaseState;
  readonly by: readonly Actor[];
  /** The intent written with the transition; it raises the lease's generation. */
  readonly intent?: IntentKind;
}

const LIVE = LEASE_STATES.filter((s) => !STATES[s].final);
const TRANSITIONAL_ON_NODE: readonly LeaseState[] = [
  'Unpropagated', 'Propagating', 'Propagated', 'Starting', 'Rebooting', 'Pausing', 'Resuming', 'ShuttingDown',
  'Serializing', 'ReadyingForTransport', 'StagingOut',
];
const ASKING: readonly Actor[] = ['user', 'admin', 'service'];

export const TRANSITIONS: readonly Transition[] = [
  { from: ['Pending'], trigger: 'placed', to: 'Unpropagated', by: ['slot', 'service'], intent: 'start' },
  { from: ['Unpropagated'], trigger: 'propagate-begun', to: 'Propagating', by: ['agent'] },
  { from: ['Unpropagated', 'Propagating'], trigger: 'propagated', to: 'Propagated', by: ['agent'] },
  { from: ['Propagated'], trigger: 'start-begun', to: 'Starting', by: ['agent'] },
  { from: ['Unpropagated', 'Propagating', 'Propagated', 'Starting'], trigger: 'started', to: 'Running', by: ['agent'] },
  { from: ['Running'], trigger: 'reboot', to: 'Rebooting', by: ASKING, intent: 'reboot' },
  { from: ['Rebooting'], trigger: 'rebooted', to: 'Running', by: ['agent'] },
  { from: ['Running'], trigger: 'pause', to: 'Pausing', by: ASKING, intent: 'pause' },
  { from: ['Pausing'], trigger: 'paused', to: 'Paused', by: ['agent'] },
  { from: ['Paused'], trigger: 'resume', to: 'Resuming', by: ASKING, intent: 'resume' },
  { from: ['Resuming'], trigger: 'resumed', to: 'Running', by: ['agent'] },
  { from: ['Running', 'Rebooting', 'Paused'], trigger: 'shutdown', to: 'ShuttingDown', by: ASKING, intent: 'shutdown' },
  { from: ['ShuttingDown'], trigger: 'shut-down', to: 'Propagated', by: ['agent'] },
  { from: ['Starting', 'Running', 'Rebooting', 'Pausing', 'Paused', 'Resuming', 'Serializing', 'Serialized'], trigger: 'powered-off', to: 'Propagated', by: ['agent', 'service'] },
  { from: ['Propagated'], trigger: 'start', to: 'Starting', by: ASKING, intent: 'start' },
  // It has run before, and its disk is its user's. Whether the VM runs after all may not be known: it is ended, and rests.
  { from: ['Starting'], trigger: 'not-started', to: 'ShuttingDown', by: ['agent', 'service'], intent: 'shutdown' },
  { from: ['Unpropagated'], trigger: 'start', to: 'Unpropagated', by: ASKING, intent: 'start' },
  { from: ['Running', 'Paused'], trigger: 'serialize', to: 'Serializing', by: ASKING, intent: 'serialize' },
  { from: ['Serializing'], trigger: 'serialized', to: 'Serialized', by: ['agent'] },
  { from: ['Serialized'], trigger: 'unserialize', to: 'Starting', by: ASKING, intent: 'unserialize' },
  { from: ['Propagated', 'Running', 'Paused', 'Serialized'], trigger: 'make-transportable', to: 'ReadyingForTransport', by: [...ASKING, 'sweeper', 'slot'], intent: 'save' },
  // Its disk is copied while it runs; whatever else is asked of it ends the copy.
  { from: ['Running'], trigger: 'copy', to: 'Running', by: ASKING, intent: 'copy' },
  { from: ['Running'], trigger: 'copy-done', to: 'Running', by: ['agent', 'service'] },
  { from: ['ReadyingForTransport'], trigger: 'transportable', to: 'ReadyForTransport', by: ['agent'] },
  { from: ['ReadyingForTransport'], trigger: 'image-made', to: 'Propagated', by: ['agent'] },
  { from: ['ReadyForTransport'], trigger: 'stage-out', to: 'StagingOut', by: ['service', 'sweeper'] },
  { from: ['StagingOut'], trigger: 'staged-out', to: 'StagedOut', by: ['service', 'agent'] },
  { from: ['Rebooting'], trigger: 'refused', to: 'Running', by: ['agent', 'service'] },
  { from: ['Pausing'], trigger: 'refused', to: 'Running', by: ['agent', 'service'] },
  { from: ['Resuming'], trigger: 'refused', to: 'Paused', by: ['agent', 'service'] },
  { from: ['ShuttingDown', 'Serializing'], trigger: 'refused', to: 'Running', by: ['agent', 'service'] },
  { from: ['Starting'], trigger: 'refused', to: 'Serialized', by: ['agent', 'service'] },
  { from: ['ReadyingForTransport'], trigger: 'refused', to: 'Propagated', by: ['agent', 'service'] },
  { from: ['Pending', ...TRANSITIONAL_ON_NODE], trigger: 'failed', to: 'Corrupted', by: ['agent', 'slot', 'service'], intent: 'remove' },
  { from: [...LIVE.filter((s) => STATES[s].vm && s !== 'Ending' && s !== 'Corrupted' && s !== 'ReadyingForTransport'), 'Serialized'], trigger: 'vm-exited', to: 'Ending', by: ['agent', 'service'], intent: 'remove' },
  { from: LIVE.filter((s) => s !== 'Ending'), trigger: 'end', to: 'Ending', by: ['user', 'admin', 'sweeper', 'service', 'slot'], intent: 'remove' },
  { from: ['Ending'], trigger: 'ended', to: 'Terminated', by: ['agent', 'service'] },
  { from: LIVE, trigger: 'forget', to: 'Terminated', by: ['admin'] },
];

const INDEX: ReadonlyMap<string, Transition> = new Map(
  TRANSITIONS.flatMap((t) => t.from.map((from) => [`${from} ${t.trigger}`, t] as const)),
);

/** The row for `trigger` in state `from`, or undefined when it is illegal there. */
export function transition(from: LeaseState, trigger: Trigger): Transition | undefined {
  return INDEX.get(`${from} ${trigger}`);
}

export function isFinal(state: LeaseState): boolean {
  return STATES[state].final;
}
