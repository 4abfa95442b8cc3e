/** A test authority for grid certificates. These commands need no service. */
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { addHost, addUser, initCa, type CaDeps, type MadeCertificate } from '../../grid/ca/directory.ts';
import { realRandom } from '../../platform/real.ts';
import { envOf, type CliDeps, type Env } from '../env.ts';
import { UsageError } from '../exit.ts';
import { wholeNumber } from '../format.ts';

interface Options {
  readonly dir?: string;
  readonly days: number;
  readonly sha1?: boolean;
}

const YEAR = 365;
const MOST_DAYS = 36_500;

export function addCaCommands(program: Command, deps: CliDeps): void {
  const ca = program.command('ca').description('a test authority: certificates for grid clients, users and hosts');

  withOptions(ca.command('init'), 10 * YEAR)
    .description('make the authority, and a trust directory with it')
    .option('--name <dn>', 'its name in slash form', `/O=Grid/OU=nimbus test/OU=${hostname()}/CN=nimbus test CA`)
    .addHelpText('after', `
Examples:
  nimbus ca init
  nimbus ca init --dir /etc/nimbus/ca --name "/O=Grid/OU=Lab/CN=Lab test CA"

For tests and small sites: users of a real grid have certificates of its
authorities. The names that it signs are its own, with another CN.`)
    .action((o: Options & { name: string }, command: Command) => {
      const env = envOf(command, deps);
      const made = initCa(caOf(env, o), o.name, checked(o));
      env.say(made, `The authority ${made.dn} was made.\n\n  certificate      ${made.certificate}\n  key              ${made.key}\n  trust directory  ${made.trust}\n\nThe service believes it with, in its configuration:\n\n  [grid]\n  trust_directory = "${made.trust}"\n\nand clients with X509_CERT_DIR=${made.trust}`);
    });

  withOptions(ca.command('user <name>'), YEAR)
    .description('make a user’s certificate and key')
    .option('--cn <name>', 'common name in the certificate (default: the name)')
    .addHelpText('after', `
Examples:
  nimbus ca user alice
  nimbus ca user alice --cn "Alice Grid" --days 30
  nimbus ca user old --sha1`)
    .action((name: string, o: Options & { cn?: string }, command: Command) => {
      const env = envOf(command, deps);
      const made = addUser(caOf(env, o), name, o.cn ?? name, checked(o));
      env.say(made, `${said(made)}\nThe service knows whose it is with:\n\n  nimbus user add ${name} --dn "${made.dn}"

or, of a user who is there:

  nimbus user dn ${name} --add "${made.dn}"`);
    });

  withOptions(ca.command('host <name>'), YEAR)
    .description('make a host’s certificate and key')
    .option('--alt <names...>', 'further names and addresses by which clients reach it')
    .addHelpText('after', `
Examples:
  nimbus ca host grid.example.org
  nimbus ca host grid.example.org --alt grid 192.0.2.7`)
    .action((name: string, o: Options & { alt?: string[] }, command: Command) => {
      const env = envOf(command, deps);
      const made = addHost(caOf(env, o), name, o.alt ?? [], checked(o));
      env.say(made, `${said(made)}\nThe service shows it with, in its configuration:\n\n  [grid]\n  tls_certificate = "${made.certificate}"\n  tls_key = "${made.key}"`);
    });
}

function withOptions(command: Command, days: number): Command {
  return command
    .option('--dir <dir>', 'directory of the authority (default: ca in the data directory)')
    .option('--days <n>', 'how long the certificate is valid', wholeNumber, days)
    .option('--sha1', 'sign with SHA-1, for clients of Globus 4.0 that know nothing newer');
}

const caOf = (env: Env, o: Options): CaDeps => ({ clock: env.clock, random: realRandom, directory: resolve(o.dir ?? join(env.dataDir, 'ca')) });

function checked({ days, sha1 }: Options): { days: number; sha1: boolean } {
  if (days < 1 || days > MOST_DAYS) throw new UsageError(`--days must be 1 to ${MOST_DAYS}`);
  return { days, sha1: sha1 === true };
}

const said = (made: MadeCertificate): string => `The certificate of ${made.dn} was made.\n\n  certificate  ${made.certificate}\n  key          ${made.key}\n`;
