/** What fsck looks at, and what it says. */
import type { VmInfo } from '../control/protocol.ts';
import type { HandOver } from '../manager/deps.ts';
import type { Config } from '../platform/config.ts';
import type { Context } from '../platform/context.ts';
import type { Db, Queryable } from '../store/db.ts';

export interface Problem {
  /** The rule that is broken. */
  readonly rule: string;
  /** The lease, node, slot … of which it is true; with `rule` the same in every look. */
  readonly of: string;
  /** A sentence. */
  readonly what: string;
  /** A clause: what --repair does, or what an administrator can do. */
  readonly mend: string;
  /** There is one right answer, and --repair knows it. */
  readonly repairs: boolean;
}

export interface Looked {
  readonly leases: number;
  readonly nodes: number;
  /** Nodes whose agents were asked for their VMs. */
  readonly asked: number;
  readonly slots: number;
  readonly images: number;
}

export interface FsckReport {
  readonly looked: Looked;
  /** What is wrong, and was not mended. */
  readonly problems: readonly Problem[];
  readonly mended: readonly Problem[];
  /** What could not be looked at, and what could not be mended: sentences. */
  readonly notes: readonly string[];
}

export interface FsckOptions {
  readonly repair: boolean;
  /** Digests of image files are computed anew. */
  readonly deep: boolean;
}

export interface FsckSite {
  readonly ctx: Context;
  readonly db: Db;
  readonly config: Config;
  /** The service runs, so that what is due has to happen. */
  readonly serving: boolean;
  readonly agents: Agents;
  /** Directory of the image repository. */
  readonly imageDirectory: string;
  /** Takes work for nodes that was written. */
  readonly handOver: HandOver;
  /** Node use was changed behind the pool's back. */
  readonly nodesChanged: () => Promise<void>;
}

export interface Agents {
  /** VMs of a node as its agent lists them. Rejects with an Error whose message says why it cannot. */
  list(nodeId: number): Promise<readonly VmInfo[]>;
  /** Ends leases whose VM is gone and removes VMs that no live lease knows, as at the first contact with a node. */
  compare(nodeId: number): Promise<void>;
}

/** One look at the tables, in one snapshot. */
export interface Tables {
  readonly tx: Queryable;
  readonly site: FsckSite;
  readonly now: number;
}

/** A rule about rows. */
export interface Rule {
  readonly name: string;
  look(tables: Tables): Promise<Problem[]>;
  /** One transaction; what is no problem any more when its rows are locked stays as it is. */
  repair?(site: FsckSite, of: readonly string[]): Promise<void>;
}
