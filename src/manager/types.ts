/** What doors and workers see of the manager: the one way in. Doors translate their protocol into these calls. */
import type { LeaseState, Trigger } from '../lease/states.ts';
import type { LeasePhase } from '../lease/phases.ts';
import type { CreateRequest, LeaseType, NetworkKind, Nic, Reach } from '../lease/types.ts';
import type { SpotStanding } from './spot-state.ts';
import type { RuleAsked, RuleFacts } from '../network/security-rules.ts';
import type { LeaseMatch } from '../store/lease-search.ts';

export type { LeaseMatch, SearchedColumn, TextMatch } from '../store/lease-search.ts';

/** Who asks, through which door, under which request id. */
export interface Caller {
  readonly accountId: number;
  readonly name: string;
  /** 12 digits, as EC2 owner ids are. */
  readonly ownerId: string;
  readonly requestId: string;
  readonly door: 'ec2' | 'admin' | 'wsrf' | 'service';
  /** Administrators see and touch every account's leases. */
  readonly admin: boolean;
  /** May look, and change nothing: who has shown a limited proxy. */
  readonly limited?: boolean;
}

/** Whoever a door has recognised. */
export interface Account {
  readonly accountId: number;
  readonly name: string;
  readonly ownerId: string;
  readonly admin: boolean;
}

export interface LeaseView {
  readonly id: string;
  readonly groupId: string;
  readonly accountId: number;
  readonly accountName: string;
  readonly ownerId: string;
  readonly launchIndex: number;
  readonly state: LeaseState;
  readonly generation: number;
  readonly imageId: string;
  readonly imageName: string;
  readonly type: string;
  readonly memoryMb: number;
  readonly cores: number;
  readonly diskMb: number;
  readonly zone: string;
  /** Name of the VMM node; null while none is chosen. */
  readonly node: string | null;
  readonly keyName: string | null;
  readonly clientToken: string | null;
  readonly nics: readonly Nic[];
  readonly securityGroups: ReadonlyArray<{ readonly id: string; readonly name: string }>;
  readonly reach: Reach | null;
  /** ms since the epoch */
  readonly createdAt: number;
  readonly endsAt: number | null;
  readonly endedAt: number | null;
  /** When `Running` was first reported. */
  readonly runningAt: number | null;
  /** Code and sentence of the last state change that was not asked for. */
  readonly reasonCode: string | null;
  readonly reason: string | null;
  readonly tags: Readonly<Record<string, string>>;
  /** When each phase of the lease's start was reached, ms since the epoch (agents' stamps corrected by their offset). */
  readonly phases: Phases;
  /** The batch job's slot, of a lease on a borrowed node. */
  readonly slot: string | null;
  /** What a lease waits for in the batch system's queue; null when it does not. */
  readonly waiting: Waiting | null;
  /** When the batch system takes the node back, ms; null = it does not. */
  readonly graceEndsAt: number | null;
  /** Of a preemptible lease. */
  readonly spotRequestId: string | null;
}

export interface Waiting {
  /** null = not submitted yet */
  readonly jobId: string | null;
  /** From 1, among the waiting jobs of the queue; null = unknown. */
  readonly position: number | null;
  /** The batch system's own words. */
  readonly reason: string | null;
  readonly state: string | null;
  /** ms */
  readonly expectedStart: number | null;
}

/** accepted → placed → sent → received → propagate-begun → propagated → start-begun → started → finished → recorded */
export type Phases = Readonly<Partial<Record<LeasePhase, number>>>;

export interface GroupView {
  readonly id: string;
  readonly leases: readonly LeaseView[];
  /** True when a client token repeated an earlier request. */
  readonly repeated: boolean;
}

export interface LeaseChange {
  readonly id: string;
  readonly before: LeaseState;
  readonly after: LeaseState;
  /** Its VM has run: what EC2 clients see of a lease at rest depends on it. */
  readonly ran: boolean;
}

/** What users set of a lease. */
export interface LeaseAttributes {
  readonly id: string;
  readonly type: string;
  readonly userData: Buffer | null;
  /** Its user cannot end it, or stop it, before he takes that back. */
  readonly endProtected: boolean;
  readonly stopProtected: boolean;
  /** When its VM ends by itself it rests with its disk, instead of ending. */
  readonly rests: boolean;
}

