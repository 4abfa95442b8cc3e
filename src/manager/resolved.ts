/** A create request with everything looked up and held against the site's policy; what is left is placing it. */
import type { GridRequest, Resources, SpotAsk } from '../lease/types.ts';
import type { ImageRow } from '../store/images.ts';
import type { NetworkRow } from '../store/networks.ts';

export interface ResolvedRequest {
  readonly accountId: number;
  readonly who: string;
  readonly ownerId: string;
  readonly requestId: string;
  readonly acceptedAt: number;
  readonly minCount: number;
  readonly maxCount: number;
  readonly image: ImageRow;
  readonly type: string;
  readonly resources: Resources;
  readonly networks: readonly NetworkRow[];
  readonly zone: string | null;
  /** null = the default one */
  readonly securityGroups: ReadonlyArray<{ readonly id: string; readonly name: string }> | null;
  readonly keyName: string | null;
  readonly publicKey: string | null;
  readonly userData: Buffer | null;
  readonly durationS: number;
  /** False: the site's default, which policies may shorten. */
  readonly durationAsked: boolean;
  readonly clientToken: string | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly volumeTags: Readonly<Record<string, string>>;
  readonly endProtected: boolean;
  readonly stopProtected: boolean;
  /** At its VM's own exit it rests, instead of ending. */
  readonly rests: boolean;
  readonly grid?: GridRequest | undefined;
  /** null = not preemptible. `launch`: as a request keeps it that is made with the leases. */
  readonly spot: (SpotAsk & { readonly launch: unknown }) | null;
  /** Digest of what the user asked: the same client token must come with the same request. */
  readonly hash: string;
}

/** What placing needs of a request. */
export type Placeable = Pick<ResolvedRequest, 'accountId' | 'who' | 'requestId' | 'minCount' | 'resources' | 'networks' | 'zone' | 'durationS' | 'spot'>;

/** Requests that are granted together or not at all: one, or the groups of an ensemble; all of one user. */
export type Order = readonly [ResolvedRequest, ...ResolvedRequest[]];
