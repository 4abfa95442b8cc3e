/** Consumers of notifications: which ones are taken, and how a message is brought to one. */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { Fault } from '../lease/faults.ts';
import type { Context } from '../platform/context.ts';
import type { AddressPolicy } from '../platform/outside/address-policy.ts';

const LONGEST_ADDRESS = 1_024;
const MOST_ANSWER_BYTES = 64 * 1024;

/** What can be known before anything is sent. @throws Fault ConsumerRefused */
export function checkConsumer(address: string, policy: AddressPolicy): URL {
  const refused = (why: string): Fault => new Fault('ConsumerRefused', `Notifications cannot be sent to ${JSON.stringify(address.slice(0, 200))}: ${why}`);
  if (address.length > LONGEST_ADDRESS) throw refused(`an address has at most ${LONGEST_ADDRESS} characters`);
  if (!URL.canParse(address)) throw refused('it is no URL');
  const url = new URL(address);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refused('it must begin with http:// or https://');
  if (url.username !== '' || url.password !== '') throw refused('it must hold no credentials');
  const host = hostOf(url);
  const why = isIP(host) !== 0 ? policy.refusal(host) : host === 'localhost' || host.endsWith('.localhost') ? policy.refusal('127.0.0.1') : undefined;
  if (why !== undefined) throw refused(`${host} ${why}; the site can allow it (wsrf.allowed_consumers)`);
  return url;
}

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '');

/** Resolves when the consumer has taken it. A redirection is not followed; the answer's content is of no interest. */
export async function bring(ctx: Context, policy: AddressPolicy, to: { address: string; action: string; deadlineMs: number }, body: string): Promise<void> {
  const url = checkConsumer(to.address, policy);
  const abort = new AbortController();
  const timer = ctx.clock.after(to.deadlineMs, () => abort.abort(), true);
  try {
    const status = await new Promise<number>((resolve, reject) => {
      const send = url.protocol === 'https:' ? requestHttps : requestHttp;
      const request = send(url, {
        method: 'POST', agent: false, signal: abort.signal, lookup: policy.lookup,
        headers: { 'Content-Type': 'text/xml; charset=utf-8', 'SOAPAction': `"${to.action}"`, 'Content-Length': Buffer.byteLength(body), 'Connection': 'close' },
      }, (response) => {
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MOST_ANSWER_BYTES) request.destroy(new Error('its answer is too long'));
        });
        response.on('error', reject).on('end', () => resolve(response.statusCode ?? 0));
      });
      request.on('error', reject).end(body);
    });
    if (status < 200 || status > 299) throw new Error(`it answered with status ${status}`);
  } catch (e) {
    throw abort.signal.aborted ? new Error(`it did not answer within ${to.deadlineMs} ms`) : e;
  } finally {
    timer.cancel();
  }
}
