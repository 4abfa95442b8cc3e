/**
 * A test authority on disk: its certificate and key, a trust directory with what belongs there, and what it has signed. Nothing is
 * written over.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../../lease/faults.ts';
import type { Clock, Random } from '../../platform/context.ts';
import { errorCode, reasonText } from '../../platform/errors.ts';
import { writeNewFile } from '../../platform/durable.ts';
import { makeDirectory } from '../../platform/make-directory.ts';
import { readCertificate } from '../certificates/certificate.ts';
import { normalSlash } from '../certificates/name.ts';
import { bothHashes } from '../certificates/name-hash.ts';
import { derOf } from '../trust/pem.ts';
import { makeAuthority, makeHost, makeUser, type CertificateOrder, type KeyAndCertificate, type Signer } from './certificates.ts';

export interface CaDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly directory: string;
}
export interface CaOptions {
  readonly days: number;
  readonly sha1: boolean;
}
export interface MadeCertificate {
  readonly dn: string;
  readonly certificate: string;
  readonly key: string;
}

const DAY_MS = 86_400_000;
/** Clocks of others may be behind. */
const EARLIER_MS = 3_600_000;
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/;

/** @returns with the trust directory */
export function initCa(deps: CaDeps, name: string, options: CaOptions): MadeCertificate & { readonly trust: string } {
  const dn = normalSlash(name);
  if (dn === undefined || baseOf(dn) === '') throw new Fault('ParameterInvalid', 'The name of an authority is in slash form, with CN at its end, as "/O=Grid/OU=Lab/CN=Lab CA"', [`${JSON.stringify(name.slice(0, 200))} is not`]);
  // Globus' programs do not find the signing policy of any other.
  if (dn.includes('\\x')) throw new Fault('ParameterInvalid', 'The name of an authority has no other characters than those of ASCII');
  const place = placesOf(deps.directory);
  if (existsSync(place.certificate)) throw new Fault('ParameterInvalid', `There is an authority in ${deps.directory} already: choose another directory`);
  const made = makeAuthority(orderOf(deps, name, options));
  makeOrRefuse(place.trust, 0o755);
  makeOrRefuse(join(deps.directory, 'private'), 0o700);
  write(place.key, made.key, 0o600);
  for (const hash of bothHashes(readCertificate(derOf(Buffer.from(made.certificate), 'CERTIFICATE')).subject)) {
    write(join(place.trust, `${hash}.0`), made.certificate, 0o644);
    write(join(place.trust, `${hash}.signing_policy`), signingPolicy(dn), 0o644);
  }
  // Last: with it, the authority is there.
  write(place.certificate, made.certificate, 0o644);
  return { dn, certificate: place.certificate, key: place.key, trust: place.trust };
}

export function addUser(deps: CaDeps, name: string, commonName: string, options: CaOptions): MadeCertificate {
  return sign(deps, { kind: 'user', name, commonName }, options, makeUser);
}

/** `names`: further ones by which clients reach the host. */
export function addHost(deps: CaDeps, name: string, names: readonly string[], options: CaOptions): MadeCertificate {
  return sign(deps, { kind: 'host', name, commonName: `host/${name}` }, options, (order, authority) => makeHost(order, authority, [...new Set([name, ...names])]));
}

interface Wanted {
  readonly kind: 'user' | 'host';
  readonly name: string;
  readonly commonName: string;
}

function sign(deps: CaDeps, { kind, name, commonName }: Wanted, options: CaOptions, make: (order: CertificateOrder, authority: Signer) => KeyAndCertificate): MadeCertificate {
  if (!FILE_NAME.test(name)) throw new Fault('ParameterInvalid', `A ${kind} is named with letters, digits, ".", "_" or "-"`, [`${JSON.stringify(name.slice(0, 100))} is not`]);
  const authority = readAuthority(deps.directory);
  const subject = `${baseOf(authority.dn)}/CN=${commonName}`;
  const folder = join(deps.directory, `${kind}s`, name);
  const [certificate, key] = [join(folder, `${kind}cert.pem`), join(folder, `${kind}key.pem`)];
  if (existsSync(certificate)) throw new Fault('ParameterInvalid', `There is a certificate of the ${kind} ${name} already: move ${folder} away to have a new one`);
  const made = make(orderOf(deps, subject, options), authority);
  makeOrRefuse(folder, 0o700);
  write(key, made.key, 0o400);
  write(certificate, made.certificate, 0o644);
  return { dn: normalSlash(subject) ?? subject, certificate, key };
}

const placesOf = (directory: string) => ({ certificate: join(directory, 'cacert.pem'), key: join(directory, 'private', 'cakey.pem'), trust: join(directory, 'certificates') });

function readAuthority(directory: string): Signer {
  const place = placesOf(directory);
  try {
    const [certificate, key] = [readFileSync(place.certificate, 'utf8'), readFileSync(place.key, 'utf8')];
    return { certificate, key, dn: readCertificate(derOf(Buffer.from(certificate), 'CERTIFICATE')).subject.slash };
  } catch (e) {
    throw new Fault('ParameterInvalid', `There is no authority in ${directory} that can be read (${reasonText(e)}): make one with "nimbus ca init"`);
  }
}

/** What the names of its users begin with: its own without the common name. */
const baseOf = (dn: string): string => /^(.+)\/CN=[^/]+$/.exec(dn)?.[1] ?? '';

function orderOf({ clock, random }: CaDeps, subject: string, { days, sha1 }: CaOptions): CertificateOrder {
  const now = clock.now();
  return { subject, from: now - EARLIER_MS, until: now + days * DAY_MS, serial: random.bytes(16), sha1 };
}

const signingPolicy = (dn: string): string => `# What the authority may sign
access_id_CA   X509    '${dn}'
pos_rights     globus  CA:sign
cond_subjects  globus  '"${baseOf(dn)}/*"'
`;

function makeOrRefuse(path: string, mode: number): void {
  try {
    makeDirectory(path, mode);
  } catch (e) {
    throw new Fault('ParameterInvalid', `The directory ${path} cannot be made: ${reasonText(e)}`);
  }
}

function write(path: string, text: string, mode: number): void {
  try {
    writeNewFile(path, text, mode);
  } catch (e) {
    // Left by a command that was broken off before it had written the certificate, which nobody uses.
    if (errorCode(e) === 'EEXIST') throw new Fault('ParameterInvalid', `${path} is there already: move it away`);
    throw new Fault('ParameterInvalid', `${path} cannot be written: ${reasonText(e)}`);
  }
}
