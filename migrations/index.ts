/** Every migration, in order. Forward only. */
import type { Knex } from 'knex';
import * as m0001 from './0001_leases.ts';

export interface Migration {
  readonly name: string;
  readonly up: (knex: Knex) => Promise<void>;
}

export const MIGRATIONS: readonly Migration[] = [{ name: '0001_leases', up: m0001.up }];
