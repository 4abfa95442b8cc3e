/**
 * Proxy certificates, as users sign them for themselves: of RFC 3820; of its drafts, as Globus 3 made them; and those of Globus 2,
 * which only their names tell (`CN=proxy`, `CN=limited proxy`).
 */
import { children, context, expectTag, readOid, readSmallInteger, TAG, type Der } from '../der.ts';
import { COMMON_NAME, extendsByOne, type Name } from './name.ts';

/**
 * `full`: all rights of its issuer; `limited`: as a full one, but to Globus not enough to start anything; `independent`: none of its
 * issuer's rights, a name of its own; `other`: rights said in a language that is not known here.
 */
export type ProxyRights = 'full' | 'limited' | 'independent' | 'other';

export interface ProxyInfo {
  readonly kind: 'rfc' | 'draft' | 'legacy';
  readonly rights: ProxyRights;
  /** Proxies that may follow; undefined = any number. */
  readonly pathLength: number | undefined;
  readonly critical: boolean;
}

export const RFC_PROXY = '1.3.6.1.5.5.7.1.14';
export const DRAFT_PROXY = '1.3.6.1.4.1.3536.1.222';

const LANGUAGES: Readonly<Record<string, ProxyRights>> = {
  '1.3.6.1.5.5.7.21.1': 'full',
  '1.3.6.1.5.5.7.21.2': 'independent',
  '1.3.6.1.4.1.3536.1.1.1.9': 'limited',
};

type Read = Omit<ProxyInfo, 'critical'>;

/** SEQUENCE { pathLength INTEGER OPTIONAL, policy } (RFC 3820, 3.8). @throws DerError */
export function readRfcProxy(value: Der): Read {
  const fields = children(value, TAG.sequence);
  const length = fields[0]?.tag === TAG.integer ? fields.shift() : undefined;
  return { kind: 'rfc', rights: rightsOf(fields[0]), pathLength: lengthOf(length) };
}

/** SEQUENCE { policy, [1] pathLength OPTIONAL }: what `grid-proxy-init -draft` makes. @throws DerError */
export function readDraftProxy(value: Der): Read {
  const [policy, tagged] = children(value, TAG.sequence);
  return { kind: 'draft', rights: rightsOf(policy), pathLength: tagged === undefined ? undefined : lengthOf(children(tagged, context(1))[0]) };
}

export function legacyProxy(subject: Name, issuer: Name): Read | undefined {
  const [only, more] = subject.last;
  if (more !== undefined || only?.type !== COMMON_NAME || !extendsByOne(subject, issuer)) return undefined;
  if (only.value === 'proxy') return { kind: 'legacy', rights: 'full', pathLength: undefined };
  return only.value === 'limited proxy' ? { kind: 'legacy', rights: 'limited', pathLength: undefined } : undefined;
}

/** A policy in words beside a language that has none makes the rights others than the language's. */
function rightsOf(policy: Der | undefined): ProxyRights {
  const [language, words] = children(expectTag(policy, TAG.sequence));
  return words === undefined ? LANGUAGES[readOid(language)] ?? 'other' : 'other';
}

function lengthOf(value: Der | undefined): number | undefined {
  if (value === undefined) return undefined;
  // A negative length lets nothing follow.
  return Math.max(0, readSmallInteger(value));
}
