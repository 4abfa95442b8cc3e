/**
 * Authorities that the site trusts, in the layout of Globus: `HASH.0` is a certificate, `HASH.signing_policy` what it may sign,
 * `HASH.r0` what it took back; HASH is of either kind. Files that other programs renew count within seconds.
 */
import type { Context } from '../../platform/context.ts';
import { createReloader } from '../reload.ts';
import { MOST_CERTIFICATE_BYTES, readCertificate, type Certificate } from '../certificates/certificate.ts';
import { readCrl, type Crl } from '../certificates/crl.ts';
import { bothHashes } from '../certificates/name-hash.ts';
import { readSigningPolicy, type SigningPolicy } from '../certificates/signing-policy.ts';
import type { Authority, Trust, Unusable } from '../certificates/types.ts';
import { fileSet, type KnownFile } from './files.ts';
import { derOf } from './pem.ts';

export interface TrustDirectory extends Trust {
  readonly all: readonly Authority[];
  /** Files that do not count, each with the reason. */
  readonly problems: ReadonlyArray<{ readonly file: string; readonly why: string }>;
  /** Looks now instead of in some seconds. */
  refresh(): Promise<void>;
  stop(): void;
}

const NAME = /^([0-9a-f]{8})\.(?:(\d{1,3})|(signing_policy)|(r\d{1,3}))$/;
const MOST_CRL_BYTES = 64 * 1024 * 1024;
const LOOK_EVERY_MS = 5_000;

type Content = Certificate | SigningPolicy | Crl;

/** @throws when the directory cannot be read */
export async function openTrustDirectory(ctx: Context, directory: string, everyMs = LOOK_EVERY_MS): Promise<TrustDirectory> {
  const set = fileSet<Content>(directory, mostBytes, read);
  let found = assemble((await set.look()).files);
  let generation = 1;
  const reloader = createReloader(ctx, everyMs, `the trust directory ${directory}`, async () => {
    const { files, changed } = await set.look();
    if (!changed) return;
    found = assemble(files);
    generation += 1;
    ctx.log.info('the trust directory has changed', { directory, authorities: found.all.length, problems: found.problems.length });
  });
  return {
    get generation() { return generation; },
    get all() { return found.all; },
    get problems() { return found.problems; },
    authorities: (name) => found.byName.get(name.key) ?? [],
    refresh: () => reloader.look(),
    stop: () => reloader.stop(),
  };
}

function mostBytes(name: string): number | undefined {
  const m = NAME.exec(name);
  if (m === null) return undefined;
  return m[4] === undefined ? MOST_CERTIFICATE_BYTES * 4 : MOST_CRL_BYTES;
}

function read(name: string, bytes: Buffer): Content {
  const [, , certificate, policy] = NAME.exec(name) ?? [];
  if (certificate !== undefined) return readCertificate(derOf(bytes, 'CERTIFICATE'));
  return policy === undefined ? readCrl(derOf(bytes, 'X509 CRL')) : readSigningPolicy(bytes.toString('utf8'));
}

interface Assembled {
  readonly all: readonly Authority[];
  readonly byName: ReadonlyMap<string, readonly Authority[]>;
  readonly problems: TrustDirectory['problems'];
}

function assemble(files: readonly KnownFile<Content>[]): Assembled {
  const contents = new Map(files.map((f) => [f.name, f.content]));
  const problems = files.flatMap((f) => ('unusable' in f.content ? [{ file: f.name, why: f.content.unusable }] : []));
  const byName = new Map<string, Authority[]>();
  const seen = new Set<string>();
  for (const { name, content } of files) {
    if ('unusable' in content || !('x509' in content)) continue;
    const hashes = bothHashes(content.subject);
    if (!hashes.includes(name.slice(0, 8))) {
      problems.push({ file: name, why: `its name should begin with ${hashes.join(' or ')}` });
      continue;
    }
    // The same certificate stands there under both hashes.
    if (seen.has(content.fingerprint)) continue;
    seen.add(content.fingerprint);
    const { key } = content.subject;
    byName.set(key, [...byName.get(key) ?? [], { certificate: content, policy: policyOf(contents, hashes), crl: crlOf(contents, hashes, content) }]);
  }
  return { all: [...byName.values()].flat(), byName, problems };
}

function policyOf(contents: ReadonlyMap<string, Content | Unusable>, hashes: readonly string[]): SigningPolicy | Unusable | undefined {
  return hashes.map((hash) => contents.get(`${hash}.signing_policy`)).find((c) => c !== undefined) as SigningPolicy | Unusable | undefined;
}

/** The newest one that the authority has signed. */
function crlOf(contents: ReadonlyMap<string, Content | Unusable>, hashes: readonly string[], authority: Certificate): Crl | Unusable | undefined {
  const candidates = [...contents].filter(([name]) => hashes.includes(name.slice(0, 8)) && name[9] === 'r').map(([, content]) => content as Crl | Unusable);
  const own = candidates.filter((c): c is Crl => !('unusable' in c) && c.signedBy(authority)).sort((a, b) => b.thisUpdate - a.thisUpdate);
  const unusable = candidates.find((c) => 'unusable' in c) ?? (candidates.length === 0 ? undefined : { unusable: 'the authority has not signed it' });
  return own[0] ?? unusable;
}
