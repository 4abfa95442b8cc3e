/**
 * Wakes this process when another one has written something for it (PostgreSQL manual, NOTIFY). Only a wake-up: what is due
 * stands in the tables, and polls find it without.
 */
import pg from 'pg';
import type { Context, Timer } from '../platform/context.ts';
import { statement, type Db, type DbAddress } from './db.ts';

const CHANNEL = 'nimbus';
const AGAIN_MS = 1_000;

export const notifyAll = statement<never>('notify-all', `SELECT pg_notify('${CHANNEL}', $1)`);

export interface WakeUps {
  /** Tells every process, this one too; never rejects. */
  tell(what: string): void;
  close(): Promise<void>;
}

export function openWakeUps(ctx: Context, db: Db, address: DbAddress, options: { session: string; heard: (what: string) => void }): WakeUps {
  let client: pg.Client | undefined;
  let timer: Timer | undefined;
  let closed = false;

  async function connect(): Promise<void> {
    const mine = new pg.Client({ ...address, application_name: options.session, connectionTimeoutMillis: 10_000, keepAlive: true });
    client = mine;
    const lost = (): void => {
      if (client !== mine) return;
      client = undefined;
      void mine.end().catch(() => undefined);
      if (!closed) timer = ctx.clock.after(AGAIN_MS, () => void connect(), true);
    };
    mine.on('error', lost).on('end', lost);
    mine.on('notification', (n) => options.heard(n.payload ?? ''));
    try {
      await mine.connect();
      await mine.query(`LISTEN ${CHANNEL}`);
    } catch (e) {
      ctx.log.debug('no wake-ups from other services for now', { error: (e as Error).message });
      lost();
    }
  }

  void connect();
  return {
    tell: (what) => void db.query(notifyAll, [what]).catch((e: unknown) => ctx.log.debug('other services were not woken', { error: (e as Error).message })),
    async close() {
      closed = true;
      timer?.cancel();
      await client?.end().catch(() => undefined);
    },
  };
}
