/** Who asks, for doors of the grid: by the certificates of the connection, or by the message's own signature. */
import type { TLSSocket } from 'node:tls';
import { Fault } from '../lease/faults.ts';
import type { Clock } from '../platform/context.ts';
import type { Certificate } from './certificates/certificate.ts';
import { createChains } from './certificates/chains.ts';
import type { PathRules, Trust, ValidPath } from './certificates/types.ts';
import { createMessageVerifier } from './messages/verify.ts';
import { createPeers } from './tls/peers.ts';

export interface GridAccount {
  readonly accountId: number;
  readonly name: string;
  readonly ownerId: string;
  readonly admin: boolean;
}

export interface GridCaller {
  readonly account: GridAccount;
  /** In slash form, without its proxies. */
  readonly dn: string;
  /** By a limited proxy: may look, and change nothing. */
  readonly limited: boolean;
  /** Of a signed message only. */
  readonly signed?: SignedRequest;
}

export interface SignedRequest {
  /** The envelope of what was signed: the only text that may be acted upon. */
  readonly message: string;
  /** For requests that would do something again: refused when it comes a second time, to whatever service. @throws Fault RequestExpired, Busy */
  once(): Promise<void>;
}

export interface GridAuthenticator {
  /**
   * A message that is signed is its signer's, whoever has brought it.
   * @param bytes the whole message, where there is one
   * @throws Fault CertificateMissing, CertificateRefused, MessageRefused, RequestExpired, DnUnknown
   */
  authenticate(connection: TLSSocket, bytes?: Buffer): Promise<GridCaller>;
  /** Whose a chain is that has signed a message, for a door that has verified it. @throws Fault CertificateRefused, DnUnknown */
  signerOf(chain: readonly Certificate[]): Promise<GridCaller>;
}

export interface GridAuthParts {
  readonly clock: Clock;
  readonly trust: Trust;
  readonly rules: Omit<PathRules, 'use'> & { readonly sha1Messages: boolean };
  readonly accounts: {
    ofDn(dn: string): Promise<GridAccount | null>;
    ofUser(name: string): Promise<GridAccount | null>;
  };
  /** Names that are a user's by the grid-mapfile. */
  readonly userOf: (dn: string) => string | undefined;
  /** False when any service has used it before. */
  readonly use: (id: Buffer, validUntil: number) => Promise<boolean>;
}

export function createGridAuthenticator({ clock, trust, rules, accounts, userOf, use }: GridAuthParts): GridAuthenticator {
  const peers = createPeers(createChains(clock, trust, { ...rules, use: 'tls' }));
  const signers = createChains(clock, trust, { ...rules, use: 'message' });
  const messages = createMessageVerifier(clock, { believe: (chain) => signers.validate(chain), skewMs: rules.skewMs, sha1: rules.sha1Messages });

  /** The user table first: the file may be another program's. */
  async function callerOf({ identity: dn, limited }: ValidPath): Promise<GridCaller> {
    const user = userOf(dn);
    const account = await accounts.ofDn(dn) ?? (user === undefined ? null : await accounts.ofUser(user));
    if (account !== null) return { account, dn, limited };
    throw new Fault('DnUnknown', `No user of this site has the certificate ${dn}.`, user === undefined ? [] : [`the grid-mapfile names ${user}, whom there is not`]);
  }

  return {
    signerOf: async (chain) => callerOf(signers.validate(chain)),
    async authenticate(connection, bytes) {
      const verified = bytes === undefined ? undefined : messages.verify(bytes);
      if (verified === undefined) return callerOf(peers.of(connection));
      const { signer, message, id, validUntil } = verified;
      return {
        ...await callerOf(signer),
        signed: {
          message,
          async once() {
            if (!await use(id, validUntil)) throw new Fault('RequestExpired', 'This very message was received before and is not carried out twice: sign it anew.');
          },
        },
      };
    },
  };
}
