/**
 * What a lease is. Pure data, shared by every floor and by the programs that run on VMM nodes.
 *
 * Vocabulary: lease = one VM (EC2: instance, WSRF: workspace); group = one request's leases (EC2: reservation);
 * VMM node = a machine that runs VMs; generation = a lease's counter, raised with every intent.
 */

/** What one VM gets. */
export interface Resources {
  /** MiB */
  readonly memoryMb: number;
  readonly cores: number;
  /** MiB of root disk; 0 = as large as the image says. */
  readonly diskMb: number;
}

/** A named size, from the configuration (`[types."m1.small"]`). */
export interface LeaseType extends Resources {
  readonly name: string;
  /** Networks that a VM of this type joins, one NIC each, in order. Empty = the site's default network. */
  readonly networks: readonly string[];
}

/** One request for leases, translated by a door into these terms; every value is validated already. */
export interface CreateRequest {
  readonly minCount: number;
  readonly maxCount: number;
  /** Image id, or image name (the caller's own first, then `common`). */
  readonly image: string;
  /** Type name; undefined = the site's default type. */
  readonly type?: string | undefined;
  /** Overrides of the type, for doors that ask for figures instead of names. */
  readonly resources?: Partial<Resources> | undefined;
  readonly networks?: readonly string[] | undefined;
  readonly zone?: string | undefined;
  /** Subnets that mirror the networks, in the order of the NICs: they must be what the type joins, and are all of one zone. */
  readonly subnets?: readonly string[] | undefined;
  /** Ids or names of the user's; undefined = the default one. */
  readonly securityGroups?: readonly string[] | undefined;
  readonly keyName?: string | undefined;
  /** The bytes that the guest shall see. */
  readonly userData?: Buffer | undefined;
  /** Seconds from acceptance to the lease's end; undefined = the site's default. */
  readonly durationS?: number | undefined;
  /** Same token + same request = same answer. At most 64 printable ASCII characters. */
  readonly clientToken?: string | undefined;
  /** With `durationS` they may hold `nimbus:duration`, as the user wrote it. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** Of the leases' disks, as volumes. */
  readonly volumeTags?: Readonly<Record<string, string>> | undefined;
  /** GiB that each disk has at least; more than image and type give is refused. */
  readonly diskGib?: number | undefined;
  /** A public key as it stands, for doors whose users bring it with the request; not with `keyName`. */
  readonly publicKey?: string | undefined;
  /** Its user cannot end it, or stop it, before he takes that back. */
  readonly endProtected?: boolean | undefined;
  readonly stopProtected?: boolean | undefined;
  /** When its VM ends by itself it rests with its disk, and can be started again; otherwise it ends. */
  readonly rests?: boolean | undefined;
  readonly grid?: GridRequest | undefined;
  /** The leases are preemptible: they end when others need their room. */
  readonly spot?: SpotAsk | undefined;
}

export interface SpotAsk {
  /** Leases of lower prices end first. Times the charge of a normal lease; nobody is charged by it. */
  readonly price: number;
  /** Its request waits for another lease when this one has ended. */
  readonly persistent: boolean;
  /** ms: its request is over then */
  readonly validUntil?: number | undefined;
  /** Of the requests that are made with the leases. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** The request that the lease is made for; otherwise one is made with each. */
  readonly requestId?: string | undefined;
}

/** Where a new lease rests until it is started. */
export type RestingState = 'Unpropagated' | 'Propagated' | 'Paused';

/** What grid clients ask beyond other doors. */
export interface GridRequest {
  /** What its user calls it: a URI. */
  readonly name: string;
  /** Names of its NICs, in the order of the networks. */
  readonly nics: readonly string[];
  readonly architecture: string;
  /** The number of cores was asked for, not left to the site. */
  readonly cores: boolean;
  /** null = it runs */
  readonly target: RestingState | null;
  /** Name of the image that each lease's disk becomes when its time is over; null = it is thrown away. */
  readonly saveAs: string | null;
  /** Placed with the others of this ensemble, when that is done: a new one, or one that is still open. */
  readonly ensemble: 'new' | { readonly join: string } | null;
}

/** One network interface of a lease, as leased from a pool. */
export interface Nic {
  readonly network: string;
  readonly kind: NetworkKind;
  /** Host bridge, for kind `bridge`. */
  readonly bridge: string | null;
  /** Lower-case, colon-separated. */
  readonly mac: string;
  /** IPv4 address that the guest shall use. */
  readonly ip: string;
  /** Prefix length, 0..32. */
  readonly prefix: number;
  readonly gateway: string | null;
  readonly dns: readonly string[];
  readonly hostname: string;
}

/**
 * `user`: user-mode networking of the VMM; the guest is reached through ports that its node forwards.
 * `bridge`: a tap on a host bridge; the guest is reached at its leased address.
 */
export type NetworkKind = 'user' | 'bridge';

/** How a running guest is reached. Absent when it cannot be reached. */
export interface Reach {
  /** Address at which the guest answers: its own on a bridge, its node's behind port forwarding. */
  readonly host: string;
  /** TCP port on `host` that leads to the guest's SSH port. */
  readonly sshPort: number;
  /** True when `host` is the node and only forwarded ports reach the guest. */
  readonly forwarded: boolean;
}

/** A stretch of time in which a lease used a node. `stop` is null while it lasts. Times are ms since the epoch. */
export interface UsageInterval {
  readonly node: string;
  readonly start: number;
  readonly stop: number | null;
  readonly memoryMb: number;
  readonly cores: number;
}
