/** Files and directories that a configuration names, looked at: those that the service reads or writes. Sentences with their keys. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from './config-check.ts';
import { keyOf } from './config-types.ts';
import { whyNoDirectory, whyNoFile } from './directories.ts';
import { reasonText } from './errors.ts';

/** Who only administers the service need not be able to. */
export function unusableFiles(c: Readable): string[] {
  return [...unreadable(c), ...certificates(c), ...trust(c), ...programs(c), ...written(c)];
}

const inPilotMode = (c: Readable): boolean => c.scheduler?.mode === 'pilot';
const said = (key: string, value: string, what: string, why: string | undefined): string[] => (why === undefined ? [] : [`${key}: "${value}" must be ${what}: ${why}`]);

function unreadable(c: Readable): string[] {
  const files: ReadonlyArray<readonly [key: string, file: string | undefined]> = [
    ['ec2.tls_certificate', c.ec2?.tls_certificate], ['ec2.tls_key', c.ec2?.tls_key],
    ['grid.tls_certificate', c.grid?.tls_certificate], ['grid.tls_key', c.grid?.tls_key], ['grid.mapfile', c.grid?.mapfile],
    ['authorization.module', c.authorization?.module], ['authorization.token_file', c.authorization?.token_file],
    ...Object.entries(c.usage_sinks ?? {}).flatMap(([name, s]) => (['module', 'token_file'] as const).map((key) => [keyOf(['usage_sinks', name, key]), s[key]] as const)),
    ...(inPilotMode(c) ? [
      ['pilot.tls_certificate', c.pilot?.tls_certificate], ['pilot.tls_key', c.pilot?.tls_key], ['pilot.tls_ca', c.pilot?.tls_ca],
      ['pilot.ssh_known_hosts', c.pilot?.ssh_known_hosts], ['login_node.key', c.login_node?.key],
    ] as const : []),
  ];
  return files.flatMap(([key, file = '']) => (file === '' ? [] : said(key, file, 'a file that the service can read', whyNotReadable(file))));
}

function whyNotReadable(file: string): string | undefined {
  try {
    accessSync(file, constants.R_OK);
    return statSync(file).isFile() ? undefined : 'it is none';
  } catch (e) {
    return reasonText(e);
  }
}

/** Of each listener with both, where both can be read. */
function certificates(c: Readable): string[] {
  const sections = inPilotMode(c) ? (['ec2', 'grid', 'pilot'] as const) : (['ec2', 'grid'] as const);
  return sections.flatMap((section) => {
    const { tls_certificate: certificate = '', tls_key: key = '' } = c[section] ?? {};
    if (certificate === '' || key === '' || whyNotReadable(certificate) !== undefined || whyNotReadable(key) !== undefined) return [];
    return whyNoPair(section, certificate, key);
  });
}

function whyNoPair(section: string, certificate: string, key: string): string[] {
  const read = <T>(file: string, parse: (bytes: Buffer) => T): T | string => {
    try {
      return parse(readFileSync(file));
    } catch (e) {
      return reasonText(e);
    }
  };
  const [one, other] = [read(certificate, (bytes) => new X509Certificate(bytes)), read(key, (bytes) => createPrivateKey(bytes))];
  const found = [
    ...(typeof one === 'string' ? said(`${section}.tls_certificate`, certificate, 'a certificate in PEM', one) : []),
    ...(typeof other === 'string' ? said(`${section}.tls_key`, key, 'a private key in PEM, without a passphrase', other) : []),
  ];
  if (typeof one === 'string' || typeof other === 'string') return found;
  return one.checkPrivateKey(other) ? [] : said(`${section}.tls_key`, key, `the key of ${section}.tls_certificate`, 'it is another one');
}

/** Authorities are read where somebody is believed by them. */
function trust({ wsrf, ec2, grid }: Readable): string[] {
  if (grid === undefined || (wsrf?.listen ?? '') === '' && ec2?.grid_certificates !== true) return [];
  try {
    readdirSync(grid.trust_directory);
    return [];
  } catch (e) {
    return said('grid.trust_directory', grid.trust_directory, 'a directory that the service can read', reasonText(e));
  }
}

const PROGRAMS = ['postgres', 'initdb'];

function programs({ database }: Readable): string[] {
  if (database === undefined || database.url !== '' || database.bin === '') return [];
  const { bin } = database;
  try {
    for (const program of PROGRAMS) accessSync(join(bin, program), constants.X_OK);
    return [];
  } catch (e) {
    return said('database.bin', bin, `a directory with the programs ${PROGRAMS.join(' and ')}`, reasonText(e));
  }
}

function written({ images, log }: Readable): string[] {
  const [directory, file] = [images?.directory ?? '', log?.file ?? ''];
  return [
    ...(directory === '' ? [] : said('images.directory', directory, 'a directory that the service can write to', whyNoDirectory(directory))),
    ...(file === '' ? [] : said('log.file', file, 'a file that the service can write to', whyNoFile(file))),
  ];
}
