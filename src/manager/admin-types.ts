/** What administrators do. The admin door (Unix socket) and the `nimbus` command speak in these terms. */
import type { Bounds, PolicyKind } from '../authorization/settings.ts';
import type { Check } from '../authorization/types.ts';
import type { NodeAccess } from '../control/types.ts';
import type { BreakdownRow, SummaryRow } from '../lease/phases.ts';
import type { IntentKind } from '../lease/states.ts';
import type { Nic, UsageInterval } from '../lease/types.ts';
import type { MessageState } from '../pilot/protocol.ts';
import type { ProcessView } from './processes.ts';
import type { SlotNodeView, SlotView } from './slots/types.ts';
import type { Caller, EventView, ImageView, ListedImage } from './types.ts';

export interface UserView {
  readonly name: string;
  readonly ownerId: string;
  readonly admin: boolean;
  readonly accessKeys: ReadonlyArray<{ readonly accessKey: string; readonly active: boolean }>;
  /** Names of grid certificates, in slash form. */
  readonly dns: readonly string[];
  readonly createdAt: number;
}
export interface UserCertificate {
  /** SHA-256, hexadecimal. */
  readonly fingerprint: string;
  /** In slash form. */
  readonly subject: string;
  readonly notAfter: number;
  readonly createdAt: number;
}
export interface NewCredentials {
  readonly name: string;
  readonly ownerId: string;
  readonly accessKey: string;
  /** Shown once. */
  readonly secretKey: string;
}

export interface NodeView {
  readonly id: number;
  readonly name: string;
  readonly zone: string;
  readonly transport: NodeAccess['transport'];
  /** `user@host:port` for SSH, the state directory for local, the slot and host of a borrowed node. */
  readonly address: string;
  /** The pinned key of an SSH node, as in known_hosts. */
  readonly hostKey: string | null;
  readonly memoryMb: number;
  readonly cores: number;
  readonly memoryUsed: number;
  readonly coresUsed: number;
  readonly leases: number;
  readonly networks: readonly string[];
  /** false = drained: keeps its leases, gets no new ones */
  readonly active: boolean;
  readonly reachable: boolean;
  readonly driver: string | null;
  readonly agentVersion: string | null;
  readonly lastSeen: number | null;
  readonly lastError: string | null;
}
export interface NewNode {
  readonly name: string;
  readonly zone: string;
  readonly memoryMb: number;
  readonly cores: number;
  readonly networks: readonly string[];
  readonly access: NodeAccess;
}

export interface NetworkView {
  readonly name: string;
  readonly kind: Nic['kind'];
  readonly bridge: string | null;
  readonly prefix: number;
  readonly gateway: string | null;
  readonly dns: readonly string[];
  readonly addresses: number;
  readonly inUse: number;
}
export interface AddressView {
  readonly network: string;
  readonly ip: string;
  readonly hostname: string;
  readonly mac: string;
  readonly lease: string | null;
}
/** What a node is to do for a lease and has not done. */
export interface WorkView {
  readonly operation: IntentKind;
  /** ms */
  readonly since: number;
  readonly askedAgain: number;
  /** When it is asked for again, ms */
  readonly nextAt: number;
  /** What its node said the last time, or why it did not; null: nothing yet. */
  readonly error: string | null;
}

export interface NewNetwork {
  readonly name: string;
  readonly kind: Nic['kind'];
  readonly bridge?: string | undefined;
  /** dotted netmask or prefix length */
  readonly netmask: string;
  readonly gateway?: string | undefined;
  readonly dns?: readonly string[] | undefined;
}
export interface NewAddress {
  readonly ip: string;
  /** default: derived from the network's name and the address */
  readonly hostname?: string | undefined;
  /** default: generated with the site's prefix */
  readonly mac?: string | undefined;
}

export interface UsageView {
  readonly lease: string;
  readonly user: string;
  readonly createdAt: number;
  readonly endedAt: number | null;
  readonly intervals: readonly UsageInterval[];
  /** Minutes reserved while the lease lives, 0 afterwards. */
  readonly reservedMinutes: number;
  /** Rounded as configured; of a live lease: what it would be charged if it ended now. */
  readonly chargedMinutes: number;
}

