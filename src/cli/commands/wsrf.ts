/** `nimbus wsrf`: grid services, of this site or another, from the command line. Reads and writes the files of the original's client. */
import type { Command } from 'commander';
import type { CliDeps } from '../env.ts';
import { addWsrfCreate } from '../wsrf/create.ts';
import { addWsrfChanges } from '../wsrf/changes.ts';
import { addWsrfQueries } from '../wsrf/queries.ts';
import { addWsrfSubscribe, addWsrfSubscriptions } from '../wsrf/subscribe.ts';

export function addWsrfCommands(program: Command, deps: CliDeps): void {
  const wsrf = program.command('wsrf').description('grid services (WSRF), as their users see them').addHelpText('after', `
A reference file (EPR) names what a command is about: create writes one for
each VM, for a group and for an ensemble.

Who you are: --cert and --key, or X509_USER_PROXY, /tmp/x509up_uUID,
X509_USER_CERT with X509_USER_KEY.
Whom you trust: --trust, or X509_CERT_DIR, or /etc/grid-security/certificates.`);
  addWsrfCreate(wsrf, deps);
  addWsrfQueries(wsrf, deps);
  addWsrfChanges(wsrf, deps);
  addWsrfSubscribe(wsrf, deps);
  addWsrfSubscriptions(wsrf, deps);
}
