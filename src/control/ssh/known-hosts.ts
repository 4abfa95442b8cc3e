/** known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): what a site says of a host before anybody is asked. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readPin } from './hostkeys.ts';

export interface KnownHost {
  /** Keys that the host may show. */
  readonly keys: readonly Buffer[];
  /** Keys of authorities that may certify the host. */
  readonly authorities: readonly Buffer[];
  /** Keys that must not be trusted from anybody. */
  readonly revoked: readonly Buffer[];
}

const KINDS = { '': 'keys', '@cert-authority': 'authorities', '@revoked': 'revoked' } as const;

export function lookUp(knownHosts: string, host: string, port: number): KnownHost {
  const found: Record<keyof KnownHost, Buffer[]> = { keys: [], authorities: [], revoked: [] };
  const name = hostName(host, port);
  for (const line of knownHosts.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const marker = fields[0]?.startsWith('@') === true ? fields.shift() : '';
    const kind = Object.hasOwn(KINDS, marker ?? '') ? KINDS[marker as keyof typeof KINDS] : undefined;
    const [patterns = '', type = '', base64 = ''] = fields;
    if (kind === undefined || patterns === '' || patterns.startsWith('#') || !matches(patterns, name)) continue;
    const blob = readPin(`${type} ${base64}`);
    if (blob !== undefined) found[kind].push(blob);
  }
  return found;
}

/** A port other than 22 is part of the name: `[host]:port`. Names are compared in lower case. */
function hostName(host: string, port: number): string {
  const lower = host.toLowerCase();
  return port === 22 ? lower : `[${lower}]:${port}`;
}

function matches(patterns: string, name: string): boolean {
  if (patterns.startsWith('|')) return matchesHash(patterns, name);
  const all = patterns.toLowerCase().split(',');
  if (all.some((p) => p.startsWith('!') && matchesPattern(p.slice(1), name))) return false;
  return all.some((p) => !p.startsWith('!') && matchesPattern(p, name));
}

/** `|1|salt|hash`: base64 of the HMAC-SHA1 of the name with the salt as its key. */
function matchesHash(field: string, name: string): boolean {
  const [, version, salt = '', hash = ''] = field.split('|');
  if (version !== '1') return false;
  const expected = Buffer.from(hash, 'base64');
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

/** ssh_config(5), PATTERNS: `*` any characters, `?` one. Matched without backtracking into exponential time. */
export function matchesPattern(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p;
      p += 1;
      resume = t;
    } else if (pattern[p] === '?' || pattern[p] === text[t]) {
      p += 1;
      t += 1;
    } else if (star >= 0) {
      p = star + 1;
      resume += 1;
      t = resume;
    } else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}
