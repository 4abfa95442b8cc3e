/** Addresses as people list them: on the command line, as ranges, in a file. */
import { readFileSync } from 'node:fs';
import type { NewAddress } from '../manager/admin-types.ts';
import { formatIPv4, parseIPv4 } from '../network/ipv4.ts';
import { reasonText } from '../platform/errors.ts';
import { UsageError } from './exit.ts';

/** As many as a /16 has. */
const MOST = 65_536;
const MOST_SHOWN = 20;

export function newAddresses(texts: readonly string[], o: { hostname?: string; mac?: string; file?: string }): NewAddress[] {
  const ips = texts.flatMap(range);
  if (ips.length !== 1 && (o.hostname !== undefined || o.mac !== undefined)) throw new UsageError('--hostname and --mac are for a single address');
  const named = ips.map((ip) => ({ ip, hostname: o.hostname, mac: o.mac }));
  const all = o.file === undefined ? named : [...named, ...readPool(o.file)];
  if (all.length === 0) throw new UsageError('name addresses, a range FROM-TO, or --file');
  if (all.length > MOST) throw new UsageError(`at most ${MOST} addresses can be added at once`);
  return all;
}

function range(text: string): string[] {
  const [from, to, ...rest] = text.split('-');
  const first = parseIPv4(from ?? '');
  const last = parseIPv4(to ?? from ?? '');
  if (first === undefined || last === undefined || rest.length > 0) throw new UsageError(`"${text}" is no IPv4 address or range FROM-TO`);
  if (last < first || last - first >= MOST) throw new UsageError(`the range ${text} is empty or has more than ${MOST} addresses`);
  return Array.from({ length: last - first + 1 }, (_, i) => formatIPv4(first + i));
}

function readPool(file: string): NewAddress[] {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (e) {
    throw new UsageError(`${file} cannot be read: ${reasonText(e)}`);
  }
  const wrong: number[] = [];
  const addresses = text.split('\n').flatMap((line, i) => {
    const [ip = '', hostname, mac, ...rest] = line.replace(/#.*/, '').split(/\s+/).filter((w) => w !== '');
    if (ip === '') return [];
    if (parseIPv4(ip) === undefined || rest.length > 0) wrong.push(i + 1);
    return [{ ip, hostname, mac }];
  });
  if (wrong.length === 0) return addresses;
  const shown = `${wrong.slice(0, MOST_SHOWN).join(', ')}${wrong.length > MOST_SHOWN ? ' …' : ''}`;
  throw new UsageError(`${file}, ${wrong.length === 1 ? 'line' : 'lines'} ${shown}: must be IP [HOSTNAME [MAC]]`);
}