export interface PolicyView {
  readonly name: string;
  readonly kind: PolicyKind;
  readonly description: string;
  readonly bounds: Bounds;
  readonly users: readonly string[];
  readonly changedAt: number;
}
/** What a policy that counts several users together has counted; null of a template, which counts each by himself. */
export interface PolicyUse {
  readonly leases: number;
  readonly cores: number;
  readonly memoryMb: number;
  /** As the bounds of these names count them. */
  readonly reservedMinutes: number;
  readonly usedMinutes: number;
}
/** As it was sent: it is held against what the policy has already, and all mistakes are told at once. */
export interface PolicyChange {
  readonly kind?: unknown;
  readonly description?: unknown;
  /** Null takes a bound away. */
  readonly bounds: Readonly<Record<string, unknown>>;
  /** The bounds that are not named go too. */
  readonly replace: boolean;
}
export interface PolicyAssignment {
  readonly policy: string;
  readonly user: string;
  /** The template that it took the place of. */
  readonly instead: string | null;
  readonly changed: boolean;
}
export interface ExplainedRequest {
  readonly minCount: number;
  readonly maxCount: number;
  readonly image: string;
  readonly type?: string | undefined;
  readonly networks?: readonly string[] | undefined;
  readonly zone?: string | undefined;
  readonly durationS?: number | undefined;
  readonly tags?: Readonly<Record<string, string>> | undefined;
}
export interface Explanation {
  readonly user: string;
  readonly allowed: boolean;
  readonly checks: readonly Check[];
  /** Leases that the policies leave room for, at most `maxCount`; 0 where they refuse. */
  readonly leases: number;
  readonly durationS: number;
  /** Null where the site has no decision of its own. */
  readonly site: { readonly allowed: boolean; readonly reasons: readonly string[]; readonly failure: string | null } | null;
}

/** Who wants to hear of a lease, and whether he could be told. */
export interface SubscriptionListView {
  readonly id: string;
  readonly user: string;
  readonly lease: string;
  readonly topic: 'currentState' | 'ResourceTermination';
  readonly consumer: string;
  readonly paused: boolean;
  readonly endsAt: number | null;
  /** Messages. */
  readonly delivered: number;
  /** In a row that failed. */
  readonly attempts: number;
  readonly failingSince: number | null;
  readonly lastError: string | null;
}

export interface UsageSinkView {
  readonly name: string;
  /** False: no longer in the configuration. */
  readonly active: boolean;
  readonly backlog: number;
  /** Id of the event that is next; null = none that was seen yet waits. */
  readonly next: string | null;
  readonly delivered: number;
  /** Given up because more than `keep` waited. */
  readonly dropped: number;
  /** Failed attempts since the last delivery. */
  readonly attempts: number;
  readonly nextAt: number;
  readonly lastDeliveredAt: number | null;
  readonly lastError: string | null;
  readonly lastErrorAt: number | null;
}

/** Where the repository finds the bytes of a new image: a file that the service can read. */
export interface NewImage {
  readonly name: string;
  /** null = common */
  readonly owner: string | null;
  readonly file: string;
  readonly description: string;
}

/** How the batch system answers. */
export interface BatchSystemView {
  /** `slurm 22.05.8`; null = it was not reached yet. */
  readonly name: string | null;
  readonly nodes: number | null;
  readonly graceS: number | null;
  /** ms */
  readonly lastListed: number | null;
  readonly listMs: number | null;
  readonly lastFailure: { readonly at: number; readonly what: string } | null;
}

/** What a pilot has said. */
export interface SlotMessageView {
  readonly id: string;
  readonly host: string;
  readonly seq: number;
  /** By the pilot's clock and by ours, ms. */
  readonly at: number;
  readonly receivedAt: number;
  readonly state: MessageState;
  readonly code: number;
  readonly text: string | null;
  readonly applied: boolean;
}
export interface SlotDetails extends Omit<SlotView, 'nodes'> {
  readonly nodes: ReadonlyArray<SlotNodeView & { readonly breakdown: readonly BreakdownRow[] }>;
  /** The newest, oldest first. */
  readonly messages: readonly SlotMessageView[];
}

export interface SlotChange {
  readonly id: string;
  readonly before: SlotView['state'];
  readonly after: SlotView['state'];
  readonly jobId: string | null;
  /** Leases whose end was asked for by this change. */
  readonly leases: readonly string[];
}

/** Which slots; nothing = all that live. */
export interface SlotChoice {
  /** A host, as the batch system calls it: slots that have it. */
  readonly node?: string | undefined;
  readonly user?: string | undefined;
  /** Partition or queue. */
  readonly partition?: string | undefined;
}
export type KilledSlot = { readonly slot: string } & (
  | { readonly ok: true; readonly change: SlotChange }
  | { readonly ok: false; readonly error: { readonly code: string; readonly message: string; readonly reasons: readonly string[] } }
);

export interface BreakdownView {
  /** A lease or a group. */
  readonly id: string;
  readonly leases: ReadonlyArray<{ readonly id: string; readonly index: number; readonly node: string | null; readonly rows: readonly BreakdownRow[] }>;
  readonly summary: readonly SummaryRow[];
}

