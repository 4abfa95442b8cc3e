/** Where users reach guests of a borrowed node: said by the configuration, or the node's address on the way to the service. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { AgentRequest } from '../../../src/control/protocol.ts';
import { guestAddress } from '../../../src/pilot/program/guest-address.ts';
import { Agent } from '../../control/agent/program.ts';
import { makeImage, opId, specOf } from '../../control/agent/rig.ts';
import { hasPart } from '../../parts.ts';
import { testContext as ctx } from '../memory/fake-xl.ts';
import { SLOT } from './pilot.ts';
import { node, reserved, usePilots } from './rig.ts';

usePilots();

const loopback = { bindAddress: '127.0.0.1', reachHost: '127.0.0.1' };
const open = (reachHost: string): object => ({ bindAddress: '0.0.0.0', reachHost });
const external = Object.values(networkInterfaces()).flatMap((i) => i ?? []).find((i) => i.family === 'IPv4' && !i.internal)?.address;

it('that the configuration says counts, whatever the way to the service', async () => {
  expect(await guestAddress('198.51.100.7', new URL('http://127.0.0.1:41999'), ctx)).toEqual(open('198.51.100.7'));
  expect(await guestAddress('localhost', new URL('http://198.51.100.1'), ctx)).toEqual(loopback);
  await expect(guestAddress('no-such-name.invalid', null, ctx)).rejects.toMatchObject({ exit: 3, message: expect.stringContaining('no-such-name.invalid has no IPv4 address') as string });
});

it('of a service on the node, of none, or of one whose name has no address: from the node only', async () => {
  for (const service of [new URL('http://127.0.0.1:41999'), null, new URL('https://no-such-name.invalid')]) expect(await guestAddress(null, service, ctx)).toEqual(loopback);
});

it.skipIf(external === undefined)('of a service elsewhere: the node’s own address on the way there', async () => {
  expect(await guestAddress(null, new URL(`http://${external ?? ''}:41999`), ctx)).toEqual(open(external ?? ''));
});

it.skipIf(!hasPart('qemu'))('is what users are told of a VM, and its port is open there', async () => {
  const pilot = await reserved({ config: { other: { driver: 'qemu', guestaddress: '127.0.0.9' } } });
  const agent = new Agent(node.program, ['control', '--state', node.agentDir()]);
  await agent.open();
  const nic = { network: 'public', kind: 'user', bridge: null, mac: 'a2:aa:bb:00:00:01', ip: '10.0.2.15', prefix: 24, gateway: '10.0.2.2', dns: [], hostname: 'i-1' } as const;
  const request: AgentRequest = { op: 'start', id: opId(), lease: 'i-1', generation: 1, deadlineMs: 30_000, vm: { ...specOf(makeImage(node.root)), nics: [nic] } };
  const done = await agent.ask(request) as { result?: { vm?: { reach?: { host: string; sshPort: number; forwarded: boolean } | null } } };
  const reach = done.result?.vm?.reach;
  expect(reach, JSON.stringify(done)).toMatchObject({ host: '127.0.0.9', forwarded: true });
  await new Promise<void>((resolve, reject) => {
    const socket = connect(reach?.sshPort ?? 0, '127.0.0.9', () => { socket.destroy(); resolve(); });
    socket.once('error', reject);
  });
  pilot.signal('SIGTERM');
  expect(await pilot.ended).toBe(5);
});

it('in a dry run is looked at', async () => {
  const good = node.reserve({ args: ['--evaluate'], config: { other: { guestaddress: '198.51.100.7' } } });
  expect(await good.ended).toBe(0);
  expect(good.output).toContain('ok     ports of this node that lead to guests are reached at 198.51.100.7');
  const bad = node.reserve({ args: ['--evaluate'], config: { other: { guestaddress: '%h.no-such-name.invalid' } } });
  expect(await bad.ended).toBe(3);
  expect(bad.output).toContain('node7.no-such-name.invalid has no IPv4 address');
});

const canMount = hasPart('root') && spawnSync('unshare', ['-m', 'true']).status === 0;

it.skipIf(!canMount)('that is loopback by the node’s own /etc/hosts, though it is said by name, is refused', () => {
  const hosts = join(node.root, 'hosts');
  writeFileSync(hosts, '127.0.0.1 localhost\n127.0.1.1 node7.example.org node7\n');
  const config = node.config({ other: { guestaddress: '%h.example.org' } });
  const looked = spawnSync('unshare', [
    '-m', 'sh', '-ec', 'mount --bind "$0" /etc/hosts; exec "$@"', hosts, process.execPath, node.program,
    '--reserveslot', '-m', '64', '-d', '600', '-g', '20', '-i', SLOT, '-p', config, '-s', '-v', '--evaluate',
  ], { encoding: 'utf8', timeout: 60_000 });
  const why = '[other] guestaddress: node7.example.org is 127.0.1.1 on this node, where users elsewhere do not get; name an address, or mend /etc/hosts here';
  expect([looked.status, looked.stdout.split('\n').filter((line) => line.startsWith('WRONG'))]).toEqual([3, [`WRONG  ${why}`]]);
});
