/**
 * What pilot and service say to each other over HTTP or HTTPS, and the paper that a pilot is given with its job.
 *
 * The pilot posts its spool, one message or more, to `<contact>/pilot_notification/v02/` with digest access authentication
 * (RFC 7616, SHA-256, qop=auth-int, so that the body is signed too). User is the slot's id; secret and server nonce come
 * with the job, so that the first request is authenticated already: `nc` counts up from 1, `cnonce` is drawn once for the
 * messages of a pilot process and once for its channel, `opaque` is empty. The service keeps the highest `nc` of each (slot, cnonce) and takes none twice. Messages are stored
 * before they are acknowledged; a message id that was stored before is acknowledged again and changes nothing.
 *
 * The original's form, `/pilot_notification/v01/`, is understood too: a body of lines (`<slotid>+++<hostname>`, state, code,
 * message), digest (MD5, realm `pilotrealm`) with one account for the site, answered `OK` (Nimbus 2.10.1).
 *
 * A pilot also opens the agent's channel where SSH to nodes is closed: `GET <contact>/pilot_channel/v02/` with
 * `Upgrade: nimbus-control`, `Nimbus-Node: <host>`, `Nimbus-Pilot: <pilot>` and the same authentication; after `101` the stream is the one of
 * `src/control/protocol.ts`, agent speaking first.
 */
export const REALM = 'nimbus-pilot';
export const LEGACY_REALM = 'pilotrealm';
export const NOTIFY_PATH = '/pilot_notification/v02/';
export const LEGACY_NOTIFY_PATH = '/pilot_notification/v01/';
export const CHANNEL_PATH = '/pilot_channel/v02/';
export const CHANNEL_PROTOCOL = 'nimbus-control';
export const NODE_HEADER = 'nimbus-node';
export const PILOT_HEADER = 'nimbus-pilot';

/** Bytes of one request body. */
export const MAX_BODY = 64 * 1024;
/** Messages in one body. */
export const MAX_MESSAGES = 64;

/** `sl-` and 12 hex digits: 15 characters, what PBS allows a job name (qsub, POSIX 1003.2d), so that the name is the id. */
export const SLOT_ID = /^sl-[0-9a-f]{12}$/;
/** What a pilot takes for `--slotid`: ours, and the UUIDs of the original. */
export const ANY_SLOT_ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;
/** Host names, as nodes and batch systems say them. */
export const HOST_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;
/** Drawn by each pilot process: 16 hex digits. */
export const PILOT_ID = /^[0-9a-f]{16}$/;
/** Of one list of contacts. */
export const MAX_CONTACTS = 8;
/** 32 hex digits, unique for ever. */
export const MESSAGE_ID = /^[0-9a-f]{32}$/;

/**
 * What a pilot gets on standard input (`--credentials -`) or in a 0600 file of its own (`--credentials FILE`): one JSON
 * object. Never in argv, environment, job name or output.
 */
export interface Credentials {
  readonly slot: string;
  /** Base URLs of the service, tried in turn: `http://host:port` or `https://host:port`. */
  readonly contacts: readonly string[];
  /** Digest password and nonce of this slot; 32 hex digits each. */
  readonly secret: string;
  readonly nonce: string;
  /** Open the agent's channel to the first contact that answers. */
  readonly channel: boolean;
  /** PEM of the authority that signed the service's certificate; absent = those that Node trusts. */
  readonly ca?: string;
}

/** 0 = as expected; other codes come with `text`. */
export type MessageState =
  /** `--evaluate`: changes nothing. */
  | 'test'
  /** Room is made; code ≠ 0: it could not be, the pilot gives the node back and ends. */
  | 'reserved'
  /** The batch system wants the node back early; `graceMs` is left. */
  | 'early-unreserving'
  /** Time is over, or the service said `release`. */
  | 'unreserving'
  /** VMs of this slot that were still there and were ended; `names` are lease ids. */
  | 'killed'
  /** Memory is restored and nothing of the slot is left; code ≠ 0: something is, `text` says what. The last message. */
  | 'restored'
  /** Still here; sent when nothing else was for a while. */
  | 'alive';

/** Moments of a pilot's life, ms since the epoch on its own clock. Names follow the evaluation in Euro-Par 2008. */
export const PILOT_STAMPS = ['pilot-start', 'reduce-begun', 'reduced', 'notify', 'sigterm', 'restore-begun', 'restored'] as const;
export type PilotStamp = (typeof PILOT_STAMPS)[number];
export type PilotStamps = Readonly<Partial<Record<PilotStamp, number>>>;

/** How the agent in the pilot is reached over SSH; absent when only the channel leads to it. */
export interface AgentReach {
  /** Account under which the pilot runs. */
  readonly user: string;
  /** What `workspace-pilot control` is told to find the agent: its state directory. */
  readonly stateDir: string;
  /** OpenSSH public host keys of this node, as many as it has: `ssh-ed25519 AAAA…`. */
  readonly hostKeys: readonly string[];
}

export interface PilotMessage {
  /** Message id; the same when sent again. */
  readonly id: string;
  /** Counts from 1 in each pilot process. */
  readonly seq: number;
  /** Pilot's wall clock when it happened, ms. */
  readonly at: number;
  readonly state: MessageState;
  readonly code: number;
  readonly text?: string;
  readonly names?: readonly string[];
  /** With early-unreserving: ms of grace left when the message was made. */
  readonly graceMs?: number;
  readonly stamps?: PilotStamps;
  /** With reserved. */
  readonly reserved?: {
    /** MiB that VMs may use, as reached and not only asked for. */
    readonly memoryMb: number;
    /** When the pilot ends by itself, ms on its clock. */
    readonly until: number;
    readonly agent?: AgentReach;
    readonly version: string;
  };
}

/** Body of a POST. */
export interface Notification {
  readonly v: 2;
  readonly slot: string;
  /** This node, as the batch system calls it. */
  readonly host: string;
  /** Which part of a heterogeneous job, from 0. */
  readonly part: number;
  /** This pilot process. */
  readonly pilot: string;
  /** Pilot's wall clock as the request leaves, ms: with the answer's `at`, the offset between the two clocks. */
  readonly sentAt: number;
  readonly messages: readonly PilotMessage[];
}

/** Body of a 200. What a pilot is told holds until it is told otherwise. */
export interface NotificationAnswer {
  readonly ack: readonly string[];
  /** Service's wall clock, ms. */
  readonly at: number;
  /** `release`: give the node back now. `stay`: nothing to do. */
  readonly do: 'stay' | 'release';
  /** Where services listen now, as in the credentials, the one that answers first. Absent: as before. */
  readonly contacts?: readonly string[];
}

/**
 * Bodies of refusals are `{"error": {"code": …, "message": …}}`:
 * 400 Malformed, 401 NotAuthenticated (with a challenge), 403 NotInJob (host or pilot does not belong to the slot),
 * 409 Replayed (this `nc` was used), 410 SlotEnded (give the node back now), 413 TooLarge, 429 Busy, 503 Unavailable (try again).
 * 401, 403, 410 are final for a pilot: it gives the node back.
 */
export type RefusalCode = 'Malformed' | 'NotAuthenticated' | 'NotInJob' | 'Replayed' | 'SlotEnded' | 'TooLarge' | 'Busy' | 'Unavailable';