/** What happened to a lease, with whose and where it is. */
export interface SiteEvent extends EventView {
  /** Where this event stands: what comes after it is asked for by this. */
  readonly cursor: string;
  readonly user: string | null;
  /** Where the lease is now; null when it has no node any more. */
  readonly node: string | null;
}
export interface EventPage {
  readonly events: readonly SiteEvent[];
  /** How far was read. */
  readonly cursor: string;
  /** There is more to read already. */
  readonly more: boolean;
}
/** Which events; nothing = all. */
export interface EventChoice {
  readonly lease?: string | undefined;
  readonly user?: string | undefined;
  readonly node?: string | undefined;
}

export interface AdminManager {
  /** The services on the database: those that live, and those that have ended in the last hour. */
  readonly processes: { list(): Promise<readonly ProcessView[]> };
  readonly users: {
    add(name: string, admin: boolean, dns?: readonly string[]): Promise<NewCredentials>;
    list(): Promise<UserView[]>;
    /** Refused while the user has live leases. */
    remove(name: string): Promise<void>;
    /** A further key; `deactivate` names keys to switch off. */
    addKey(name: string): Promise<NewCredentials>;
    deactivateKey(name: string, accessKey: string): Promise<void>;
    /** A further name of a certificate; refused where it is another user's. */
    addDn(name: string, dn: string): Promise<void>;
    removeDn(name: string, dn: string): Promise<void>;
    /** A certificate (PEM) that signs SOAP requests of the user; refused where it is another user's. */
    addCertificate(name: string, pem: string): Promise<UserCertificate>;
    certificates(name: string): Promise<UserCertificate[]>;
    /** `fingerprint`: eight digits of it at least. */
    removeCertificate(name: string, fingerprint: string): Promise<void>;
  };
  readonly nodes: {
    add(node: NewNode): Promise<NodeView>;
    list(): Promise<NodeView[]>;
    setActive(name: string, active: boolean): Promise<NodeView>;
    /** Refused while it holds leases. */
    remove(name: string): Promise<void>;
    /** Public half of the key that starts agents, one OpenSSH line. */
    operatingKey(): Promise<string>;
  };
  readonly images: {
    add(image: NewImage): Promise<ImageView>;
    list(): Promise<ListedImage[]>;
    /** By id, or by name of the owner's (null = common). */
    remove(which: { id: string } | { name: string; owner: string | null }): Promise<ImageView>;
  };
  readonly networks: {
    add(network: NewNetwork): Promise<NetworkView>;
    list(): Promise<NetworkView[]>;
    remove(name: string): Promise<void>;
    addAddresses(network: string, addresses: readonly NewAddress[]): Promise<AddressView[]>;
    addresses(network: string): Promise<AddressView[]>;
    removeAddress(network: string, ip: string): Promise<void>;
  };
  readonly slots: {
    /** The newest first; `live`: only those that have not ended. */
    list(query: SlotChoice & { live: boolean; ids?: readonly string[] | undefined }): Promise<SlotView[]>;
    show(id: string): Promise<SlotDetails>;
    /** Ends its leases, then its job; of a slot that goes already, the job is cancelled without waiting for its pilots. */
    kill(caller: Caller, id: string, why: string): Promise<SlotChange>;
    /** `kill` of every slot that is chosen; one that cannot be killed keeps no other from it. */
    killAll(caller: Caller, choice: SlotChoice, why: string): Promise<KilledSlot[]>;
  };
  readonly breakdown: {
    /** Of a lease, or of a group and each of its leases. */
    of(id: string): Promise<BreakdownView>;
  };
  readonly work: {
    /** Null: its node is to do nothing. */
    of(lease: string): Promise<WorkView | null>;
  };
  readonly policies: {
    list(): Promise<PolicyView[]>;
    show(name: string): Promise<PolicyView & { readonly use: PolicyUse | null }>;
    set(name: string, change: PolicyChange): Promise<PolicyView>;
    /** Refused while users have it. */
    remove(name: string): Promise<void>;
    assign(name: string, user: string): Promise<PolicyAssignment>;
    unassign(name: string, user: string): Promise<PolicyAssignment>;
    /** What would become of a request of the user, without making anything. */
    explain(caller: Caller, user: string, request: ExplainedRequest): Promise<Explanation>;
  };
  readonly events: {
    /** In the order in which their transactions ended: none appears later below one that was read. */
    after(choice: EventChoice, cursor: string): Promise<EventPage>;
    /** The newest, oldest first, among the newest 50,000 of the site. */
    newest(choice: EventChoice, most: number): Promise<EventPage>;
  };
  readonly usage: {
    sinks(): Promise<UsageSinkView[]>;
    /** Of grid clients, the oldest first. */
    subscriptions(): Promise<SubscriptionListView[]>;
    list(query: { user?: string | undefined; since?: number | undefined }): Promise<UsageView[]>;
  };
}
