/** Whether pilots find the service at the addresses that they are told. */
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { NOTIFY_PATH, REALM } from '../../pilot/protocol.ts';
import { reasonText } from '../../platform/errors.ts';
import { factsOf, fail, ok, warn } from '../findings.ts';
import type { BatchCheck, BatchSite, DoctorSite, Finding } from '../types.ts';

const ANSWER_MS = 5_000;
const CHECK = 'notification address';

export const notification: BatchCheck = {
  name: CHECK,
  async look(batch, site) {
    const { contacts } = batch;
    if (contacts.length === 0) return [warn(CHECK, 'the address is known only while the service runs (pilot.listen takes a free port)', 'set pilot.listen to a fixed port, or pilot.address')];
    const found = await Promise.all(contacts.map((c) => (site.serving ? answers(c, batch.ca) : Promise.resolve(notListening(c)))));
    return [...found, ...contacts.flatMap((c) => loopback(c, batch, site)), ...contacts.flatMap((c) => plain(c, site))];
  },
};

const notListening = (contact: string): Finding => warn(CHECK, `pilots are told ${contact}; nothing listens there while the service is down`, 'start the service, then run this again');

/** An unauthenticated request is answered with a challenge: so answers our listener, and no other program. */
async function answers(contact: string, ca: string | undefined): Promise<Finding> {
  try {
    const { status, challenge } = await post(new URL(NOTIFY_PATH, contact), ca);
    if (status === 401 && challenge.includes(`realm="${REALM}"`)) return ok(CHECK, `${contact} answers as the notification listener`);
    return fail(CHECK, `another program answers at ${contact} (status ${status})`, 'set pilot.listen and pilot.address to a port that is free, or have the proxy there hand requests on unchanged');
  } catch (e) {
    return fail(CHECK, `pilots are told ${contact}, but nothing answers there: ${reasonText(e)}`, 'set pilot.address to a URL that leads to pilot.listen from compute nodes, and see that no firewall is between');
  }
}

function post(url: URL, ca: string | undefined): Promise<{ status: number; challenge: string }> {
  return new Promise((resolve, reject) => {
    const options: RequestOptions & { ca?: string } = { method: 'POST', headers: { 'content-length': 0 }, agent: false, timeout: ANSWER_MS, ...(ca === undefined ? {} : { ca }) };
    const req = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, (res) => {
      res.resume();
      resolve({ status: res.statusCode ?? 0, challenge: [res.headers['www-authenticate']].flat().join(', ') });
      res.on('end', () => req.destroy());
    });
    req.on('timeout', () => req.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
    req.on('error', reject);
    req.end();
  });
}

/** Of a batch system with one node, or all on this machine, loopback is right; of others no pilot finds us. */
function loopback(contact: string, batch: BatchSite, { config }: DoctorSite): Finding[] {
  const { hostname } = new URL(contact);
  const isLoopback = hostname === 'localhost' || hostname === '[::1]' || (isIP(hostname) === 4 && hostname.startsWith('127.'));
  if (!isLoopback || factsOf(batch)?.nodes === 1) return [];
  return [warn(CHECK, `${contact} leads nowhere from other machines: pilots there cannot report`,
    `set pilot.listen = "0.0.0.0:${config.pilot.listen.split(':').at(-1) ?? ''}" and pilot.address = "http://THIS-HOST:PORT" with a name or address that compute nodes know`)];
}

function plain(contact: string, { config: { pilot } }: DoctorSite): Finding[] {
  if (!contact.startsWith('https:') || pilot.tls_ca !== '') return [];
  return [warn(CHECK, 'pilots trust only the authorities that Node.js knows, as pilot.tls_ca is empty', 'set it to the PEM file of the authority that signed pilot.tls_certificate')];
}
