import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { metaData, networkConfig, userData, writeSeed } from '../../../src/control/agent/seed.ts';
import type { Seed } from '../../../src/control/protocol.ts';
import type { Nic } from '../../../src/lease/types.ts';
import { makeImage, scratch, specOf } from './rig.ts';

const python = '/usr/bin/python3';
const yaml = ['import sys, json, yaml', 'print(json.dumps([yaml.safe_load(t) for t in json.load(sys.stdin)]))'].join('\n');
const canParseYaml = spawnSync(python, ['-c', 'import yaml']).status === 0;
function parseYaml(texts: string[]): unknown[] {
  const { stdout, stderr, status } = spawnSync(python, ['-c', yaml], { input: JSON.stringify(texts), encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as unknown[];
}

const seed: Seed = { instanceId: 'i-0123456789abcdef0', hostname: 'vm-1.example.org', publicKeys: ['ssh-ed25519 AAAA me@home', 'ssh-rsa BBBB x'] };
const nic: Nic = {
  network: 'public', kind: 'bridge', bridge: 'br0', mac: 'a2:aa:bb:00:00:01', ip: '192.0.2.10', prefix: 26, gateway: '192.0.2.1', dns: ['192.0.2.2', '192.0.2.3'], hostname: 'vm-1',
};

describe('the seed', () => {
  it('has the texts that cloud-init reads', () => {
    expect(metaData(seed)).toBe(
      'instance-id: "i-0123456789abcdef0"\nlocal-hostname: "vm-1.example.org"\npublic-keys:\n  - "ssh-ed25519 AAAA me@home"\n  - "ssh-rsa BBBB x"\n');
    expect(userData(seed).toString()).toBe('#cloud-config\n{}\n');
    expect(networkConfig([])).toBe('version: 2\nethernets: {}\n');
    expect(networkConfig([nic])).toBe([
      'version: 2', 'ethernets:', '  nic0:', '    match: { macaddress: "a2:aa:bb:00:00:01" }', '    dhcp4: false', '    addresses: ["192.0.2.10/26"]',
      '    routes: [{ to: "0.0.0.0/0", via: "192.0.2.1" }]', '    nameservers: { addresses: ["192.0.2.2","192.0.2.3"] }', '',
    ].join('\n'));
  });

  describe('on disk', () => {
    let tmp: ReturnType<typeof scratch>;
    beforeEach(() => { tmp = scratch(); });
    afterEach(() => tmp.remove());

    it('is the owner\'s alone, gives user data byte for byte, and can be written again', () => {
      const bytes = Buffer.from([0, 1, 255, 10, 13, 35]);
      const spec = { ...specOf(makeImage(tmp.dir)), nics: [nic], seed: { ...seed, userData: bytes.toString('base64') } };
      const dir = join(tmp.dir, 'vm');
      mkdirSync(dir);
      writeSeed(dir, spec);
      writeSeed(dir, spec);
      expect(readFileSync(join(dir, 'seed', 'user-data')).equals(bytes)).toBe(true);
      expect(statSync(join(dir, 'seed')).mode & 0o777).toBe(0o700);
      for (const file of ['meta-data', 'user-data', 'network-config']) expect(statSync(join(dir, 'seed', file)).mode & 0o777).toBe(0o600);
    });
  });

  it.skipIf(!canParseYaml)('means to a YAML reader what was given, whatever the texts', () => {
    const hostile = fc.oneof(fc.string(), fc.string({ unit: 'grapheme' }), fc.constantFrom('a: b', '- x', '"', '\'', '#', '&a *a', '!!python/object', 'yes', '~', '{{}}', '\\n', '%TAG'));
    const seeds = fc.array(fc.record({ instanceId: hostile, hostname: hostile, publicKeys: fc.array(hostile, { maxLength: 3 }) }), { minLength: 1, maxLength: 20 });
    fc.assert(fc.property(seeds, (list) => {
      expect(parseYaml(list.map(metaData))).toEqual(list.map((s) => ({ 'instance-id': s.instanceId, 'local-hostname': s.hostname, 'public-keys': s.publicKeys })));
    }), { numRuns: 15 });
    expect(parseYaml([networkConfig([nic, { ...nic, mac: 'a2:aa:bb:00:00:02', ip: '10.0.0.5', prefix: 24, dns: [], gateway: '10.0.0.1' }])])).toEqual([{
      version: 2,
      ethernets: {
        nic0: { match: { macaddress: nic.mac }, dhcp4: false, addresses: ['192.0.2.10/26'], routes: [{ to: '0.0.0.0/0', via: '192.0.2.1' }], nameservers: { addresses: nic.dns } },
        nic1: { match: { macaddress: 'a2:aa:bb:00:00:02' }, dhcp4: false, addresses: ['10.0.0.5/24'] },
      },
    }]);
  });
});
