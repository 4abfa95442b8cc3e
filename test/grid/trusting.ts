/** Trust and rules for tests of chains: one authority, whatever is said of it. */
import { readCertificate, type Certificate } from '../../src/grid/certificates/certificate.ts';
import { validatePath } from '../../src/grid/certificates/path.ts';
import type { Authority, PathRules, Trust, ValidPath } from '../../src/grid/certificates/types.ts';
import { isFault } from '../../src/lease/faults.ts';
import type { Made } from './make.ts';

export const RULES: PathRules = { skewMs: 60_000, sha1: false, crl: 'when-present', signingPolicy: 'when-present', use: 'tls' };

export const read = (made: Made): Certificate => readCertificate(made.der);

export function trusting(...known: ReadonlyArray<Made | { made: Made } & Partial<Pick<Authority, 'crl' | 'policy'>>>): Trust {
  const all = known.map((k): Authority => ('made' in k ? { certificate: read(k.made), policy: k.policy, crl: k.crl } : { certificate: read(k), policy: undefined, crl: undefined }));
  return { generation: 1, authorities: (name) => all.filter((a) => a.certificate.subject.key === name.key) };
}

export const validate = (presented: readonly Made[], trust: Trust, rules: Partial<PathRules> = {}, now = Date.now()): ValidPath =>
  validatePath(presented.map(read), trust, { ...RULES, ...rules }, now);

/** The reason of the refusal; the identity where there is none. */
export function verdict(...args: Parameters<typeof validate>): string {
  try {
    return validate(...args).identity;
  } catch (e) {
    if (isFault(e) && e.code === 'CertificateRefused') return e.reasons[0] ?? '';
    throw e;
  }
}
