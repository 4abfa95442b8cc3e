/**
 * Who has signed a SOAP request. A certificate that a user has registered is known by its fingerprint, whoever made it; of
 * another one, the chain to an authority of the site's grid says whose it is. Only what was signed is handed on.
 */
import type { Certificate } from '../../grid/certificates/certificate.ts';
import { checkTime } from '../../grid/certificates/checks.ts';
import type { GridCaller } from '../../grid/authenticate.ts';
import { keyProblem } from '../../grid/messages/key.ts';
import { distrusted } from '../../grid/messages/refusals.ts';
import { createMessageVerifier } from '../../grid/messages/verify.ts';
import { Fault } from '../../lease/faults.ts';
import type { Account, Manager } from '../../manager/types.ts';
import type { Clock } from '../../platform/context.ts';

export interface SoapSigner {
  readonly account: Account;
  /** By a limited proxy: may look, and change nothing. */
  readonly limited: boolean;
  /** The envelope of what was signed: the only text that may be acted upon. */
  readonly message: string;
  /** Names what was signed until `validUntil`, ms. */
  readonly signatureId: string;
  readonly validUntil: number;
}

export interface SoapSigners {
  /** @param message as it was read before, within limits. @throws Fault CredentialsMissing, MessageRefused, RequestExpired, CertificateUnknown, CertificateRefused */
  authenticate(message: Buffer): Promise<SoapSigner>;
}

export interface SoapTrust {
  readonly skewMs: number;
  /** Signatures with SHA-1 are believed: clients before 2012 know no other. */
  readonly sha1: boolean;
  /** Whose a chain is by the site's grid. Absent where the site has none. */
  readonly signerOf?: (chain: readonly Certificate[]) => Promise<GridCaller>;
}

/** A message that is signed for longer is good for so long only. */
const LONGEST_MS = 600_000;

export function createSoapSigners(clock: Clock, credentials: Manager['credentials'], trust: SoapTrust): SoapSigners {
  const verifier = createMessageVerifier(clock, { believe: checkKey, skewMs: trust.skewMs, longestMs: LONGEST_MS, sha1: trust.sha1 });

  async function whose(chain: readonly Certificate[]): Promise<Pick<SoapSigner, 'account' | 'limited'>> {
    const [leaf] = chain as readonly [Certificate];
    const account = await credentials.ofCertificate(leaf.fingerprint);
    if (account !== null) {
      checkTime(leaf, trust, clock.now());
      return { account, limited: false };
    }
    if (trust.signerOf !== undefined) return trust.signerOf(chain);
    throw new Fault('CertificateUnknown', `No user of this site has the certificate of ${leaf.subject.slash.slice(0, 300)} (SHA-256 ${leaf.fingerprint}).`, ['an administrator registers it with: nimbus user cert add USER FILE']);
  }

  return {
    async authenticate(message) {
      const verified = verifier.verify(message);
      if (verified === undefined) throw new Fault('CredentialsMissing', 'The request is not signed: sign its Body and Timestamp with WS-Security and an X.509 certificate.');
      return { ...await whose(verified.signer), message: verified.message, signatureId: verified.id.toString('latin1'), validUntil: verified.validUntil };
    },
  };
}

/** Before the signature is checked with it. */
function checkKey(chain: readonly Certificate[]): readonly Certificate[] {
  const problem = keyProblem(chain[0] as Certificate);
  if (problem !== undefined) throw distrusted('TokenKey', `The certificate cannot be used: ${problem}.`);
  return chain;
}
