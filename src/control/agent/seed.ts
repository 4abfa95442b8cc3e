/**
 * The NoCloud seed directory of one VM: meta-data, user-data and network-config (cloud-init documentation, data source
 * "NoCloud" and "Networking config version 2"). The driver serves it to the guest as a volume labelled `cidata`.
 *
 * Every value is written as a JSON string: JSON is YAML (YAML 1.2, section 1.3), so no name or key can add a line of its own.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Nic } from '../../lease/types.ts';
import type { Seed, VmSpec } from '../protocol.ts';

/** cloud-init needs a user-data file even when there is nothing in it. */
const NO_USER_DATA = '#cloud-config\n{}\n';

const q = (value: unknown): string => JSON.stringify(value);

export function metaData(seed: Seed): string {
  const keys = seed.publicKeys.map((key) => `  - ${q(key)}\n`).join('');
  return `instance-id: ${q(seed.instanceId)}\nlocal-hostname: ${q(seed.hostname)}\n${keys === '' ? 'public-keys: []\n' : `public-keys:\n${keys}`}`;
}

export function userData(seed: Seed): Buffer {
  return seed.userData === undefined ? Buffer.from(NO_USER_DATA) : Buffer.from(seed.userData, 'base64');
}

/** Interfaces are found by MAC, because their names depend on the guest's kernel. */
export function networkConfig(nics: readonly Nic[]): string {
  return nics.length === 0 ? 'version: 2\nethernets: {}\n' : `version: 2\nethernets:\n${nics.map(ethernet).join('')}`;
}

function ethernet(nic: Nic, index: number): string {
  const lines = [
    `  nic${index}:`,
    `    match: { macaddress: ${q(nic.mac)} }`,
    '    dhcp4: false',
    `    addresses: [${q(`${nic.ip}/${nic.prefix}`)}]`,
  ];
  // One default route a guest: that of its first network.
  if (index === 0 && nic.gateway !== null) lines.push(`    routes: [{ to: "0.0.0.0/0", via: ${q(nic.gateway)} }]`);
  if (nic.dns.length > 0) lines.push(`    nameservers: { addresses: ${q(nic.dns)} }`);
  return `${lines.join('\n')}\n`;
}

export function writeSeed(vmDir: string, spec: VmSpec): void {
  const dir = join(vmDir, 'seed');
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { mode: 0o700 });
  const write = (name: string, data: string | Buffer): void => writeFileSync(join(dir, name), data, { mode: 0o600 });
  write('meta-data', metaData(spec.seed));
  write('user-data', userData(spec.seed));
  write('network-config', networkConfig(spec.nics));
}
