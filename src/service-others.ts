/** The other services on the database: this one joins them, says that it lives, and is woken by what they write for it. */
import { hostname } from 'node:os';
import { createProcesses, type Processes } from './manager/processes.ts';
import type { Context } from './platform/context.ts';
import { startStep } from './platform/errors.ts';
import { openDb, type Db, type DbAddress } from './store/db.ts';
import { openWakeUps } from './store/listen.ts';
import { createHeartbeat } from './workers/heartbeat.ts';

/** One for the sign of life, one for whatever it finds to do. */
const CONNECTIONS = 2;

/** What this process does when something happens to another one, or to itself. */
export interface Follower {
  intentsDue(): Promise<void>;
  questionsAsked(): Promise<void>;
  /** It begins another life: nobody knows what it reaches. */
  reborn(): void;
  nodesChanged(): Promise<void>;
}

export interface Others {
  readonly processes: Processes;
  tell(what: 'intents' | 'questions'): void;
  follow(follower: Follower): void;
}

export async function joinOthers(
  { ctx, db, address, session, dataDir, operatingKey }: { ctx: Context; db: Db; address: DbAddress; session: string; dataDir: string; operatingKey: () => string | null },
  onStop: (what: string, step: () => Promise<void> | void) => void,
): Promise<Others> {
  let follower: Follower | undefined;
  const own = openDb(address, { max: CONNECTIONS, log: ctx.log, applicationName: session });
  onStop('connections for the sign of life', () => own.close());
  const failed = (e: unknown): void => ctx.log.warn('what another service left could not be looked at; the polls will', { error: (e as Error).message });
  const processes = createProcesses({
    ctx, db: own, host: hostname(), pid: process.pid, dataDir, session, operatingKey,
    onChange(what) {
      if (what === 'reborn') follower?.reborn();
      follower?.nodesChanged().catch(failed);
      follower?.intentsDue().catch(failed);
    },
  });
  await startStep('this service cannot join the others on its database', () => processes.join());
  const heartbeat = createHeartbeat(ctx, processes);
  onStop('sign of life', () => heartbeat.stop());
  heartbeat.start();
  const wakeUps = openWakeUps(ctx, db, address, { session, heard: (what) => void (what === 'questions' ? follower?.questionsAsked() : follower?.intentsDue())?.catch(failed) });
  onStop('wake-ups', () => wakeUps.close());
  return { processes, tell: (what) => wakeUps.tell(what), follow: (f) => { follower = f; } };
}