/** What is set of a lease. `securityGroups`: ids or names, in place of those that it is in. */
export type AttributeChange = Partial<Omit<LeaseAttributes, 'id'>> & { readonly securityGroups?: readonly string[] };

export interface LeaseQuery {
  /** Only these; an unknown or foreign one is LeaseNotFound with `missing: 'fault'`, left out with 'skip'. */
  readonly ids?: readonly string[] | undefined;
  readonly missing?: 'fault' | 'skip';
  /** Show leases that ended at most so long ago, ms. Default: the site's setting (one hour). */
  readonly endedWithinMs?: number;
  /** Admin callers: only this account's. */
  readonly account?: string | undefined;
  readonly live?: boolean;
  readonly limit?: number;
  /** Continue after this lease (creation order). */
  readonly after?: string | undefined;
  /** Only those that match; not together with `ids`. */
  readonly match?: LeaseMatch | undefined;
}

export interface ImageView {
  readonly id: string;
  readonly name: string;
  /** null = common */
  readonly owner: string | null;
  readonly ownerId: string | null;
  readonly format: 'raw' | 'qcow2';
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly description: string;
  readonly createdAt: number;
}

/** Also one that is being made, or could not be. */
export interface ListedImage extends ImageView {
  readonly state: 'available' | 'pending' | 'failed';
  /** Why it could not be made. */
  readonly reason: string | null;
}

/** As its user sees it. */
export interface SeenImage extends ListedImage {
  /** Everybody may use it by its id; common images apart. */
  readonly public: boolean;
  /** Owner ids of those whom it is opened to: to its owner all of them, to others themselves. */
  readonly grantedTo: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
}

/** Who may use an image beside its owner; owner ids. */
export interface GrantChange {
  readonly add: readonly string[];
  readonly remove: readonly string[];
  /** For everybody, or no more; undefined = as it is. */
  readonly all?: boolean | undefined;
}

export interface KeyPairView {
  readonly id: string;
  readonly name: string;
  readonly fingerprint: string;
  readonly type: 'rsa' | 'ed25519' | 'ecdsa';
  readonly publicKey: string;
  readonly createdAt: number;
}

/** A network of the site in one zone. */
export interface SubnetView {
  readonly id: string;
  readonly network: string;
  readonly kind: NetworkKind;
  readonly zone: string;
  readonly available: boolean;
  /** null: it has neither gateway nor addresses, so nothing tells. */
  readonly cidr: string | null;
  readonly free: number;
  /** Leases of types that name no network join it. */
  readonly isDefault: boolean;
}

export interface SecurityGroupView {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly rules: readonly SecurityRuleView[];
  readonly tags: Readonly<Record<string, string>>;
}

export interface SecurityRuleView extends RuleFacts {
  readonly id: string;
  readonly groupId: string;
  readonly egress: boolean;
  readonly tags: Readonly<Record<string, string>>;
}

/** `group`: id or name. */
interface RuleChange {
  readonly group: string;
  readonly egress: boolean;
  readonly rules: readonly RuleAsked[];
}

export interface SpotAsked {
  readonly count: number;
  readonly price: number;
  readonly persistent: boolean;
  /** ms */
  readonly validFrom?: number | undefined;
  readonly validUntil?: number | undefined;
  readonly launch: CreateRequest;
  /** The same token names the same requests. */
  readonly clientToken?: string | undefined;
}

export interface SpotRequestView extends SpotStanding {
  readonly id: string;
  readonly price: number;
  readonly persistent: boolean;
  readonly createdAt: number;
  readonly validFrom: number | null;
  readonly validUntil: number | null;
  readonly launch: CreateRequest;
  /** Its last lease. */
  readonly leaseId: string | null;
  readonly zone: string | null;
  readonly tags: Readonly<Record<string, string>>;
}

export interface TagView {
  readonly resourceId: string;
  readonly resourceType: 'instance' | 'volume' | 'image' | 'key-pair' | 'reservation' | 'security-group' | 'security-group-rule' | 'spot-instances-request';
  readonly key: string;
  readonly value: string;
}

export interface EventView {
  readonly seq: number;
  readonly lease: string;
  readonly at: number;
  readonly from: LeaseState | null;
  readonly to: LeaseState;
  readonly trigger: Trigger | 'created' | 'extended' | 'shortened' | 'changed';
  readonly who: string;
  readonly why: string;
  readonly requestId: string | null;
}

