/**
 * What grid clients do with leases that exist. Each asks for a state: who asks for the one that holds, or is on its way, is
 * answered with success. Of a group everything that can be changed is changed, in one transaction.
 */
import { Fault, isFault } from '../lease/faults.ts';
import { isName } from '../lease/ids.ts';
import { transition, type LeaseState, type Trigger } from '../lease/states.ts';
import { looksLikeId } from '../images/lookup.ts';
import { usableImageByName } from '../store/images.ts';
import { lockLeases, type LockedLease } from '../store/leases.ts';
import type { ManagerDeps } from './deps.ts';
import { follow } from './follow.ts';
import { accountOf } from './named-leases.ts';
import { requireEndable, requireStoppable, start, STARTED } from './power.ts';
import { TransitionBatch, type Cause } from './transitions.ts';
import type { Caller } from './types.ts';

export type Change =
  | { readonly to: 'start' | 'shutdown' | 'pause' | 'serialize' | 'reboot' | 'end' }
  /** The VM ends, its disk becomes an image: of this name, or one that the service gives. */
  | { readonly to: 'save'; readonly name: string | null };

interface Named {
  readonly id: string;
  readonly number: number;
}

/** @throws Fault StateRefused, PartlyDone, ImageExists, ParameterInvalid */
export async function changeWorkspaces(deps: ManagerDeps, caller: Caller, workspaces: readonly Named[], change: Change): Promise<void> {
  const names = await imageNames(deps, caller, workspaces, change);
  const refused = new Map<number, string>();
  const effects = await deps.db.transaction(async (tx) => {
    refused.clear();
    const leases = new Map((await tx.query(lockLeases, [workspaces.map((w) => w.id), accountOf(caller)])).map((l) => [l.id, l]));
    const batch = new TransitionBatch(deps.ctx.random, deps.ctx.clock.now(), deps.config.accounting.charge_granularity, deps.self?.id() ?? null);
    for (const w of workspaces) {
      const lease = leases.get(w.id);
      const why = lease === undefined ? 'is over' : apply(deps, batch, lease, caller, change, names.get(w.id) ?? null);
      if (why !== undefined) refused.set(w.number, why);
    }
    return batch.write(tx);
  });
  follow(deps, effects);
  if (refused.size > 0) throw refusal(workspaces, refused, change);
}

const CANNOT_SERIALIZE = 'is on a node whose agent cannot keep the memory of a VM that does not run';

function refusal(workspaces: readonly Named[], refused: ReadonlyMap<number, string>, { to }: Change): Fault {
  const failures = [...refused].map(([number, why]) => `workspace ${number} ${why}`);
  if (refused.size === workspaces.length && [...refused.values()].every((why) => why === CANNOT_SERIALIZE)) {
    return new Fault('SerializeUnsupported', 'Serialize is not possible here: use Pause, which keeps the memory while the node runs, or ReadyForTransport, which keeps the disk', failures);
  }
  if (refused.size === workspaces.length) return new Fault('StateRefused', `Operation ${to} is not possible now`, failures);
  const done = workspaces.filter((w) => !refused.has(w.number)).map((w) => `workspace ${w.number}: ${to} succeeded`);
  return new Fault('PartlyDone', `Operation ${to} succeeded for ${done.length} of ${workspaces.length} workspaces`, [...failures, ...done]);
}

/** States that are what is asked for, or on the way there. */
const ALREADY: Readonly<Record<Change['to'], readonly LeaseState[]>> = {
  start: STARTED,
  // To its user a serialized one is shut down already; that its memory is kept besides is more than was asked for.
  shutdown: ['ShuttingDown', 'Propagated', 'Serialized'],
  pause: ['Pausing', 'Paused'],
  serialize: ['Serializing', 'Serialized'],
  reboot: ['Rebooting'],
  save: ['ReadyingForTransport', 'ReadyForTransport'],
  end: ['Ending', 'Terminated'],
};
const TRIGGER: Readonly<Record<Exclude<Change['to'], 'start'>, Trigger>> = { shutdown: 'shutdown', pause: 'pause', serialize: 'serialize', reboot: 'reboot', save: 'make-transportable', end: 'end' };

/** Undefined when it was done; else why it cannot be. */
function apply(deps: ManagerDeps, batch: TransitionBatch, lease: LockedLease, caller: Caller, change: Change, saveAs: string | null): string | undefined {
  const { to } = change;
  const cause: Omit<Cause, 'trigger'> = { actor: caller.admin ? 'admin' : 'user', who: caller.name, why: '', at: deps.ctx.clock.now(), requestId: caller.requestId };
  if (to === 'start' && start(batch, lease, cause)) return undefined;
  if (ALREADY[to].includes(lease.state)) return undefined;
  if (to === 'start') return `is ${lease.state}`;
  // Only of one that could be: what has no VM yet, or no node, says its state.
  if (to === 'serialize' && !lease.serializes && transition(lease.state, 'serialize') !== undefined) return CANNOT_SERIALIZE;
  const protection = protectedFrom(lease, to, cause);
  if (protection !== undefined) return protection;
  const ended = { reasonCode: 'Client.UserInitiatedShutdown', reason: `ended by ${caller.name}` };
  const before = lease.save_as;
  if (to === 'save') lease.save_as = saveAs;
  if (batch.apply(lease, { ...cause, trigger: TRIGGER[to] }, to === 'end' ? ended : {})) return undefined;
  lease.save_as = before;
  return `is ${lease.state}`;
}

/** Why its user may not do it before he takes that back. */
function protectedFrom(lease: LockedLease, to: Change['to'], cause: Omit<Cause, 'trigger'>): string | undefined {
  try {
    if (to === 'end') requireEndable(lease, cause);
    if (to === 'shutdown' || to === 'serialize' || to === 'save') requireStoppable(lease, cause);
    return undefined;
  } catch (e) {
    if (isFault(e)) return `is protected: ${e.text}`;
    throw e;
  }
}

/** Image names that saving gives, one for each lease. @throws Fault ImageExists, ParameterInvalid */
async function imageNames({ db }: ManagerDeps, caller: Caller, workspaces: readonly Named[], change: Change): Promise<ReadonlyMap<string, string>> {
  if (change.to !== 'save') return new Map();
  const names = workspaces.map((w): [string, string] => [w.id, change.name === null ? `saved-${w.id}` : workspaces.length === 1 ? change.name : `${change.name}-${w.number}`]);
  for (const [, name] of names) {
    if (!isName(name) || looksLikeId(name)) throw new Fault('ParameterInvalid', `${JSON.stringify(name.slice(0, 100))} cannot be the name of an image`);
    const [image] = change.name === null ? [] : await db.query(usableImageByName, [caller.accountId, name]);
    if (image !== undefined && image.account_id === caller.accountId) throw new Fault('ImageExists', `An image named ${name} exists already; no image is overwritten`);
  }
  return new Map(names);
}

