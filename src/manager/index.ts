/** The manager: the only way in for doors and workers. Each use case is one transaction. */
import { attributeCases } from './attributes.ts';
import { createCredentials } from './credentials.ts';
import { diskSizes } from './disk-sizes.ts';
import { openBudgets, withinDuration } from './budgets.ts';
import { createLeaseCreator, placeWithin, type Created } from './create-queue.ts';
import type { ManagerDeps } from './deps.ts';
import { withFullRights } from './full-rights.ts';
import { boundDigests, checkEnsemble } from './ensembles.ts';
import { imageCases } from './images.ts';
import { keyCases } from './keys.ts';
import { leaseCases, type LeaseCases } from './leases.ts';
import { borrowedNodes } from './placing/borrowed.ts';
import { ownedNodes } from './placing/owned.ts';
import type { Placer } from './placing/types.ts';
import { nodeCases, type NodeCases } from './nodes.ts';
import { createRecorder, type Recorder } from './recorder.ts';
import { prune, type Pruned } from './retention.ts';
import { requestHash, resolveOrder } from './resolve.ts';
import type { Order } from './resolved.ts';
import { securityGroupCases } from './security-groups.ts';
import { createWithRoom } from './preemption.ts';
import { refuseUnlent, spotCases } from './spot.ts';
import { roomPromised, spotTurns } from './spot-turns.ts';
import { createSignatures } from './signatures.ts';
import { siteCases } from './site.ts';
import { subscriptionCases, type Subscriptions } from './subscriptions.ts';
import { slotWork } from './slots/index.ts';
import type { SlotWork } from './slots/types.ts';
import { tagCases } from './tags.ts';
import type { Caller, GroupView, Manager } from './types.ts';
import { Fault, isFault } from '../lease/faults.ts';
import type { CreateRequest } from '../lease/types.ts';
import { isUnavailable } from '../store/db.ts';
import { groupsByToken, leasesOfGroup } from '../store/leases.ts';
import { leaseView, readLeases } from './view.ts';
import { workspaceCases, type Workspaces } from './workspaces.ts';

/** The manager as workers see it. */
export interface WorkerManager {
  readonly nodes: NodeCases;
  readonly recorder: Recorder;
  sweep(): Promise<number>;
  /** Removes a batch of what is old. */
  prune(): Promise<Pruned>;
  /** Gives waiting spot requests their leases; returns how many. */
  spot(): Promise<number>;
  /** Pilot mode's work; also after the mode was changed, for slots that are left. */
  readonly slots: SlotWork;
}

export interface FullManager extends Manager {
  readonly leases: Manager['leases'] & Pick<LeaseCases, 'forget'>;
  /** Leases as grid clients know them. */
  readonly workspaces: Workspaces;
  readonly subscriptions: Subscriptions;
  readonly work: WorkerManager;
}

export function createManager(given: Omit<ManagerDeps, 'placer'>): FullManager {
  const deps: ManagerDeps = { ...given, placer: placerOf(given) };
  const create = createLeaseCreator(deps);
  const cases = leaseCases(deps);
  const recorder = createRecorder(deps);

  async function createOrder(caller: Caller, requests: readonly CreateRequest[], dry: boolean): Promise<GroupView[]> {
    const order = await resolveOrder(deps, caller, requests).then(async (resolved) => {
      await deps.decision?.create(caller, resolved);
      await checkSpot(resolved);
      return resolved;
    }).catch((e: unknown) => {
      if (dry || requests.some((r) => r.clientToken === undefined) || isUnavailable(e)) throw e;
      return e as Error;
    });
    const created = order instanceof Error ? await madeEarlier(caller, requests, order) : dry ? await dryRun(order) : await createWithRoom(deps, order, () => create(order));
    return Promise.all(created.map(groupOf));
  }

  /** Preemptible leases take no room that is being made for others. */
  async function checkSpot(order: Order): Promise<void> {
    if (!order.some((r) => r.spot !== null)) return;
    refuseUnlent(deps);
    if (await roomPromised(deps)) throw new Fault('NoCapacity', 'No node has room now for preemptible instances', ['room is being made for others']);
  }

  async function groupOf({ groupId, repeated, leases }: Created): Promise<GroupView> {
    return { id: groupId, leases: leases ?? (await readLeases(deps.db, leasesOfGroup, [groupId])).map(leaseView), repeated };
  }

  /** A repeated request is answered as it was the first time, though its key pair or image is gone by now. */
  async function madeEarlier(caller: Caller, requests: readonly CreateRequest[], refusal: Error): Promise<Created[]> {
    const tokens = requests.map((r) => r.clientToken ?? null);
    const rows = await deps.db.query(groupsByToken, [requests.map(() => caller.accountId), tokens]);
    const known = new Map(rows.map((r) => [r.client_token, r]));
    return boundDigests(requests.map(requestHash), tokens).map((digest, i) => {
      const before = known.get(tokens[i] ?? '');
      if (before?.request_hash !== digest) throw refusal;
      return { groupId: before.id, repeated: true };
    });
  }

  async function dryRun(order: Order): Promise<never> {
    await deps.placer.ready();
    const placed = await deps.db.transaction(async (tx) => {
      const budgets = await openBudgets(tx, deps.config, [order[0].accountId], { now: deps.ctx.clock.now(), lock: true, kind: 'create' });
      await deps.placer.open(tx);
      return placeWithin(deps, withinDuration(order, budgets.of(order[0].accountId)), budgets);
    });
    if (isFault(placed)) throw placed;
    deps.placer.giveBack(order, placed);
    throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
  }

  const workspaces = workspaceCases(deps, async (caller, request) => (await createOrder(caller, [request], false))[0] ?? nothingMade());

  return withFullRights<FullManager>({
    leases: {
      create: async (caller, request, o) => (await createOrder(caller, [request], o?.dryRun === true))[0] ?? nothingMade(),
      async createEnsemble(caller, requests, o) {
        checkEnsemble(requests);
        return createOrder(caller, requests, o?.dryRun === true);
      },
      describe: cases.describe, end: cases.end, reboot: cases.reboot, start: cases.start, stop: cases.stop, setEnd: cases.setEnd,
      console: cases.console, events: cases.events, forget: cases.forget, diskBytes: diskSizes(deps), ...attributeCases(deps),
    },
    workspaces,
    subscriptions: subscriptionCases(deps, workspaces, () => deps.subscribed?.()),
    images: imageCases(deps),
    keys: keyCases(deps),
    securityGroups: securityGroupCases(deps),
    spot: spotCases(deps),
    tags: tagCases(deps),
    site: siteCases(deps),
    signatures: createSignatures(deps),
    credentials: createCredentials({ db: deps.db, clock: deps.ctx.clock }),
    work: { nodes: nodeCases(deps, recorder), recorder, sweep: cases.sweep, prune: () => prune(deps), spot: spotTurns(deps, (caller, request) => createOrder(caller, [request], false)), slots: slotWork(deps) },
  });
}

function nothingMade(): never {
  throw new Fault('Internal', 'the request was lost');
}

/** The mode decides how a placement becomes a node, and nothing else. */
function placerOf({ ctx, config, pool, borrowing }: Omit<ManagerDeps, 'placer'>): Placer {
  return borrowing === undefined ? ownedNodes({ pool, random: ctx.random }) : borrowedNodes({ ctx, config, borrowing });
}
