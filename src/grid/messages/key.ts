/** Whose keys sign messages to doors that know certificates without an authority: RSA, within sizes that keep a check cheap. */
import type { Certificate } from '../certificates/certificate.ts';

const LEAST_BITS = 1024;
const MOST_BITS = 4096;
/** Larger ones make each check of a signature dear. */
const MOST_EXPONENT = 2n ** 32n;

/** Undefined: the key may be used. */
export function keyProblem({ x509: { publicKey } }: Certificate): string | undefined {
  const { asymmetricKeyType: kind, asymmetricKeyDetails: { modulusLength: bits = 0, publicExponent = 0n } = {} } = publicKey;
  if (kind !== 'rsa') return `its key must be RSA, and is ${kind ?? 'of a kind that is not known'}`;
  if (bits < LEAST_BITS || bits > MOST_BITS) return `its key must have ${LEAST_BITS} to ${MOST_BITS} bits, and has ${bits}`;
  return publicExponent > MOST_EXPONENT ? 'the exponent of its key is too large' : undefined;
}
