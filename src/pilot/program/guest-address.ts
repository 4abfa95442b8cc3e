/**
 * Where users reach guests behind ports of this node: where the configuration says, else the node's address on the way to the
 * service. A service on the node itself, as in a trial, is reached by loopback, and so are the guests.
 */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { within } from '../../control/agent/clock.ts';
import type { Clock } from '../../control/agent/clock.ts';
import type { Log } from '../../control/agent/log.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';

/** The agent's settings of these names. */
export interface GuestAddress {
  readonly bindAddress: string;
  readonly reachHost: string;
}

const LOOPBACK = '127.0.0.1';
/** Names are asked for. */
const NAMES_MS = 5_000;

/**
 * @param said `[other] guestaddress`: an IPv4 address, or a name that has one @param service null = nobody is told of the guests
 * @throws PilotError badEnvironment: the name that was said has no address, or one that nobody else can use
 */
export async function guestAddress(said: string | null, service: URL | null, { clock, log }: { clock: Clock; log: Log }): Promise<GuestAddress> {
  if (said !== null) return openAt(await addressOf(said, clock));
  if (service === null) return openAt(LOOPBACK);
  const own = await within(clock, NAMES_MS, wayTo(service), () => new Error(`no address of ${service.hostname} within ${NAMES_MS / 1000} s`)).catch((e: unknown) => {
    log.warn('where guests are reached is not known: from this node only; [other] guestaddress says it', { why: (e as Error).message });
    return LOOPBACK;
  });
  return openAt(own);
}

async function addressOf(name: string, clock: Clock): Promise<string> {
  const address = await lookedUp(name, clock);
  // Installers write a host's own name beside 127.0.1.1 into its /etc/hosts; who means loopback says so.
  if (!isLoopback(address) || isIP(name) !== 0 || name === 'localhost') return address;
  throw new PilotError(EXIT.badEnvironment, `[other] guestaddress: ${name} is ${address} on this node, where users elsewhere do not get; name an address, or mend /etc/hosts here`);
}

async function lookedUp(name: string, clock: Clock): Promise<string> {
  const asked = lookup(name, { family: 4 });
  try {
    return (await within(clock, NAMES_MS, asked, () => new Error(`no answer within ${NAMES_MS / 1000} s`))).address;
  } catch (e) {
    throw new PilotError(EXIT.badEnvironment, `[other] guestaddress: ${name} has no IPv4 address here (${(e as NodeJS.ErrnoException).code ?? (e as Error).message})`);
  }
}

/** The whole of 127.0.0.0/8 (RFC 1122, 3.2.1.3). */
export const isLoopback = (address: string): boolean => address.startsWith('127.');

/** Users of a loopback address are on this node; all others may come in by any of its networks. */
const openAt = (address: string): GuestAddress => ({ bindAddress: isLoopback(address) ? address : '0.0.0.0', reachHost: address });

/** The local end of a way to the service: a datagram socket has it as soon as it is connected, and nothing is sent (udp(7)). */
function wayTo({ hostname, port, protocol }: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', (e) => {
      socket.close();
      reject(e);
    });
    socket.once('connect', () => {
      const { address } = socket.address();
      socket.close();
      resolve(address);
    });
    socket.connect(Number(port) || (protocol === 'https:' ? 443 : 80), hostname);
  });
}
