/** The certificates of the listeners: whether they can be read, belong to their keys, are valid today and for a while, and name us. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { reasonText } from '../../platform/errors.ts';
import { hostAndPort } from '../../platform/http/address.ts';
import { fail, ok, warn } from '../findings.ts';
import type { Check, DoctorSite, Finding } from '../types.ts';

const CHECK = 'certificates';
const DAY_MS = 86_400_000;
/** Authorities of today renew at two thirds of 90 days. */
const SOON_DAYS = 21;

export const certificates: Check = {
  name: CHECK,
  look(site) {
    const { ec2, grid, pilot } = site.config;
    return [
      ...listener(site, 'ec2', ec2.tls_certificate, ec2.tls_key, hostAndPort(ec2.public_address).host),
      ...listener(site, 'grid', grid.tls_certificate, grid.tls_key, ''),
      ...(site.batch === null ? [] : [
        ...listener(site, 'pilot', pilot.tls_certificate, pilot.tls_key, pilot.address === '' ? '' : new URL(pilot.address).hostname),
        ...(pilot.tls_ca === '' ? [] : validity(site, 'pilot.tls_ca', pilot.tls_ca)),
      ]),
    ];
  },
};

function listener(site: DoctorSite, section: string, file: string, keyFile: string, host: string): Finding[] {
  if (file === '' || keyFile === '') return [];
  const key = `${section}.tls_certificate`;
  const found = validity(site, key, file);
  const certificate = read(file);
  if (typeof certificate === 'string') return found;
  return [...found, ...belongs(section, certificate, keyFile), ...(host === '' || names(certificate, host) ? [] : [
    warn(CHECK, `${key} does not name ${host}, by which clients come: they refuse it`, `have a certificate made for ${host}`),
  ])];
}

function validity({ ctx }: DoctorSite, key: string, file: string): Finding[] {
  const certificate = read(file);
  if (typeof certificate === 'string') return [fail(CHECK, `${key} = ${file} cannot be read: ${certificate}`, 'it must be a PEM file that the service can read')];
  const days = Math.floor((Date.parse(certificate.validTo) - ctx.clock.now()) / DAY_MS);
  const renew = `put a new one into ${file}; the service reads it ${key.startsWith('grid.') ? 'within seconds' : 'at its start'}`;
  if (Date.parse(certificate.validFrom) > ctx.clock.now()) return [fail(CHECK, `${key} is valid only from ${certificate.validFrom}`, 'see that this machine’s clock is right', renew)];
  if (days < 0) return [fail(CHECK, `${key} has been invalid since ${certificate.validTo}: clients refuse it`, renew)];
  if (days < SOON_DAYS) return [warn(CHECK, `${key} is valid for ${days} more ${days === 1 ? 'day' : 'days'}`, renew)];
  return [ok(CHECK, `${key} is valid for ${days} days`)];
}

function belongs(section: string, certificate: X509Certificate, keyFile: string): Finding[] {
  const key = `${section}.tls_key`;
  try {
    if (certificate.checkPrivateKey(createPrivateKey(readFileSync(keyFile)))) return [];
    return [fail(CHECK, `${key} = ${keyFile} is not the key of ${section}.tls_certificate`, 'name the two that were made together')];
  } catch (e) {
    return [fail(CHECK, `${key} = ${keyFile} cannot be read: ${reasonText(e)}`, 'it must be a PEM file without a passphrase that the service can read')];
  }
}

function read(file: string): X509Certificate | string {
  try {
    return new X509Certificate(readFileSync(file));
  } catch (e) {
    return reasonText(e);
  }
}

const names = (certificate: X509Certificate, host: string): boolean => (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
