/** A notification door on a real inbox and a real database, and slots to speak for. */
import { randomBytes } from 'node:crypto';
import type { ServerOptions } from 'node:http';
import type { Duplex } from 'node:stream';
import { createInbox, type ChannelVisit, type Inbox } from '../../../src/manager/slots/inbox.ts';
import { createPilotServer, type PilotServer } from '../../../src/pilot/door/server.ts';
import type { Config } from '../../../src/platform/config.ts';
import { pilotSections } from '../../../src/platform/config-pilot.ts';
import { statement, type Db } from '../../../src/store/db.ts';
import { openMessages, type OpenMessageRow } from '../../../src/store/slot-messages.ts';
import { testContext, type TestContext } from '../../support/context.ts';
import { addAccount } from '../../support/rows.ts';

export interface TestSlot {
  readonly id: string;
  readonly secret: string;
  readonly nonce: string;
}

export interface PilotDoor {
  readonly ctx: TestContext;
  readonly db: Db;
  readonly inbox: Inbox;
  readonly server: PilotServer;
  readonly url: string;
  readonly port: number;
  /** Slots of which something new was stored, call by call. */
  readonly stored: ReadonlyArray<readonly string[]>;
  readonly offered: ReadonlyArray<{ key: ChannelVisit; stream: Duplex }>;
  close(): Promise<void>;
}

export interface DoorOptions {
  readonly ctx?: TestContext;
  readonly config?: Partial<Config['pilot']>;
  readonly limits?: ServerOptions;
}

export async function openDoor(db: Db, options: DoorOptions = {}): Promise<PilotDoor> {
  const ctx = options.ctx ?? testContext();
  const stored: Array<readonly string[]> = [];
  const offered: Array<{ key: ChannelVisit; stream: Duplex }> = [];
  const inbox = createInbox({ ctx, db, stored: (ids) => stored.push(ids) });
  const config = { ...pilotSections.pilot.parse(undefined), listen: '127.0.0.1:0', ...options.config };
  const server = createPilotServer(ctx, { inbox, channels: { offer: (key, stream) => { offered.push({ key, stream }); } } }, config, options.limits);
  const { url, port } = await server.listen();
  return {
    ctx, db, inbox, server, url, port, stored, offered,
    async close() {
      for (const { stream } of offered) stream.destroy();
      await server.close();
      await inbox.idle();
    },
  };
}

const insertSlot = statement<never>('test-slot', `
  INSERT INTO slot (id, account_id, state, final, lrm, parts, nodes, duration_s, pilot_s, walltime_s, grace_s, secret, nonce, hosts, next_at, created_at)
  VALUES ($1, $2, $3, $3 = 'Ended', 'slurm', '[]', $4, 3600, 3660, 3750, 30, $5, $6, $7, now(), $8)`);
const insertNodes = statement<never>('test-slot-nodes', `
  INSERT INTO slot_node (slot_id, ordinal, part, state, memory_mb, cores) SELECT $1, n, 0, 'Waiting', 128, 1 FROM generate_series(0, $2::int - 1) AS n`);

export interface SlotFacts {
  readonly nodes?: number;
  readonly hosts?: readonly string[];
  readonly state?: string;
  readonly createdAt?: number;
}

let accounts = 0;
export async function addSlot(db: Db, facts: SlotFacts = {}): Promise<TestSlot> {
  const account = await addAccount(db, `pilot-user-${(accounts += 1)}`);
  const slot = { id: `sl-${randomBytes(6).toString('hex')}`, secret: randomBytes(16).toString('hex'), nonce: randomBytes(16).toString('hex') };
  const nodes = facts.nodes ?? 1;
  await db.query(insertSlot, [slot.id, account, facts.state ?? 'Queued', nodes, slot.secret, slot.nonce, facts.hosts ?? [], new Date(facts.createdAt ?? Date.now() - 60_000)]);
  await db.query(insertNodes, [slot.id, nodes]);
  return slot;
}

const setState = statement<never>('test-slot-state', `UPDATE slot SET state = $2, final = ($2 = 'Ended') WHERE id = $1`);
export const changeSlot = (db: Db, slot: TestSlot, state: string): Promise<unknown> => db.query(setState, [slot.id, state]);
const setHosts = statement<never>('test-slot-hosts', 'UPDATE slot SET hosts = $2 WHERE id = $1');
export const changeHosts = (db: Db, slot: TestSlot, hosts: readonly string[]): Promise<unknown> => db.query(setHosts, [slot.id, hosts]);

const bind = statement<never>('test-bind-node', 'UPDATE slot_node SET host = $2, pilot = $3, state = $4 WHERE slot_id = $1 AND ordinal = $5');
/** As applying a first message does. */
export const bindNode = (db: Db, slot: TestSlot, ordinal: number, host: string, pilot: string, state = 'Reserved'): Promise<unknown> =>
  db.query(bind, [slot.id, host, pilot, state, ordinal]);

const nodeRows = statement<{ host: string | null; last_heard: number | null; clock_offset_ms: number }>('test-node-rows', 'SELECT host, last_heard, clock_offset_ms FROM slot_node WHERE slot_id = $1 ORDER BY ordinal');
export const nodesOf = (db: Db, slot: TestSlot) => db.query(nodeRows, [slot.id]);

export const messagesOf = (db: Db, slot: TestSlot): Promise<OpenMessageRow[]> => db.query(openMessages, [[slot.id]]);
