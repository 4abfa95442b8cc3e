/** What the administrators' use cases share. */
import type { ImageRepository } from '../../images/repository.ts';
import type { Config } from '../../platform/config.ts';
import type { Context } from '../../platform/context.ts';
import type { Db } from '../../store/db.ts';

export interface AdminDeps {
  readonly ctx: Context;
  readonly db: Db;
  readonly config: Config;
  readonly repository: ImageRepository;
  /** Public half of the key that starts agents, one OpenSSH line. */
  readonly operatingKey: () => Promise<string>;
  /** Has the service look at its nodes anew. */
  readonly nodesChanged: () => Promise<void> | void;
}
