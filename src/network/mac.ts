/** MAC addresses: lower-case, colon-separated, unicast. */
import type { Random } from '../platform/context.ts';

const PAIRS = /^[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}$/;

/** The canonical form of `A2:AA:BB:01:02:03` or `a2-aa-bb-01-02-03`; undefined when it is none, or multicast, or zero. */
export function parseMac(text: string): string | undefined {
  const lower = text.toLowerCase();
  if (!PAIRS.test(lower)) return undefined;
  const mac = lower.replaceAll('-', ':');
  const multicast = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
  return multicast || mac === '00:00:00:00:00:00' ? undefined : mac;
}

/** `prefix`: three octets, the first locally administered (IEEE 802), as the configuration checks. */
export function generateMac(random: Random, prefix: string): string {
  const low = random.bytes(3).toString('hex');
  return `${prefix.toLowerCase()}:${low.slice(0, 2)}:${low.slice(2, 4)}:${low.slice(4, 6)}`;
}
