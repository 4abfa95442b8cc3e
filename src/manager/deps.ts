/** What the manager's use cases share. Made once, in `src/main.ts` (and by tests). */
import type { ControlClient } from '../control/types.ts';
import type { ImageRepository } from '../images/repository.ts';
import type { Config } from '../platform/config.ts';
import type { Context } from '../platform/context.ts';
import type { Db } from '../store/db.ts';
import type { IntentRow } from '../store/intents.ts';
import type { NodePool } from './pool.ts';
import type { Placer } from './placing/types.ts';
import type { Self } from './processes.ts';
import type { SiteDecision } from './site-decision.ts';
import type { Borrowing } from './slots/types.ts';

/** Takes intents that were just committed; must not throw. Rows it loses are found by its poll. */
export type HandOver = (intents: readonly IntentRow[]) => void;

export interface ManagerDeps {
  readonly ctx: Context;
  readonly db: Db;
  readonly config: Config;
  readonly control: ControlClient;
  readonly pool: NodePool;
  readonly placer: Placer;
  /** Only in pilot mode. */
  readonly borrowing?: Borrowing | undefined;
  readonly handOver: HandOver;
  /** Absent: nobody else uses the database. */
  readonly self?: Self | undefined;
  /** Wakes the other services: there is something for them in the tables. */
  readonly tellOthers?: ((what: 'intents' | 'questions') => void) | undefined;
  /** Somebody wants to hear of what happens to a lease. */
  readonly subscribed?: (() => void) | undefined;
  /** Removes images and knows how large their disks are; absent where nobody has any. */
  readonly repository?: Pick<ImageRepository, 'remove' | 'diskBytes'> | undefined;
  /** Only where the site decides by itself. */
  readonly decision?: SiteDecision | undefined;
}

/** What changes of slots need. */
export type SlotDeps = Pick<ManagerDeps, 'ctx' | 'db' | 'config' | 'borrowing' | 'handOver' | 'self'>;
