/** Why a chain of certificates is not believed: one word for each reason, in the reasons of the fault that users get. */
import { Fault } from '../../lease/faults.ts';
import type { Certificate } from './certificate.ts';

export type CertificateReason =
  | 'Unreadable' | 'ChainTooLong' | 'NotYetValid' | 'Expired' | 'SelfSigned' | 'UnknownAuthority' | 'BadSignature' | 'WeakSignature' | 'WeakKey'
  | 'NotAnAuthority' | 'AuthorityAsUser' | 'PathTooLong' | 'KeyUsage' | 'ExtensionUnknown' | 'NameAmbiguous'
  | 'Revoked' | 'CrlMissing' | 'CrlExpired' | 'CrlUnusable'
  | 'SigningPolicyMissing' | 'SigningPolicyUnusable' | 'SigningPolicyRefuses'
  | 'ProxyName' | 'ProxyExtension' | 'ProxyRights' | 'ProxyPathLength' | 'ProxiesMixed';

export function refused(reason: CertificateReason, text: string): Fault {
  return new Fault('CertificateRefused', text, [reason]);
}

/** How a certificate is called in sentences: a bound keeps names of strangers out of the log. */
export const called = ({ subject }: Certificate): string => `The certificate ${subject.slash.slice(0, 300) || '(without a name)'}`;
