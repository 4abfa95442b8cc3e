/** `nimbus user cert`: certificates with which users sign SOAP requests. A key that is made here stays here. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { readCertificate } from '../../grid/certificates/certificate.ts';
import { makeOwn } from '../../grid/ca/certificates.ts';
import { derOf } from '../../grid/trust/pem.ts';
import type { UserCertificate } from '../../manager/admin-types.ts';
import { writeNewFile } from '../../platform/durable.ts';
import { makeDirectory } from '../../platform/make-directory.ts';
import { realRandom } from '../../platform/real.ts';
import { path } from '../client.ts';
import { each, envOf, type CliDeps } from '../env.ts';
import { UsageError } from '../exit.ts';
import { time, wholeNumber } from '../format.ts';

const YEAR = 365;
const MOST_DAYS = 36_500;
const DAY_MS = 86_400_000;
/** Clocks of others may be behind. */
const EARLIER_MS = 3_600_000;
const MOST_BYTES = 64 * 1024;

export function addCertificateCommands(user: Command, deps: CliDeps): void {
  const cert = user.command('cert').description('certificates with which a user signs SOAP requests');

  cert.command('add <name> <files...>')
    .description('certificates (PEM) are the user’s from now on, whoever made them')
    .addHelpText('after', '\nExample:\n  nimbus user cert add alice cert-alice.pem')
    .action(async (name: string, files: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, files, (file) => env.client.post<UserCertificate>(path`/v1/users/${name}/certificates`, { certificate: readPem(file) }), (made) => `the certificate ${made.fingerprint.slice(0, 16)} of ${made.subject} is ${name}’s`);
    });

  cert.command('create <name>')
    .description('make a key and a certificate of it, and register the certificate')
    .option('--out <dir>', 'directory for the two files', '.')
    .option('--days <n>', 'how long the certificate is valid', wholeNumber, YEAR)
    .addHelpText('after', `
Examples:
  nimbus user cert create alice
  nimbus user cert create alice --out /home/alice/.ec2 --days 90

The key is in the directory only; the service keeps the certificate’s
fingerprint.`)
    .action(async (name: string, o: { out: string; days: number }, command: Command) => {
      const env = envOf(command, deps);
      if (o.days < 1 || o.days > MOST_DAYS) throw new UsageError(`--days must be 1 to ${MOST_DAYS}`);
      const made = makeOwn({ subject: `/O=nimbus/CN=${name}`, from: env.clock.now() - EARLIER_MS, until: env.clock.now() + o.days * DAY_MS, serial: realRandom.bytes(16), sha1: false });
      const short = readCertificate(derOf(Buffer.from(made.certificate), 'CERTIFICATE')).fingerprint.slice(0, 16);
      const files = { certificate: resolve(o.out, `cert-${short}.pem`), key: resolve(o.out, `pk-${short}.pem`) };
      makeDirectory(resolve(o.out), 0o700);
      writeNewFile(files.key, made.key, 0o600);
      writeNewFile(files.certificate, made.certificate, 0o644);
      const registered = await env.client.post<UserCertificate>(path`/v1/users/${name}/certificates`, { certificate: made.certificate });
      env.say({ ...registered, ...files }, `The certificate ${short} is ${name}’s.\n\n  export EC2_CERT=${files.certificate}\n  export EC2_PRIVATE_KEY=${files.key}\n`);
    });

  cert.command('list <name>')
    .description('the user’s certificates')
    .addHelpText('after', '\nExample:\n  nimbus user cert list alice')
    .action(async (name: string, _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      env.table(await env.client.get<UserCertificate[]>(path`/v1/users/${name}/certificates`), [
        { title: 'FINGERPRINT', value: (c) => c.fingerprint.slice(0, 16) },
        { title: 'SUBJECT', value: (c) => c.subject, shrinks: true },
        { title: 'VALID UNTIL', value: (c) => time(c.notAfter) },
        { title: 'SINCE', value: (c) => time(c.createdAt) },
      ], `${name} has no certificates. Make one with: nimbus user cert create ${name}`);
    });

  cert.command('remove <name> <fingerprints...>')
    .description('certificates are the user’s no longer')
    .addHelpText('after', '\nExample:\n  nimbus user cert remove alice 3f6c1e0b9a7d2c45')
    .action(async (name: string, fingerprints: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, fingerprints, (f) => env.client.delete(path`/v1/users/${name}/certificates/${f}`), (_r, f) => `${f} is nobody’s`);
    });
}

function readPem(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch (e) {
    throw new UsageError(`${file} cannot be read: ${e instanceof Error ? e.message : String(e)}`);
  }
  if (text.length > MOST_BYTES) throw new UsageError(`${file} is too large for a certificate`);
  return text;
}

