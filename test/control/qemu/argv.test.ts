import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { qemuArguments } from '../../../src/control/agent/drivers/qemu/argv.ts';
import { tapName } from '../../../src/control/agent/drivers/qemu/launch.ts';
import type { Launch } from '../../../src/control/agent/drivers/qemu/launch.ts';
import { userNetwork } from '../../../src/control/agent/drivers/qemu/usernet.ts';

const base: Launch = {
  memoryMb: 128, cores: 1, accelerator: 'tcg', baseFormat: 'raw', seed: true, forward: { address: '127.0.0.1', port: 42_000 },
  nics: [{ kind: 'user', bridge: null, mac: 'a2:aa:bb:00:00:01', ip: '10.0.0.9', prefix: 24, gateway: '10.0.0.1', dns: [] }],
};

/** The keys of a QEMU option list, read as QEMU does: a doubled comma is a comma of the value. */
const keys = (list: string): string[] => list.replaceAll(',,', '').split(',').map((item) => item.split('=')[0] ?? '');

const ip = fc.tuple(fc.integer({ min: 1, max: 223 }), fc.nat(255), fc.nat(255), fc.integer({ min: 1, max: 254 })).map((o) => o.join('.'));
const number = (text: string): number => text.split('.').reduce((n, o) => n * 256 + Number(o), 0);

describe('QEMU arguments', () => {
  it('no lease name adds an argument or an option', () => {
    const expected = qemuArguments('i-0', base);
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (lease) => {
      const argv = qemuArguments(lease, base);
      expect(argv.length).toBe(expected.length);
      argv.forEach((argument, i) => {
        const other = expected[i] ?? '';
        if (!other.startsWith('{')) expect(keys(argument)).toEqual(keys(other));
      });
    }));
  });

  it('names the lease and nothing of the node\'s file system', () => {
    const argv = qemuArguments('i-0123456789abcdef0', base);
    expect(argv).toContain('name=opt/nimbus/instance-id,string=i-0123456789abcdef0');
    expect(argv.some((a) => a.includes('"/') || a.includes('=/'))).toBe(false);
  });

  it('never lets a base image name further files', () => {
    const node = (format: 'raw' | 'qcow2'): unknown => {
      const argv = qemuArguments('i-0', { ...base, baseFormat: format });
      return (JSON.parse(argv[argv.indexOf('-blockdev') + 1] ?? '') as { backing: unknown }).backing;
    };
    expect(node('raw')).toMatchObject({ driver: 'raw', 'read-only': true });
    expect(node('qcow2')).toMatchObject({ driver: 'qcow2', backing: null, 'read-only': true });
  });

  it('has a port for notices, and memory of another file system only when that is configured', () => {
    const argv = qemuArguments('i-0', base);
    expect(argv).toContain('virtserialport,chardev=notices,name=org.nimbus-workspace.notice');
    expect(argv).not.toContain('-mem-path');
    const backed = qemuArguments('i-0', base, '/dev/hugepages');
    expect(backed.filter((a) => !argv.includes(a))).toEqual(['-mem-path', '/dev/hugepages', '-mem-prealloc']);
  });

  it('forwards to the first user network only, and taps have names that fit', () => {
    const nic = base.nics[0];
    if (nic === undefined) throw new Error('no NIC');
    const argv = qemuArguments('i-0', { ...base, nics: [{ ...nic, kind: 'bridge', bridge: 'br0' }, nic, nic] });
    const netdevs = argv.filter((_, i) => argv[i - 1] === '-netdev');
    expect(netdevs[0]).toBe(`tap,id=net0,ifname=${tapName('i-0', 0)},script=no,downscript=no`);
    expect(netdevs[1]).toContain('hostfwd=tcp:127.0.0.1:42000-10.0.0.9:22');
    expect(netdevs[2]).not.toContain('hostfwd');
    expect(tapName('i-0123456789abcdef0', 15).length).toBeLessThanOrEqual(15);
  });
});

describe('user-mode network', () => {
  it('gives the guest its address, and itself two others of the same network', () => {
    fc.assert(fc.property(ip, fc.integer({ min: 0, max: 32 }), fc.option(ip), fc.array(ip, { maxLength: 2 }), (guest, prefix, gateway, dns) => {
      const n = userNetwork({ ip: guest, prefix, gateway, dns });
      const [net = '', bits = ''] = n.net.split('/');
      const size = 2 ** (32 - Number(bits));
      const all = [n.guest, n.host, n.dns].map(number);
      expect(new Set(all).size).toBe(3);
      for (const address of all) {
        expect(address).toBeGreaterThan(number(net));
        expect(address).toBeLessThan(number(net) + size - 1);
      }
      expect(n.guest).toBe(guest);
      expect(number(net) % size).toBe(0);
    }));
  });

  it('plays the gateway and the name server that the guest was told, where they are in its network', () => {
    expect(userNetwork({ ip: '10.1.2.3', prefix: 24, gateway: '10.1.2.254', dns: ['10.1.2.53'] }))
      .toEqual({ net: '10.1.2.0/24', host: '10.1.2.254', dns: '10.1.2.53', guest: '10.1.2.3' });
    expect(userNetwork({ ip: '10.1.2.3', prefix: 24, gateway: null, dns: ['8.8.8.8'] }))
      .toEqual({ net: '10.1.2.0/24', host: '10.1.2.1', dns: '10.1.2.2', guest: '10.1.2.3' });
    expect(userNetwork({ ip: '10.1.2.3', prefix: 32, gateway: null, dns: [] }).net).toBe('10.1.2.0/28');
  });
});
