/** Leases as grid clients know them: named by number, group or ensemble. What has ended, or was destroyed by its owner, is unknown. */
import { Fault } from '../lease/faults.ts';
import { STATES, type VisibleState } from '../lease/states.ts';
import type { CreateRequest } from '../lease/types.ts';
import { createBatcher } from '../platform/batcher.ts';
import type { Statement } from '../store/db.ts';
import {
  accountMinutes, gridLeasesByNumber, gridLeasesOfAccount, gridLeasesOfEnsemble, gridLeasesOfGroup, gridLeasesOfGroupId, type GridLeaseRow,
} from '../store/grid.ts';
import { networkNames } from '../store/networks.ts';
import type { ManagerDeps } from './deps.ts';
import { launchEnsemble } from './launch.ts';
import { accountOf } from './named-leases.ts';
import type { Caller, GroupView, LeaseView } from './types.ts';
import { leaseView } from './view.ts';
import { changeWorkspaces, type Change } from './workspace-changes.ts';

export type { Change };

/** One lease by its number, all of a group, or all of an ensemble. */
export type Which = { readonly number: number } | { readonly group: string } | { readonly ensemble: string };

export interface Workspace extends LeaseView {
  readonly number: number;
  readonly visible: VisibleState;
  readonly durationS: number;
  /** Of the request that made it; null when it came through another door. */
  readonly grid: { readonly group: string; readonly ensemble: string | null; readonly name: string; readonly nics: readonly string[]; readonly architecture: string; readonly cores: boolean } | null;
}

export interface Workspaces {
  create(caller: Caller, request: CreateRequest): Promise<Workspace[]>;
  /** At least one. @throws Fault LeaseNotFound, GroupNotFound, EnsembleNotFound */
  find(caller: Caller, which: Which): Promise<Workspace[]>;
  /** All of an ensemble, those that failed or whose time was over too. @throws Fault EnsembleNotFound when none is left */
  report(caller: Caller, ensemble: string): Promise<Workspace[]>;
  /** The caller's own. */
  list(caller: Caller): Promise<Workspace[]>;
  /** One message to each node. What cannot be changed is refused together, after the others were changed. @throws Fault PartlyDone, StateRefused */
  change(caller: Caller, which: Which, change: Change): Promise<void>;
  /** Places a gathered ensemble. */
  launch(caller: Caller, ensemble: string): Promise<void>;
  /** Names of the networks that NICs may be associated with. */
  associations(): Promise<string[]>;
  /** The caller's own, in minutes. */
  minutes(caller: Caller): Promise<{ reserved: number; charged: number }>;
}

const MOST_LISTED = 10_000;
const MOST_AT_ONCE = 64;
const MOST_WAITING = 4_096;

export function workspaceCases(deps: ManagerDeps, create: (caller: Caller, request: CreateRequest) => Promise<GroupView>): Workspaces {
  const read = async (which: Statement<{ leases: GridLeaseRow[] }>, values: readonly unknown[]): Promise<Workspace[]> =>
    ((await deps.db.query(which, values))[0]?.leases ?? []).map(workspaceOf);

  // Clients ask for one workspace again and again: those that ask while a statement is on its way share the next one.
  const byNumber = createBatcher<number, Workspace[]>({
    most: MOST_AT_ONCE,
    mostWaiting: MOST_WAITING,
    wholeTurn: true,
    full: () => new Fault('Busy', 'Too many requests for workspaces are waiting; try again shortly.'),
    async run(numbers) {
      const found = await read(gridLeasesByNumber, [[...new Set(numbers)]]);
      return numbers.map((n) => found.filter((w) => w.number === n));
    },
  });

  async function find(caller: Caller, which: Which): Promise<Workspace[]> {
    const account = accountOf(caller);
    const all = 'number' in which ? (await byNumber.add(which.number)).filter((w) => account === null || w.accountId === account)
      : 'group' in which ? await read(gridLeasesOfGroup, [which.group, account]) : await read(gridLeasesOfEnsemble, [which.ensemble, account]);
    const there = all.filter(isThere);
    if (there.length === 0) throw unknown(which);
    return there;
  }

  return {
    find,
    async create(caller, request) {
      const { id } = await create(caller, request);
      return read(gridLeasesOfGroupId, [id, caller.accountId]);
    },
    async report(caller, ensemble) {
      const all = (await read(gridLeasesOfEnsemble, [ensemble, accountOf(caller)])).filter((w) => !byOwner(w));
      if (!all.some(isThere)) throw unknown({ ensemble });
      return all;
    },
    list: async (caller) => (await read(gridLeasesOfAccount, [MOST_LISTED, caller.accountId])).filter(isThere),
    async change(caller, which, change) {
      await changeWorkspaces(deps, caller, await find(caller, which), change);
    },
    launch: (caller, ensemble) => launchEnsemble(deps, caller, ensemble),
    associations: async () => (await deps.db.query(networkNames)).map((n) => n.name),
    async minutes(caller) {
      const [row] = await deps.db.query(accountMinutes, [caller.accountId]);
      return row ?? { reserved: 0, charged: 0 };
    },
  };
}

const byOwner = (w: Workspace): boolean => (w.state === 'Ending' || w.state === 'Terminated') && w.reasonCode === 'Client.UserInitiatedShutdown';

const isThere = (w: Workspace): boolean => !STATES[w.state].final && !byOwner(w);

function unknown(which: Which): Fault {
  if ('number' in which) return new Fault('LeaseNotFound', `unknown workspace: '${which.number}'`);
  return 'group' in which ? new Fault('GroupNotFound', `unknown group: '${which.group}'`) : new Fault('EnsembleNotFound', `unknown ensemble: '${which.ensemble}'`);
}

function workspaceOf(r: GridLeaseRow): Workspace {
  return {
    ...leaseView(r), number: r.seq, visible: STATES[r.state].visible, durationS: r.duration_s,
    grid: r.grid === null ? null : { group: r.grid.key, ensemble: r.grid.ensemble, ...r.grid.facts },
  };
}
