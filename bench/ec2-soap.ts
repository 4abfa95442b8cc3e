/**
 * Signed SOAP DescribeInstances of 16 instances, from the request's bytes to the answer's, against xml-crypto that finds, loads and
 * checks the signature of the same message and does nothing else. Both in turns, CPU time, medians.
 */
import { createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import { createRequire } from 'node:module';
import { answerSoap, type SoapDoorParts } from '../src/ec2/soap/door.ts';
import { createSoapSigners } from '../src/ec2/soap/authenticate.ts';
import { realClock, realRandom } from '../src/platform/real.ts';
import type { Log } from '../src/platform/context.ts';
import { alice } from '../test/ec2/door.ts';
import { fakeManager, lease } from '../test/ec2/fake-manager.ts';
import { signer, soapMessage } from '../test/ec2/soap/sign.ts';
import { median } from './support/service.ts';

const INSTANCES = 16;
const ROUNDS = 9;
const MESSAGES = 60;
const MOST_RATIO = 1.3;
const VERSION = '2010-08-31';

const log: Log = { debug() {}, info() {}, warn: console.error, error: console.error, debugging: false, child: () => log };
const ctx = { clock: realClock, random: realRandom, log };
const manager = fakeManager(() => Date.now());
for (let n = 1; n <= INSTANCES; n += 1) manager.leasesById.set(lease(n, alice).id, lease(n, alice, { groupId: 'r-00000000000000001', launchIndex: n - 1, tags: { Name: `vm ${n}` } }));
const user = signer();
manager.certificates.set(user.fingerprint, alice);
const parts: SoapDoorParts = {
  ctx, manager, replays: undefined, throttle: undefined, endpoint: () => 'localhost', authenticator: { authenticate: () => Promise.reject(new Error('Query is not asked')) },
  signers: createSoapSigners(realClock, manager.credentials, { skewMs: 300_000, sha1: true }),
};

async function ours(text: string): Promise<void> {
  const answered = await answerSoap(parts, {
    id: 'bench', method: 'POST', target: '/', rawHeaders: [], contentType: 'text/xml', host: 'localhost', secure: false, body: Buffer.from(text),
  });
  const body = String(answered.body);
  if (answered.status !== 200 || body.split('<instanceId>').length !== INSTANCES + 1) throw new Error(body.slice(0, 500));
}

const require = createRequire(import.meta.url);
const { SignedXml } = require('xml-crypto') as { SignedXml: new (o: object) => { loadSignature(n: unknown): void; checkSignature(t: string): boolean } };
const { DOMParser } = require('@xmldom/xmldom') as { DOMParser: new () => { parseFromString(t: string, type: string): { getElementsByTagNameNS(ns: string, local: string): { item(i: number): unknown } } } };
/** As a client of xml-crypto writes it. */
function byItself(text: string, key: KeyObject): void {
  const document = new DOMParser().parseFromString(text, 'text/xml');
  const signed = new SignedXml({ publicCert: key });
  signed.loadSignature(document.getElementsByTagNameNS('http://www.w3.org/2000/09/xmldsig#', 'Signature').item(0));
  if (!signed.checkSignature(text)) throw new Error('the signature is not good');
}

const key = createPublicKey(new X509Certificate(user.der).publicKey.export({ type: 'spki', format: 'pem' }));
const all = Array.from({ length: MESSAGES }, (_, n) => soapMessage({ now: Date.now() - n }, user, VERSION, 'DescribeInstances', '<instancesSet/>'));
async function time(work: (text: string) => unknown): Promise<number> {
  const before = process.cpuUsage();
  for (const text of all) await work(text);
  const { user: u, system } = process.cpuUsage(before);
  return (u + system) / 1000 / MESSAGES;
}

const [here, alone]: [number[], number[]] = [[], []];
for (let i = 0; i < ROUNDS + 2; i += 1) {
  const [a, b] = [await time(ours), await time((text) => byItself(text, key))];
  // The first ones are for the compiler.
  if (i > 1) [here.push(a), alone.push(b)];
}
const ratio = median(here.map((a, i) => a / (alone[i] ?? NaN)));
console.log(`${((all[0] ?? '').length / 1000).toFixed(1)} kB, ${INSTANCES} instances: ${median(here).toFixed(2)} ms here, ${median(alone).toFixed(2)} ms for xml-crypto's verify alone`);
console.log(`ratio ${ratio.toFixed(2)}   target ${MOST_RATIO}: ${ratio <= MOST_RATIO ? 'met' : 'MISSED'}`);
if (ratio > MOST_RATIO) process.exitCode = 1;
