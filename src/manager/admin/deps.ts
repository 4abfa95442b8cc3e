/** What the administrators' use cases share. */
import type { ImageRepository } from '../../images/repository.ts';
import type { Config } from '../../platform/config.ts';
import type { Context } from '../../platform/context.ts';
import type { Db } from '../../store/db.ts';
import type { HandOver } from '../deps.ts';
import type { Processes } from '../processes.ts';
import type { SiteDecision } from '../site-decision.ts';
import type { Borrowing } from '../slots/types.ts';

export interface AdminDeps {
  readonly ctx: Context;
  readonly db: Db;
  readonly config: Config;
  readonly repository: ImageRepository;
  /** Public half of the key that starts agents, one OpenSSH line. */
  readonly operatingKey: () => Promise<string>;
  /** Has the service look at its nodes anew. */
  readonly nodesChanged: () => Promise<void> | void;
  /** Takes work for nodes that was just committed; without it the dispatcher's poll finds it. */
  readonly handOver?: HandOver | undefined;
  /** The services on the database. */
  readonly processes?: Pick<Processes, 'list'> | undefined;
  /** Only in pilot mode. */
  readonly borrowing?: Borrowing | undefined;
  /** Only where the site decides by itself. */
  readonly decision?: SiteDecision | undefined;
}
