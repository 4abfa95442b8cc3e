/** What administrators do. The admin door (Unix socket) and the `nimbus` command speak in these terms. */
import type { NodeAccess } from '../control/types.ts';
import type { Nic, UsageInterval } from '../lease/types.ts';
import type { ImageView } from './types.ts';

export interface UserView {
  readonly name: string;
  readonly ownerId: string;
  readonly admin: boolean;
  readonly accessKeys: ReadonlyArray<{ readonly accessKey: string; readonly active: boolean }>;
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

/** Where the repository finds the bytes of a new image: a file that the service can read. */
export interface NewImage {
  readonly name: string;
  /** null = common */
  readonly owner: string | null;
  readonly file: string;
  readonly description: string;
}

export interface AdminManager {
  readonly users: {
    add(name: string, admin: boolean): Promise<NewCredentials>;
    list(): Promise<UserView[]>;
    /** Refused while the user has live leases. */
    remove(name: string): Promise<void>;
    /** A further key; `deactivate` names keys to switch off. */
    addKey(name: string): Promise<NewCredentials>;
    deactivateKey(name: string, accessKey: string): Promise<void>;
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
    list(): Promise<ImageView[]>;
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
  readonly usage: {
    list(query: { user?: string | undefined; since?: number | undefined }): Promise<UsageView[]>;
  };
}
