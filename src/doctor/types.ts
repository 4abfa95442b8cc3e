/** What the doctor looks at, and what it says. */
import type { CommandRunner, Lrm, LrmFacts } from '../pilot/lrm/types.ts';
import type { Config } from '../platform/config.ts';
import type { Context } from '../platform/context.ts';
import type { NodeStatus } from '../control/protocol.ts';
import type { Db } from '../store/db.ts';
import type { NodeAdminRow } from '../store/nodes-admin.ts';

/** `note`: what cannot be seen from here, and how to look. */
export type Level = 'ok' | 'warn' | 'fail' | 'note';

export interface Finding {
  readonly check: string;
  readonly level: Level;
  /** A sentence. */
  readonly what: string;
  /** How to mend it, or where to look: lines. */
  readonly mend: readonly string[];
}

export interface DoctorSite {
  readonly ctx: Context;
  readonly config: Config;
  readonly version: string;
  /** The service answers; false = it is down, and its part is looked at from outside. */
  readonly serving: boolean;
  /** A sentence says why there is none. */
  readonly db: Db | { readonly missing: string; readonly mend?: string };
  /** Directories on this machine. */
  readonly places: { readonly data: string; readonly images: string };
  /** The service's own nodes, each asked; empty where there is no database. */
  readonly nodes: readonly NodeLook[];
  /** Runs commands on this machine. */
  readonly local: CommandRunner;
  /** Null in greedy-static mode. */
  readonly batch: BatchSite | null;
}

/** What a node's agent says of it; a sentence when it does not answer. `elsewhere`: the machine that only its own service looks at. */
export interface NodeLook {
  readonly row: NodeAdminRow;
  readonly answer: { readonly status: NodeStatus; readonly version: string; readonly clockOffsetMs: number } | { readonly missing: string; readonly elsewhere?: string };
}

export interface BatchSite {
  readonly lrm: Lrm;
  /** What the batch system says of itself, asked once; a sentence when it does not. */
  readonly facts: LrmFacts | { readonly missing: string };
  /** URLs that pilots are told. */
  readonly contacts: readonly string[];
  /** PEM that pilots are told to trust. */
  readonly ca: string | undefined;
}

export interface Check {
  readonly name: string;
  look(site: DoctorSite): Promise<readonly Finding[]> | readonly Finding[];
}

/** A check of pilot mode; in the other mode there is nothing to look at. */
export interface BatchCheck {
  readonly name: string;
  look(batch: BatchSite, site: DoctorSite): Promise<readonly Finding[]> | readonly Finding[];
}
