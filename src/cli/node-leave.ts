/** Nodes that shall be empty: drained and waited for, or with the leases on them ended. */
import type { NodeView } from '../manager/admin-types.ts';
import type { LeaseChange, LeaseView } from '../manager/types.ts';
import { parseDuration } from '../lease/duration.ts';
import { sleep } from '../platform/deadline.ts';
import { path } from './client.ts';
import { each, refusal, type Env } from './env.ts';
import { Refused, Unreachable, UsageError } from './exit.ts';
import { printable } from './io.ts';
import { allLeases } from './leases.ts';
import { patiently } from './patience.ts';

const LOOK_MS = 1_000;
const MOST_NAMED = 10;
const GO_ON = 'to go on, give the same command again';

export interface WaitOptions {
  readonly timeout: string;
}

/** All are drained before any is waited for. */
export async function drainNodes(env: Env, names: readonly string[], o: WaitOptions & { wait?: boolean }): Promise<void> {
  const deadline = deadlineOf(env, o);
  const drained = new Map<string, () => NodeView>();
  for (const name of new Set(names)) {
    try {
      const node = await env.client.patch<NodeView>(path`/v1/nodes/${name}`, { active: false });
      drained.set(name, () => node);
    } catch (e) {
      drained.set(name, () => { throw e; });
      // The others would meet the same; those that were drained are told of, and waited for.
      if (e instanceof Unreachable) break;
    }
  }
  const result = async (name: string): Promise<NodeView> => {
    const node = drained.get(name)?.() as NodeView;
    return o.wait === true ? untilEmpty(env, node, deadline) : node;
  };
  await each(env, names, result, (n) => (n.leases === 0 ? `${n.name} takes no new leases; it holds none` : `${n.name} takes no new leases; it holds ${n.leases}`));
}

async function untilEmpty(env: Env, drained: NodeView, deadline: number): Promise<NodeView> {
  let before = -1;
  for (;;) {
    const node = (await patiently(env, () => env.client.get<NodeView[]>('/v1/nodes'), GO_ON)).find((n) => n.name === drained.name);
    if (node === undefined || node.leases === 0) return node ?? { ...drained, leases: 0 };
    if (node.leases !== before) progress(env, `${node.name} holds ${node.leases} ${node.leases === 1 ? 'lease' : 'leases'}`);
    before = node.leases;
    if (env.clock.monotonic() + LOOK_MS > deadline) throw new Refused('StillInUse', `it still holds ${count(node.leases)}`, await holding(env, node));
    await sleep(env.clock, LOOK_MS);
  }
}

export async function removeNodes(env: Env, names: readonly string[], o: WaitOptions & { endLeases?: boolean; why?: string }): Promise<void> {
  const deadline = deadlineOf(env, o);
  const remove = (name: string): Promise<void> => env.client.delete(path`/v1/nodes/${name}`);
  await each(env, names, (name) => (o.endLeases === true ? endAndRemove(env, name, o.why ?? `node ${name} is removed`, deadline, remove) : remove(name)), (_r, name) => `${name} was removed`);
}

async function endAndRemove(env: Env, name: string, why: string, deadline: number, remove: (name: string) => Promise<void>): Promise<void> {
  // Drained first: none is placed on it while its leases end.
  await env.client.patch<NodeView>(path`/v1/nodes/${name}`, { active: false });
  for (const lease of await patiently(env, () => leasesOn(env, name), GO_ON)) {
    const change = await patiently(env, () => env.client.post<LeaseChange>(path`/v1/leases/${lease.id}/destroy`, { why }), GO_ON).catch((e: unknown) => {
      if (!(e instanceof Refused)) throw e;
      progress(env, `${lease.id}: ${refusal(e).trim()}`);
      return undefined;
    });
    if (change !== undefined) progress(env, `${change.id} is ${change.after}, was ${change.before}`);
  }
  for (;;) {
    try {
      return await removeAgain(env, name, remove);
    } catch (e) {
      if (!(e instanceof Refused && e.code === 'NodeInUse')) throw e;
      if (env.clock.monotonic() + LOOK_MS > deadline) throw await notGone(env, name, e);
    }
    await sleep(env.clock, LOOK_MS);
  }
}

/** One whose answer was lost may have removed it. */
function removeAgain(env: Env, name: string, remove: (name: string) => Promise<void>): Promise<void> {
  let tries = 0;
  return patiently(env, () => {
    tries += 1;
    return remove(name).catch((e: unknown) => {
      if (tries === 1 || !(e instanceof Refused && e.code === 'NodeNotFound')) throw e;
    });
  }, GO_ON);
}

/** A node that does not answer confirms no end. */
async function notGone(env: Env, name: string, refused: Refused): Promise<Refused> {
  const node = (await env.client.get<NodeView[]>('/v1/nodes')).find((n) => n.name === name);
  if (node === undefined || node.reachable) return refused;
  return new Refused(refused.code, 'its leases were told to end, but it does not answer; if it will never come back: nimbus lease destroy --forget LEASE', await holding(env, node));
}

const leasesOn = async (env: Env, node: string): Promise<LeaseView[]> => (await allLeases(env, {})).filter((l) => l.node === node);

async function holding(env: Env, node: NodeView): Promise<string[]> {
  const leases = await leasesOn(env, node.name);
  const named = leases.slice(0, MOST_NAMED).map((l) => `lease ${l.id} of ${l.accountName} is ${l.state}`);
  return leases.length > MOST_NAMED ? [...named, `and ${leases.length - MOST_NAMED} more`] : named;
}

const count = (leases: number): string => `${leases} ${leases === 1 ? 'lease' : 'leases'}`;

function deadlineOf(env: Env, { timeout }: WaitOptions): number {
  const s = parseDuration(timeout);
  if (s === undefined) throw new UsageError(`"${timeout}" is no duration; write e.g. 90s, 5m or 2h`);
  return env.clock.monotonic() + s * 1000;
}

function progress(env: Env, what: string): void {
  if (env.io.watched) env.io.err(`${printable(what)}\n`);
}
