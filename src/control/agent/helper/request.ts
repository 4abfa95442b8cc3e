/** The helper's door: one request, checked to the last field. */
import { isIPv4 } from 'node:net';
import { isName } from '../../../lease/ids.ts';
import type { VmPlace } from '../driver.ts';
import type { Launch, LaunchNic } from '../drivers/qemu/launch.ts';
import { bad, fieldsOf, flag, integer, list, nullable, oneOf, optional, record, text } from '../validate.ts';
import type { Check } from '../validate.ts';
import { bridgeName } from './policy.ts';

export type HelperRequest =
  | { readonly op: 'vm-start'; readonly place: VmPlace; readonly launch: Launch }
  | { readonly op: 'vm-end'; readonly place: VmPlace; readonly pid: number | null }
  | { readonly op: 'check' };

export type HelperAnswer =
  | { readonly ok: true; readonly pid?: number; readonly lacks?: readonly string[] }
  | { readonly ok: false; readonly error: { readonly code: string; readonly message: string } };

/** A request is small: addresses and figures of one VM. */
export const MAX_REQUEST = 64 * 1024;
const LEAST_PORT = 1024;

const ipv4: Check<string> = (value, at) => (typeof value === 'string' && isIPv4(value) ? value : bad(at, 'must be an IPv4 address'));
const lease: Check<string> = (value, at) => (typeof value === 'string' && isName(value) ? value : bad(at, 'must be a name'));

const place = record<VmPlace>({ lease, dir: text(4096, /^\//) });
const nic = record<LaunchNic>({
  kind: oneOf('user', 'bridge'),
  bridge: nullable(bridgeName),
  mac: text(17, /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/),
  ip: ipv4,
  prefix: integer(0, 32),
  gateway: nullable(ipv4),
  dns: list(ipv4, 8),
});
const launch = record<Launch>({
  memoryMb: integer(1, 2 ** 24),
  cores: integer(1, 1024),
  accelerator: oneOf('kvm', 'tcg'),
  baseFormat: oneOf('raw', 'qcow2'),
  seed: flag,
  nics: list(nic, 16),
  forward: nullable(record<{ address: string; port: number }>({ address: ipv4, port: integer(LEAST_PORT, 65_535) })),
  incoming: optional(flag),
});

/** @throws AgentFault BadRequest */
export function readHelperRequest(line: string): HelperRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return bad('request', 'is no JSON');
  }
  const fields = fieldsOf(value, 'request');
  switch (fields['op']) {
    case 'vm-start': return { op: 'vm-start', place: place(fields['place'], 'place'), launch: launch(fields['launch'], 'launch') };
    case 'vm-end': return { op: 'vm-end', place: place(fields['place'], 'place'), pid: nullable(integer(2, 2 ** 22))(fields['pid'], 'pid') };
    case 'check': return { op: 'check' };
    default: return bad('op', 'must be one of vm-start, vm-end, check');
  }
}
