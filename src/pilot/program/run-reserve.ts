/** `--reserveslot`: whom to tell, then the pilot's way; with `--evaluate` a look at everything, and no change. */
import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Clock } from '../../control/agent/clock.ts';
import type { Log } from '../../control/agent/log.ts';
import { silentLog } from '../../control/agent/log.ts';
import type { Credentials } from '../protocol.ts';
import type { ReserveArgs } from './args.ts';
import { Budget } from './budget.ts';
import type { PilotConfig } from './config.ts';
import { parseContact } from './contact.ts';
import { Contacts } from './contacts.ts';
import { readCredentials } from './credentials.ts';
import { exitOf } from './ending.ts';
import type { Ending } from './ending.ts';
import { Notifier } from './notifier.ts';
import { OriginalService } from './original-service.ts';
import { OwnService } from './own-service.ts';
import type { PilotName } from './own-service.ts';
import { reserve, serviceOf } from './reserve.ts';
import type { Sender } from './sender.ts';
import { EXIT } from './stages.ts';
import { Stamps } from './stamps.ts';
import { PilotError } from './types.ts';

export interface RunReserveParts {
  readonly args: ReserveArgs;
  readonly ending: Ending;
  readonly clock: Clock;
  readonly stdin: Readable;
  readonly print: (line: string) => void;
  /** The node's name as long as no configuration forces another. */
  readonly host: string;
  /** @throws PilotError */
  readonly prepare: () => { config: PilotConfig; host: string; log: Log };
}

interface Service {
  readonly sender: Sender | null;
  readonly name: PilotName;
  readonly log: Log;
  readonly heartbeatS: number;
}

/** Enough for two attempts. */
const TEST_MS = 12_000;

const hex = (bytes: number): string => randomBytes(bytes).toString('hex');
const random = (): number => randomBytes(4).readUInt32LE() / 2 ** 32;

export async function runReserve(parts: RunReserveParts): Promise<number> {
  const { args, ending, clock, stdin } = parts;
  const stamps = new Stamps(clock, Math.round(performance.timeOrigin));
  const budget = new Budget(clock, args.graceS * 1000);
  void ending.reason.then((reason) => {
    if (reason.kind !== 'signal') return;
    budget.start();
    stamps.mark('sigterm', ending.signalledAt ?? undefined);
  });
  const credentials = args.credentials === undefined ? null : await Promise.race([readCredentials(args.credentials, args.slot, stdin, clock), ending.reason]);
  // Nothing was touched, and there is nobody who could be told.
  if (credentials !== null && 'kind' in credentials) return exitOf(credentials, false);
  const contacts = new Contacts(credentials?.contacts ?? []);
  const name = { slot: args.slot, host: parts.host, part: args.part, pilot: hex(8) };
  let prepared: ReturnType<RunReserveParts['prepare']>;
  try {
    prepared = parts.prepare();
  } catch (e) {
    const sender = credentials === null ? null : new OwnService({ clock, credentials, contacts, name, cnonce: hex(8), ssh: null });
    await tellUnfit(parts, budget, { sender, name, log: silentLog, heartbeatS: 3600 }, e);
    throw e;
  }
  const { config, host, log } = prepared;
  const own: PilotName = { ...name, host };
  const notifier = notifierFor(parts, budget, { sender: senderFor(parts, config, own, credentials, contacts), name: own, log, heartbeatS: config.heartbeatS });
  log.info('begins', { slot: args.slot, host, part: args.part, pilot: own.pilot, memoryMb: args.memoryMb, durationS: args.durationS, graceS: args.graceS });
  try {
    if (args.evaluate) {
      const { evaluate } = await import('./node-commands.ts');
      return await evaluate({ clock, log, config, print: parts.print }, args.memoryMb, serviceOf({ credentials, contacts, args }), notifier === null ? null : () => sendTest(notifier));
    }
    return await reserve({
      clock, log, args, config, name: own, ending, budget, stamps, notifier, credentials, contacts, hex, random,
      elapsedMs: () => clock.monotonic(),
    });
  } finally {
    notifier?.close();
  }
}

function senderFor({ args, clock }: RunReserveParts, config: PilotConfig, name: PilotName, credentials: Credentials | null, contacts: Contacts): Sender | null {
  if (credentials !== null) return new OwnService({ clock, credentials, contacts, name, cnonce: hex(8), ssh: config.sshWay });
  if (args.contact === undefined) return null;
  const contact = parseContact(args.contact);
  const usable = (contact.http !== null && config.http !== null) || (contact.ssh !== null && config.ssh !== null);
  if (!usable) throw new PilotError(EXIT.badConfig, '--contact is given, but neither [http] account nor [systempaths] ssh is there to use it');
  return new OriginalService({ clock, contact, http: config.http, ssh: config.ssh, slot: name.slot, host: name.host });
}

function notifierFor({ clock, ending }: RunReserveParts, budget: Budget, { sender, log, heartbeatS }: Service): Notifier | null {
  if (sender === null) return null;
  return new Notifier({
    clock, log, sender, random, newId: () => hex(16), deadlineMs: () => budget.request(), heartbeatMs: heartbeatS * 1000,
    onRelease: (why, failed) => ending.tell(failed ? { kind: 'failed', why, exit: EXIT.actionFailed } : { kind: 'release', why }),
  });
}

/** The service need not wait for the batch system to say that this job is gone. */
async function tellUnfit(parts: RunReserveParts, budget: Budget, service: Service, e: unknown): Promise<void> {
  const notifier = notifierFor(parts, budget, service);
  if (notifier === null) return;
  const code = e instanceof PilotError ? e.exit : EXIT.internal;
  notifier.post({ state: 'reserved', code, text: (e as Error).message });
  const last = notifier.post({ state: 'restored', code: 0 });
  await Promise.race([notifier.delivered(last, budget.request()), parts.ending.reason]);
  notifier.close();
}

/** @throws Error with why the service did not take it */
async function sendTest(notifier: Notifier): Promise<void> {
  const outcome = await notifier.delivered(notifier.post({ state: 'test', code: 0 }), TEST_MS);
  if (outcome !== 'delivered') throw new Error(notifier.trouble === '' ? 'it did not answer in time' : notifier.trouble);
}
