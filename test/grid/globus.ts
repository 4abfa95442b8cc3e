/** Certificates by the openssl program and proxies by Globus' own: what is read here is what others have made. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { hasPart } from '../parts.ts';

/** A test that needs these programs. */
export const withGlobus = test.skipIf(!hasPart('globus'));

export interface GlobusUser {
  readonly dn: string;
  readonly trust: string;
  readonly certificate: string;
  readonly key: string;
  /** File with the proxy's certificate, its key and its chain. `of`: a proxy that it is a proxy of. */
  proxy(name: string, options: readonly string[], of?: string): string;
}

const EXTENSIONS = `[req]
distinguished_name=dn
[dn]
[ca]
basicConstraints=critical,CA:true
keyUsage=critical,keyCertSign,cRLSign
[user]
basicConstraints=CA:false
keyUsage=digitalSignature,keyEncipherment
`;

export const openssl = (cwd: string, ...args: string[]): string => execFileSync('openssl', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** An authority with a trust directory, and a user. `digest`: of all signatures, also of proxies. */
export function globusUser(dir: string, digest: 'sha1' | 'sha256' = 'sha256'): GlobusUser {
  mkdirSync(join(dir, 'certificates'), { recursive: true });
  writeFileSync(join(dir, 'x.cnf'), EXTENSIONS);
  openssl(dir, 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', `-${digest}`, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/O=Grid/OU=Test/CN=Test CA', '-days', '30', '-config', 'x.cnf', '-extensions', 'ca');
  openssl(dir, 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'user.key', '-out', 'user.csr', '-subj', '/O=Grid/OU=Test/CN=Alice Grid', '-config', 'x.cnf');
  openssl(dir, 'x509', '-req', '-in', 'user.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', `-${digest}`, '-days', '20', '-extfile', 'x.cnf', '-extensions', 'user', '-out', 'user.pem');
  for (const kind of ['subject_hash', 'subject_hash_old']) {
    const hash = openssl(dir, 'x509', '-in', 'ca.pem', '-noout', `-${kind}`).trim();
    openssl(dir, 'x509', '-in', 'ca.pem', '-out', `certificates/${hash}.0`);
    writeFileSync(join(dir, 'certificates', `${hash}.signing_policy`), 'access_id_CA X509 \'/O=Grid/OU=Test/CN=Test CA\'\npos_rights globus CA:sign\ncond_subjects globus \'"/O=Grid/OU=Test/*"\'\n');
  }
  const [certificate, key, trust] = [join(dir, 'user.pem'), join(dir, 'user.key'), join(dir, 'certificates')];
  return {
    dn: '/O=Grid/OU=Test/CN=Alice Grid', trust, certificate, key,
    proxy(name, options, of) {
      const out = join(dir, name);
      execFileSync('grid-proxy-init', ['-q', '-valid', '1:0', '-cert', of ?? certificate, '-key', of ?? key, '-certdir', trust, '-out', out, ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
      return out;
    },
  };
}

/** A host certificate of the user's authority for 127.0.0.1, and the configuration of a service that shows it and tells consumers on this machine. */
export function gridService(dir: string, user: GlobusUser): string {
  openssl(dir, 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'host.key', '-out', 'host.csr', '-subj', '/O=Grid/OU=Test/CN=127.0.0.1', '-config', 'x.cnf');
  writeFileSync(join(dir, 'host.ext'), 'subjectAltName=IP:127.0.0.1\n');
  openssl(dir, 'x509', '-req', '-in', 'host.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '20', '-extfile', 'host.ext', '-out', 'host.pem');
  return `[grid]
trust_directory = ${JSON.stringify(user.trust)}
tls_certificate = ${JSON.stringify(join(dir, 'host.pem'))}
tls_key = ${JSON.stringify(join(dir, 'host.key'))}
[wsrf]
listen = "127.0.0.1:0"
allowed_consumers = ["127.0.0.0/8"]
`;
}
