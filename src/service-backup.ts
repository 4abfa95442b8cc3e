/** Backups of a running service, and of a site without one; restoring is for sites without one only. */
import type { Readable } from 'node:stream';
import type { Places } from './backup/files.ts';
import { backupStream } from './backup/write.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import type { DataDir } from './platform/datadir.ts';
import { VERSION } from './platform/version.ts';
import type { DbAddress } from './store/db.ts';

export interface BackedUp {
  readonly ctx: Context;
  readonly config: Config;
  readonly address: DbAddress;
  readonly dir: DataDir;
}

export const backupPlaces = (config: Config, dir: DataDir): Places => ({ keys: dir.keys, images: config.images.directory || dir.images });

export function backupOf({ ctx, config, address, dir }: BackedUp): (options: { images: boolean }) => Readable {
  return ({ images }) => backupStream({ ctx, address, places: backupPlaces(config, dir), version: VERSION, images });
}
