/**
 * Which key to pin for a host, when it is added. What the administrator gave comes first, then what the site's known_hosts
 * say, then the administrator is asked. A key that contradicts what is known is refused, never asked about.
 */
import { execFile } from 'node:child_process';
import type { Context } from '../../platform/context.ts';
import { connectSsh, SshFailure, type SshTarget } from './connect.ts';
import { readCertificate, refuseCertificate } from './certificate.ts';
import { fingerprint, keyType, pinOf, readPin } from './hostkeys.ts';
import { lookUp, type KnownHost } from './known-hosts.ts';

export type TrustSource = 'given' | 'known-hosts' | 'host-ca' | 'confirmed';

export interface TrustOptions {
  /** `ssh-ed25519 AAAA…` or `SHA256:…`, from the administrator. */
  readonly hostKey?: string | undefined;
  /** Text of known_hosts files, the site's and the administrator's. */
  readonly knownHosts?: readonly string[];
  /** Asked when nothing is known of the host. */
  readonly confirm?: (shown: { readonly fingerprint: string; readonly type: string }) => Promise<boolean>;
  readonly connectMs?: number;
}

export interface TrustedHost {
  /** The pin. */
  readonly hostKey: string;
  readonly fingerprint: string;
  readonly from: TrustSource;
}

/** @throws SshFailure of kind `host-key` (reasons in the message) or `unreachable` */
export async function trustHost(ctx: Context, target: SshTarget, options: TrustOptions): Promise<TrustedHost> {
  const known = lookUp((options.knownHosts ?? []).join('\n'), target.host, target.port);
  const given = options.hostKey === undefined || options.hostKey.startsWith('SHA256:') ? undefined : readPin(options.hostKey);
  if (options.hostKey !== undefined && given === undefined && !options.hostKey.startsWith('SHA256:')) {
    throw refused(target, 'the host key given is neither "TYPE BASE64" nor "SHA256:…"');
  }
  const expected = given === undefined ? known.keys[0] : given;
  const shown = await showHostKey(ctx, target, options.connectMs ?? 10_000, expected === undefined ? undefined : keyType(expected));
  const from = await judge(ctx, target, options, known, shown);
  return { hostKey: pinOf(shown), fingerprint: fingerprint(shown), from };
}

async function judge(ctx: Context, target: SshTarget, options: TrustOptions, known: KnownHost, shown: Buffer): Promise<TrustSource> {
  const print = fingerprint(shown);
  if (known.revoked.some((k) => k.equals(shown))) throw refused(target, `the host shows ${print}, which known_hosts revokes`);
  if (options.hostKey !== undefined) {
    const wanted = options.hostKey.startsWith('SHA256:') ? options.hostKey.replace(/=+$/, '') : fingerprint(readPin(options.hostKey) ?? Buffer.alloc(0));
    if (wanted !== print) throw refused(target, `the host shows ${print}, but ${wanted} was given`);
    return 'given';
  }
  if (known.keys.some((k) => k.equals(shown))) return 'known-hosts';
  if (known.authorities.length > 0) {
    const why = await refuseByCertificate(ctx, target, known, shown, options.connectMs ?? 10_000);
    if (why === undefined) return 'host-ca';
    throw refused(target, why);
  }
  if (known.keys.length > 0) throw refused(target, `the host shows ${print}, but known_hosts has ${known.keys.map(fingerprint).join(', ')}`);
  if (options.confirm === undefined) throw refused(target, `nothing is known of the host; it shows ${print}. Compare it with the host's own and give it with --host-key`);
  if (!(await options.confirm({ fingerprint: print, type: keyType(shown) ?? 'unknown' }))) throw refused(target, `its key ${print} was not confirmed`);
  return 'confirmed';
}

const refused = ({ host }: SshTarget, why: string): SshFailure => new SshFailure('host-key', `${host}: ${why}`);

/** The key that a host shows, from a connection that ends before anything is proven or sent. */
export async function showHostKey(ctx: Context, target: SshTarget, connectMs: number, preferredType?: string): Promise<Buffer> {
  const stop = new AbortController();
  const timer = ctx.clock.after(connectMs, () => stop.abort(new Error(`no host key within ${connectMs} ms`)));
  let shown: Buffer | undefined;
  try {
    await connectSsh({
      target, identities: [], expectType: preferredType,
      checkHost: (blob) => {
        shown = blob;
        return 'only the key was wanted';
      },
    }, stop.signal);
  } catch (e) {
    if (shown === undefined) throw e;
  } finally {
    timer.cancel();
  }
  if (shown === undefined) throw new SshFailure('unreachable', `${target.host}: the host showed no key`);
  return shown;
}

/**
 * undefined when an authority of the site certified the key that the host shows. OpenSSH's ssh-keyscan fetches the
 * certificates; it need not be believed, since what it brings is verified here.
 */
async function refuseByCertificate(ctx: Context, target: SshTarget, known: KnownHost, shown: Buffer, deadlineMs: number): Promise<string | undefined> {
  const certificates = (await scanCertificates(target, deadlineMs)).flatMap((blob) => readCertificate(blob) ?? []);
  const forKey = certificates.find((c) => c.key.equals(shown));
  if (forKey === undefined) return `known_hosts names an authority for the host, but the host has no certificate for its key ${fingerprint(shown)}`;
  if (known.revoked.some((k) => k.equals(forKey.authority))) return 'the authority of the certificate is revoked';
  return refuseCertificate(forKey, target.host, known.authorities, ctx.clock.now());
}

function scanCertificates({ host, port }: SshTarget, deadlineMs: number): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const args = ['-c', '-p', String(port), '-T', String(Math.ceil(deadlineMs / 1000)), '--', host];
    execFile('ssh-keyscan', args, { timeout: deadlineMs, maxBuffer: 1024 * 1024 }, (e, stdout) => {
      if (e !== null && (e as NodeJS.ErrnoException).code === 'ENOENT') {
        return reject(new SshFailure('host-key', `${host}: checking host certificates needs ssh-keyscan; install openssh-client, or give the key with --host-key`));
      }
      // With or without the host's name before it, by version.
      const found = stdout.matchAll(/-cert-v01@openssh\.com ([A-Za-z0-9+/]+={0,2})/g);
      resolve([...found].map(([, base64 = '']) => Buffer.from(base64, 'base64')));
    });
  });
}