export interface ZoneView {
  readonly name: string;
  readonly available: boolean;
}

/** Seconds from now, or the moment itself (ms); the policy of the site bounds both. */
export type NewEnd = { readonly durationS: number } | { readonly endsAt: number };

export interface Manager {
  readonly leases: {
    create(caller: Caller, request: CreateRequest, options?: { dryRun?: boolean }): Promise<GroupView>;
    /**
     * Several groups, placed together or not at all; on borrowed nodes they are one batch job. Every group has a client token or
     * none has: the tokens together name the ensemble, and the same tokens with other groups are refused.
     */
    createEnsemble(caller: Caller, requests: readonly CreateRequest[], options?: { dryRun?: boolean }): Promise<GroupView[]>;
    describe(caller: Caller, query: LeaseQuery): Promise<LeaseView[]>;
    /** Of leases that `describe` has given: bytes of their disks, in their order. */
    diskBytes(caller: Caller, leases: readonly LeaseView[]): Promise<number[]>;
    /** Ends leases; naming one that has ended already changes nothing. */
    end(caller: Caller, ids: readonly string[], why: string, options?: { dryRun?: boolean }): Promise<LeaseChange[]>;
    reboot(caller: Caller, ids: readonly string[], options?: { dryRun?: boolean }): Promise<LeaseChange[]>;
    /** To run again, what was stopped or rests; what runs already is left as it is. */
    start(caller: Caller, ids: readonly string[], options?: { dryRun?: boolean }): Promise<LeaseChange[]>;
    /** Their VMs end, their disks and all that they hold stay. `hard`: the guests are not asked first. */
    stop(caller: Caller, ids: readonly string[], options?: { dryRun?: boolean; hard?: boolean }): Promise<LeaseChange[]>;
    /** Moves the end, within policy. Counted from now for `durationS`. */
    setEnd(caller: Caller, ids: readonly string[], end: NewEnd, options?: { dryRun?: boolean }): Promise<LeaseView[]>;
    attributes(caller: Caller, id: string): Promise<LeaseAttributes>;
    /** User data and type only while it is stopped. @throws Fault StateRefused, NoCapacity and what policies refuse with */
    setAttributes(caller: Caller, id: string, change: AttributeChange, options?: { dryRun?: boolean }): Promise<void>;
    /** Bytes from the end of the serial console. `at`: when they were read, ms. */
    console(caller: Caller, id: string, maxBytes?: number): Promise<{ bytes: Buffer; at: number }>;
    events(caller: Caller, id: string): Promise<EventView[]>;
  };
  readonly images: {
    /** `ids` may hold names too; an unknown one is ImageNotFound, unless `gone` says that the caller's own of the last hour count as none. `names` only narrows. */
    list(caller: Caller, query?: { ids?: readonly string[]; names?: readonly string[]; gone?: 'none' }): Promise<SeenImage[]>;
    /** Of a lease that runs or is stopped. What runs is shut down for it, and runs on afterwards; `live`: its disk is copied as it is while it runs. Returns the image's id at once. */
    make(caller: Caller, lease: string, image: { name: string; description: string; tags: Readonly<Record<string, string>>; live?: boolean }, options?: { dryRun?: boolean }): Promise<string>;
    /** The caller's own. @throws Fault ImageNotFound, NotAuthorized, ImageInUse */
    remove(caller: Caller, id: string, options?: { dryRun?: boolean }): Promise<void>;
    /** The caller's own. @throws Fault ImageNotFound, NotAuthorized */
    grants(caller: Caller, id: string): Promise<{ all: boolean; accounts: readonly string[] }>;
    /** `grants` of null: nobody but its owner. @throws Fault ImageNotFound, NotAuthorized, UserNotFound */
    change(caller: Caller, id: string, change: { description?: string; grants?: GrantChange | null }, options?: { dryRun?: boolean }): Promise<void>;
  };
  readonly keys: {
    /** `material` is the private key, PEM (PKCS#1 for RSA, OpenSSH format for ed25519); kept nowhere. */
    create(caller: Caller, name: string, type: 'rsa' | 'ed25519', options?: { dryRun?: boolean; tags?: Readonly<Record<string, string>> }): Promise<KeyPairView & { material: string }>;
    /** `publicKey`: OpenSSH line, RFC 4716 block or DER/PEM SubjectPublicKeyInfo. */
    import(caller: Caller, name: string, publicKey: Buffer, options?: { dryRun?: boolean; tags?: Readonly<Record<string, string>> }): Promise<KeyPairView>;
    /** An unknown one is KeyPairNotFound. */
    list(caller: Caller, query?: { names?: readonly string[]; ids?: readonly string[] }): Promise<KeyPairView[]>;
    /** Removing one that does not exist is no fault (EC2 API reference, DeleteKeyPair). */
    remove(caller: Caller, which: { name: string } | { id: string }, options?: { dryRun?: boolean }): Promise<KeyPairView | null>;
  };
  /** The caller's; nothing enforces them. */
  readonly securityGroups: {
    list(caller: Caller): Promise<SecurityGroupView[]>;
    create(caller: Caller, group: { name: string; description: string }, options?: { dryRun?: boolean; tags?: Readonly<Record<string, string>> }): Promise<{ id: string }>;
    /** By id or name. */
    remove(caller: Caller, group: string, options?: { dryRun?: boolean }): Promise<{ id: string }>;
    authorize(caller: Caller, change: RuleChange, options?: { dryRun?: boolean; tags?: Readonly<Record<string, string>> }): Promise<SecurityRuleView[]>;
    revoke(caller: Caller, change: RuleChange & { readonly ruleIds?: readonly string[] }, options?: { dryRun?: boolean }): Promise<SecurityRuleView[]>;
  };
  readonly spot: {
    request(caller: Caller, asked: SpotAsked, options?: { dryRun?: boolean; tags?: Readonly<Record<string, string>> }): Promise<SpotRequestView[]>;
    /** In the order in which they were made. */
    list(caller: Caller, ids?: readonly string[]): Promise<SpotRequestView[]>;
    /** Leases run on. */
    cancel(caller: Caller, ids: readonly string[], options?: { dryRun?: boolean }): Promise<SpotRequestView[]>;
    /** What preemptible leases were granted at, by type and zone, the newest first. */
    prices(query: { from?: number | undefined; to?: number | undefined; types?: readonly string[] | undefined; limit: number }): Promise<Array<{ type: string; zone: string; price: number; at: number }>>;
  };
  readonly tags: {
    /** With `end` the resources are leases, their end moves in the same transaction, and the tag `nimbus:duration` may be kept. */
    set(caller: Caller, resourceIds: readonly string[], tags: Readonly<Record<string, string>>, options?: { dryRun?: boolean; end?: NewEnd | undefined }): Promise<void>;
    /** A value of undefined removes the key whatever its value; otherwise only when the value is the same. No tags = all. */
    remove(caller: Caller, resourceIds: readonly string[], tags: ReadonlyArray<{ key: string; value: string | undefined }>, options?: { dryRun?: boolean }): Promise<void>;
    list(caller: Caller, query?: { resourceIds?: readonly string[] }): Promise<TagView[]>;
  };
  readonly site: {
    zones(): Promise<ZoneView[]>;
    /** One for each network and zone that has nodes on it. */
    subnets(): Promise<SubnetView[]>;
    types(): readonly LeaseType[];
    defaultType(): string;
    region(): string;
    /** Figures for DescribeAccountAttributes. */
    limits(caller: Caller): Promise<{ maxInstances: number }>;
  };
  readonly signatures: {
    /** False when any service has used it before. @throws Fault Busy, Unavailable */
    use(id: Buffer, validUntil: number): Promise<boolean>;
  };
  readonly credentials: {
    /** Secret and account of an access key; null when unknown or disabled. Cached for at most a second. */
    find(accessKey: string): Promise<{ secret: string; accountId: number; name: string; ownerId: string; admin: boolean } | null>;
    /** Whose certificate has this name (slash form), and the account of a user; as long in memory. */
    ofDn(dn: string): Promise<Account | null>;
    /** Whose certificate has this fingerprint (SHA-256, lower-case hexadecimal). */
    ofCertificate(fingerprint: string): Promise<Account | null>;
    ofUser(name: string): Promise<Account | null>;
  };
}
