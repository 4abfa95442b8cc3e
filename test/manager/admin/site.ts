/** An administrators' manager on a database and an image repository of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createImageRepository } from '../../../src/images/repository.ts';
import type { AdminManager } from '../../../src/manager/admin-types.ts';
import { createAdminManager } from '../../../src/manager/admin/index.ts';
import { configSchema } from '../../../src/platform/config.ts';
import type { Context } from '../../../src/platform/context.ts';
import { testContext } from '../../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';

export interface Site {
  readonly t: TestDatabase;
  readonly admin: AdminManager;
  readonly dir: string;
  /** How often the service was told to look at its nodes. */
  readonly nodeChanges: () => number;
  close(): Promise<void>;
}

export async function openSite(options: { config?: object; context?: Partial<Context> } = {}): Promise<Site> {
  const t = await openTestDatabase();
  const dir = mkdtempSync(join(tmpdir(), 'site-'));
  const ctx = testContext(options.context);
  let changes = 0;
  const admin = createAdminManager({
    ctx, db: t.db, config: configSchema.parse(options.config ?? {}),
    repository: createImageRepository({ ctx, db: t.db, directory: join(dir, 'images') }),
    operatingKey: () => Promise.resolve('ssh-ed25519 AAAA nimbus'),
    nodesChanged: () => void (changes += 1),
  });
  return {
    t, admin, dir, nodeChanges: () => changes,
    async close() {
      await t.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
