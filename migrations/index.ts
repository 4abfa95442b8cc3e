/** Every migration, in order. Forward only. */
import type { Knex } from 'knex';
import * as m0001 from './0001_leases.ts';
import * as m0002 from './0002_slots.ts';
import * as m0003 from './0003_policies.ts';
import * as m0004 from './0004_processes.ts';
import * as m0005 from './0005_events.ts';
import * as m0006 from './0006_retention.ts';
import * as m0007 from './0007_grid.ts';
import * as m0008 from './0008_grid_names.ts';
import * as m0009 from './0009_process_keys.ts';
import * as m0010 from './0010_user_certificates.ts';
import * as m0011 from './0011_instance_rules.ts';
import * as m0012 from './0012_security_groups.ts';
import * as m0013 from './0013_spot.ts';
import * as m0014 from './0014_tag_search.ts';
import * as m0015 from './0015_spot_slots.ts';
import * as m0016 from './0016_serialize.ts';
import * as m0017 from './0017_fewer_steps.ts';
import * as m0018 from './0018_policies_at_once.ts';
import * as m0019 from './0019_first_sent.ts';

export interface Migration {
  readonly name: string;
  readonly up: (knex: Knex) => Promise<void>;
}

export const MIGRATIONS: readonly Migration[] = [
  { name: '0001_leases', up: m0001.up },
  { name: '0002_slots', up: m0002.up },
  { name: '0003_policies', up: m0003.up },
  { name: '0004_processes', up: m0004.up },
  { name: '0005_events', up: m0005.up },
  { name: '0006_retention', up: m0006.up },
  { name: '0007_grid', up: m0007.up },
  { name: '0008_grid_names', up: m0008.up },
  { name: '0009_process_keys', up: m0009.up },
  { name: '0010_user_certificates', up: m0010.up },
  { name: '0011_instance_rules', up: m0011.up },
  { name: '0012_security_groups', up: m0012.up },
  { name: '0013_spot', up: m0013.up },
  { name: '0014_tag_search', up: m0014.up },
  { name: '0015_spot_slots', up: m0015.up },
  { name: '0016_serialize', up: m0016.up },
  { name: '0017_fewer_steps', up: m0017.up },
  { name: '0018_policies_at_once', up: m0018.up },
  { name: '0019_first_sent', up: m0019.up },
];
