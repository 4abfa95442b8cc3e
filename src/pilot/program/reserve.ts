/**
 * The way of a pilot through its stages (`stages.ts`): room is made, the service told, the end awaited, everything given
 * back. Nothing throws out of `run`: whatever happens after the node was touched leads to `giveBack`.
 */
import { within } from '../../control/agent/clock.ts';
import { VERSION } from '../../platform/version.ts';
import { openPilotAgent } from './agent.ts';
import { ServiceChannel } from './channel.ts';
import { parseContact } from './contact.ts';
import { waitEarly } from './early.ts';
import { exitOf } from './ending.ts';
import type { Reason } from './ending.ts';
import { giveBack } from './give-back.ts';
import { hostKeys, userName } from './host.ts';
import { enter } from './reservation.ts';
import type { Held, ReserveParts } from './reservation.ts';
import type { Room } from './room.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';

/** A step that never ends must not keep a node for ever; more than its steps may take by their own limits. */
const GIVE_BACK_MS = 300_000;

/** Resolves with the exit code when nothing of the slot is left, or what is left was said. Never rejects. */
export async function reserve(parts: ReserveParts): Promise<number> {
  const { ending, log, clock, args, budget, elapsedMs } = parts;
  const held: Held = {};
  const horizon = clock.after(args.durationS * 1000 - elapsedMs(), () => {
    // The batch system's own limit comes one grace after this.
    budget.start();
    ending.tell({ kind: 'horizon', why: `its ${args.durationS} s are over` });
  });
  const reason = await hold(parts, held).catch((e: unknown): Reason => {
    log.error('the pilot made a mistake', { why: stackOf(e) });
    return { kind: 'fault', why: String(e) };
  });
  horizon.cancel();
  log.info('the node is given back', { why: reason.why });
  const limitMs = budget.left() + GIVE_BACK_MS;
  const trouble = await within(clock, limitMs, giveBack(parts, held, reason), () => new Error(`it took longer than ${Math.round(limitMs / 1000)} s`)).catch((e: unknown) => {
    log.error('the node was not given back', { why: String(e) });
    return true;
  });
  return exitOf(reason, trouble);
}

/** Resolves with why the node is to be given back. */
async function hold(parts: ReserveParts, held: Held): Promise<Reason> {
  const { ending, notifier, log } = parts;
  const memoryMb = await makeRoom(parts, held).catch((e: unknown) => failed(parts, e));
  if (typeof memoryMb !== 'number') return memoryMb;
  if (ending.first !== undefined) return failed(parts, new PilotError(EXIT.actionFailed, ending.first.why));
  enter(parts, held, 'reserved');
  log.info('room is made', { memoryMb });
  const told = await tellReserved(parts, held, memoryMb);
  if (told !== null) return told;
  if (notifier !== null) openChannel(parts, held);
  const overseen = watchAgent(parts, held);
  const reason = await ending.reason;
  overseen.cancel();
  if (reason.kind === 'signal') await waitEarly(parts, held, (stage) => enter(parts, held, stage));
  return reason;
}

/** MiB that VMs may use. What was begun stands in `held`, also when this rejects. */
async function makeRoom(parts: ReserveParts, held: Held): Promise<number> {
  const { ending, name, config, stamps, notifier, clock, log, args } = parts;
  const [{ Room }, { createMechanism }] = await Promise.all([import('./room.ts'), import('./memory/index.ts')]);
  const ctx = { clock, log };
  const mechanism = createMechanism(config.node, ctx);
  const room = await Room.enter({ ctx, settings: config.node, mechanism, slot: name.slot, host: name.host, pilot: name.pilot }, ending.signal);
  held.room = room;
  notifier?.begin(`${room.dir}/spool`);
  enter(parts, held, 'reserving');
  stamps.mark('reduce-begun');
  const opening = openPilotAgent({
    stateDir: agentDir(room), config, mechanism: mechanism.name, clock, log, service: serviceOf(parts),
    onRelease: (why) => ending.tell({ kind: 'release', why }),
  }).then((agent) => { held.agent = agent; });
  // Both are awaited whatever becomes of the other: nothing may begin after the end has.
  const [reduced, opened] = await Promise.allSettled([room.reduce(args.memoryMb, ending.signal), opening]);
  stamps.mark('reduced');
  if (reduced.status === 'rejected') throw reduced.reason;
  if (opened.status === 'rejected') throw opened.reason;
  return reduced.value;
}

/** The node could not be made ready: that is said, and why. A reason from outside comes before what it has broken off. */
function failed({ ending, notifier, log, stamps }: ReserveParts, e: unknown): Reason {
  const { first } = ending;
  const why = e instanceof Error ? e.message : String(e);
  const known = e instanceof PilotError;
  if (!known && first === undefined) log.error('the pilot made a mistake', { why: stackOf(e) });
  const reason: Reason = first ?? (known ? { kind: 'failed', why, exit: e.exit } : { kind: 'fault', why });
  log.error('no room was made', { why: reason.why });
  notifier?.post({ state: 'reserved', code: exitOf(reason, false) || EXIT.actionFailed, text: reason.why, stamps: stamps.all() });
  return reason;
}

/** null when the service knows; else why the node is given back. */
async function tellReserved(parts: ReserveParts, held: Held, memoryMb: number): Promise<Reason | null> {
  const { notifier, config, ending, stamps, clock, args, elapsedMs, log } = parts;
  if (notifier === null || held.room === undefined) return null;
  stamps.mark('notify');
  const id = notifier.post({
    state: 'reserved', code: 0, stamps: stamps.all(),
    reserved: {
      memoryMb, until: Math.round(clock.now() + args.durationS * 1000 - elapsedMs()), version: VERSION,
      agent: { user: userName(), stateDir: agentDir(held.room), hostKeys: hostKeys() },
    },
  });
  const outcome = await Promise.race([notifier.delivered(id, config.reserveWaitS * 1000), ending.reason]);
  if (typeof outcome !== 'string') return outcome;
  if (outcome === 'delivered') {
    log.info('the service knows');
    return null;
  }
  if (ending.first !== undefined) return ending.first;
  const why = outcome === 'late' ? `the service was not reached within ${config.reserveWaitS} s` : 'the service did not take the message';
  return { kind: 'failed', why, exit: EXIT.actionFailed };
}

function openChannel({ config, credentials, contacts, clock, log, name, hex, random, budget }: ReserveParts, held: Held): void {
  const { agent } = held;
  if (credentials === null || !credentials.channel || agent === undefined) return;
  held.channel = new ServiceChannel({
    clock, log, credentials, contacts, name, random, cnonce: hex(8), ssh: config.sshWay, deadlineMs: () => budget.request(), serve: (peer) => agent.serve(peer),
  });
  held.channel.open();
}

/** An agent that ends by itself leaves a node that nobody can use. */
function watchAgent({ ending }: ReserveParts, { agent }: Held): { cancel: () => void } {
  let watched = true;
  void agent?.over.then(() => {
    if (watched) ending.tell({ kind: 'failed', why: 'the agent in the pilot has ended', exit: EXIT.actionFailed });
  });
  return { cancel: () => { watched = false; } };
}

/** The service that is asked first. */
export function serviceOf({ credentials, contacts, args }: Pick<ReserveParts, 'credentials' | 'contacts' | 'args'>): URL | null {
  if (credentials !== null) return new URL(contacts.at(0).url);
  return args.contact === undefined ? null : parseContact(args.contact).http;
}

const agentDir = (room: Room): string => `${room.dir}/control`;
const stackOf = (e: unknown): string => (e instanceof Error ? e.stack ?? e.message : String(e));
