/** Callers with limited rights may look, and change nothing. What is added to the manager is refused to them until it is listed here. */
import { Fault } from '../lease/faults.ts';
import type { Caller, Manager } from './types.ts';

/** Calls that change nothing, by room; a room without a list takes no caller. */
const LOOKING: Readonly<Record<string, readonly string[]>> = {
  leases: ['describe', 'diskBytes', 'attributes', 'console', 'events'], images: ['list', 'grants'], keys: ['list'], tags: ['list'], securityGroups: ['list'], spot: ['list'],
  workspaces: ['find', 'report', 'list', 'associations', 'minutes'], subscriptions: ['find', 'latest'],
};
const WITHOUT_CALLER = new Set<string>(['site', 'signatures', 'credentials', 'work']);

export function withFullRights<M extends Manager>(manager: M): M {
  return Object.fromEntries(Object.entries(manager).map(([room, calls]) => [room, WITHOUT_CALLER.has(room) ? calls : guarded(room, calls as Calls)])) as M;
}

type Calls = Readonly<Record<string, (caller: Caller, ...more: unknown[]) => unknown>>;

function guarded(room: string, calls: Calls): Calls {
  return Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, LOOKING[room]?.includes(name) === true ? call : (caller: Caller, ...more: unknown[]) => {
    if (caller.limited !== true) return call(caller, ...more);
    return Promise.reject(new Fault('NotAuthorized', 'A limited proxy may look, and change nothing: use a full one (grid-proxy-init without -limited).'));
  }]));
}
