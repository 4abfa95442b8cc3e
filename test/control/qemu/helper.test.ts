import { chmod, link, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { VmPlace } from '../../../src/control/agent/driver.ts';
import { runHelper } from '../../../src/control/agent/helper/main.ts';
import { giveToVm, openErrors, openVmDirectory } from '../../../src/control/agent/helper/files.ts';
import { DEFAULT_UIDS, readPolicy } from '../../../src/control/agent/helper/policy.ts';
import { MAX_REQUEST, readHelperRequest } from '../../../src/control/agent/helper/request.ts';
import type { HelperAnswer } from '../../../src/control/agent/helper/request.ts';
import { claimUid, isMapped, uidOf } from '../../../src/control/agent/helper/uids.ts';
import { hasPart } from '../../parts.ts';
import { newLease, temporaryDir } from './fixture.ts';

const me = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

async function vm(): Promise<{ state: string; place: VmPlace; open: (place?: VmPlace, owner?: typeof me) => Promise<void> }> {
  const state = await temporaryDir();
  const lease = newLease();
  const place = { lease, dir: join(state, 'vms', lease) };
  await mkdir(dirname(place.dir), { mode: 0o700 });
  await mkdir(place.dir, { mode: 0o700 });
  const open = async (p = place, owner = me): Promise<void> => (await openVmDirectory(p, [state], owner, true)).handle.close();
  return { state, place, open };
}

describe('the helper\'s way into a VM directory', () => {
  it('is open to the agent\'s own directory below a state directory', async () => {
    await (await vm()).open();
  });

  it('is closed to paths that leave the state directory', async () => {
    const { state, place, open } = await vm();
    const outside = await vm();
    const refused = 'is no VM directory of';
    await expect(open(outside.place)).rejects.toThrow(refused);
    await expect(open({ lease: place.lease, dir: `${state}/vms/../vms/${place.lease}` })).rejects.toThrow(refused);
    await expect(open({ lease: place.lease, dir: `${state}/../${outside.state.split('/').at(-1)}/vms/${place.lease}` })).rejects.toThrow(refused);
    await expect(open({ lease: 'i-other', dir: place.dir })).rejects.toThrow(refused);
    await expect(open({ lease: place.lease, dir: `${state}x/${place.lease}` })).rejects.toThrow(refused);
  });

  it('follows no link, in the last place or before it', async () => {
    const { place, open } = await vm();
    const target = await vm();
    await rm(place.dir, { recursive: true });
    await symlink(target.place.dir, place.dir);
    await expect(open()).rejects.toThrow('ENOTDIR');
    await rm(dirname(place.dir), { recursive: true });
    await symlink(dirname(target.place.dir), dirname(place.dir));
    await expect(open()).rejects.toThrow('ENOTDIR');
  });

  it('is closed to others\' directories and to parents that others may enter', async () => {
    const { place, open } = await vm();
    await expect(open(place, { uid: me.uid + 1, gid: me.gid })).rejects.toThrow(`belongs to uid ${me.uid}, not to ${me.uid + 1}`);
    await chmod(dirname(place.dir), 0o755);
    await expect(open()).rejects.toThrow('must be closed to other users');
  });

  it('gives away no file that is another\'s, linked or no plain file', async () => {
    const { state, place } = await vm();
    const dir = await openVmDirectory(place, [state], me, true);
    try {
      const secret = join(state, 'secret');
      await writeFile(secret, 'secret', { mode: 0o600 });
      const disk = join(place.dir, 'disk.qcow2');
      const refused = 'is not a plain file of the agent\'s own';
      await link(secret, disk);
      await expect(giveToVm(dir, me.uid, me)).rejects.toThrow(refused);
      await rm(disk);
      await symlink(secret, disk);
      await expect(giveToVm(dir, me.uid, me)).rejects.toThrow('ELOOP');
      await rm(disk);
      await mkdir(disk);
      await expect(giveToVm(dir, me.uid, me)).rejects.toThrow(refused);
      await writeFile(join(place.dir, 'qemu.err'), '');
      await expect(openErrors(dir, [me.uid + 1])).rejects.toThrow(refused);
    } finally {
      await dir.handle.close();
    }
  });

  it('stays with the directory that was checked when its name is given to another', async () => {
    const { state, place } = await vm();
    const dir = await openVmDirectory(place, [state], me, true);
    try {
      await writeFile(join(place.dir, 'qemu.err'), 'old');
      await rename(place.dir, `${place.dir}.moved`);
      await symlink('/etc', place.dir);
      await (await openErrors(dir, [me.uid])).close();
    } finally {
      await dir.handle.close();
    }
  });
});

describe('the helper\'s requests', () => {
  const start = {
    op: 'vm-start', place: { lease: 'i-0', dir: '/s/vms/i-0' },
    launch: { memoryMb: 64, cores: 1, accelerator: 'tcg', baseFormat: 'raw', seed: false, forward: null, nics: [] },
  };
  const nic = { kind: 'bridge', bridge: 'br0', mac: '02:00:00:00:00:01', ip: '10.0.0.2', prefix: 24, gateway: null, dns: [] };
  const read = (change: object): unknown => readHelperRequest(JSON.stringify({ ...start, ...change }));
  const launch = (change: object): unknown => read({ launch: { ...start.launch, ...change } });

  it('are read whole', () => {
    expect(read({})).toEqual(start);
    expect(launch({ incoming: true })).toMatchObject({ launch: { incoming: true } });
    expect(launch({ nics: [nic], forward: { address: '127.0.0.1', port: 42_000 } })).toMatchObject({ launch: { nics: [nic] } });
    expect(readHelperRequest('{"op":"check"}')).toEqual({ op: 'check' });
  });

  it.each([
    ['a name that climbs', () => read({ place: { lease: '../x', dir: '/s' } })],
    ['a relative directory', () => read({ place: { lease: 'i-0', dir: 'vms/i-0' } })],
    ['a bridge that would be an option', () => launch({ nics: [{ ...nic, bridge: '-all' }] })],
    ['a bridge longer than interface names are', () => launch({ nics: [{ ...nic, bridge: 'b'.repeat(16) }] })],
    ['a MAC with an option behind it', () => launch({ nics: [{ ...nic, mac: '02:00:00:00:00:01,x=y' }] })],
    ['an address that is none', () => launch({ nics: [{ ...nic, ip: '10.0.0.2,hostfwd=tcp::22-:22' }] })],
    ['a port of the system', () => launch({ forward: { address: '0.0.0.0', port: 22 } })],
    ['an accelerator that is none', () => launch({ accelerator: 'tcg,thread=single' })],
    ['no memory', () => launch({ memoryMb: 0 })],
    ['another operation', () => readHelperRequest('{"op":"shell"}')],
    ['an end of process 1', () => readHelperRequest('{"op":"vm-end","place":{"lease":"i-0","dir":"/s/i-0"},"pid":1}')],
  ])('are refused with %s', (_, act) => expect(act).toThrow(expect.objectContaining({ code: 'BadRequest' }) as Error));

  it('are refused in a sentence whatever they are', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      try {
        expect(readHelperRequest(line).op).toBe('check');
      } catch (e) {
        expect(e).toMatchObject({ code: 'BadRequest' });
      }
    }));
  });
});

describe('the helper as a program', () => {
  async function ask(uid: number, env: Record<string, string>, input: string): Promise<HelperAnswer> {
    let line = '';
    const status = await runHelper({ uid, env, input: Readable.from([input]), write: (text) => { line += text; } });
    const answer = JSON.parse(line) as HelperAnswer;
    expect(status).toBe(answer.ok ? 0 : 1);
    return answer;
  }

  it('does nothing without root', async () => {
    expect(await ask(1000, {}, '{"op":"check"}')).toMatchObject({ ok: false, error: { code: 'NotPermitted' } });
  });

  it('takes its policy from nobody whom sudo names', async () => {
    const env = { SUDO_UID: '1000', SUDO_GID: '1000', NIMBUS_HELPER_POLICY: '/tmp/mine.json' };
    expect(await ask(0, env, '{"op":"check"}')).toMatchObject({ ok: false, error: { message: expect.stringContaining('/etc/nimbus/helper.json') as string } });
    expect(await ask(0, { SUDO_UID: 'root' }, '{"op":"check"}')).toMatchObject({ ok: false, error: { code: 'NotPermitted' } });
  });

  it.skipIf(!hasPart('root'))('refuses a policy that others can write, a wrong one, and a request without end', async () => {
    const file = join(await temporaryDir(), 'helper.json');
    await writeFile(file, '{"stateDirs":["/var/lib/nimbus-agent"],"bridge":["br0"]}', { mode: 0o644 });
    expect(() => readPolicy(file)).toThrow('unknown keys: bridge');
    await writeFile(file, '{"stateDirs":["/var/lib/nimbus-agent"]}');
    expect(readPolicy(file)).toMatchObject({ bridges: [], uids: DEFAULT_UIDS });
    const env = { NIMBUS_HELPER_POLICY: file };
    expect(await ask(0, env, 'x'.repeat(MAX_REQUEST + 1))).toMatchObject({ ok: false, error: { code: 'BadRequest' } });
    await chmod(file, 0o666);
    expect(() => readPolicy(file)).toThrow('must belong to root and be writable by nobody else');
  });
});

describe('uids of VMs', () => {
  it('are the same for a lease every time, and avoid those of siblings', async () => {
    const parent = await temporaryDir();
    const range = { first: me.uid, count: 1 };
    const lease = newLease();
    const claimed: number[] = [];
    const claim = (uid: number): Promise<void> => Promise.resolve(void claimed.push(uid));
    expect(await claimUid(lease, DEFAULT_UIDS, parent, claim)).toBe(uidOf(lease, 0, DEFAULT_UIDS));
    expect(await claimUid(lease, DEFAULT_UIDS, parent, claim)).toBe(claimed[0]);
    await mkdir(join(parent, 'i-sibling'));
    await writeFile(join(parent, 'i-sibling', 'disk.qcow2'), '');
    await expect(claimUid(lease, range, parent, claim)).rejects.toThrow('too small');
  });

  it('are taken only where they exist', () => {
    expect(isMapped({ first: 2000, count: 10 }, '         0          0 4294967295\n')).toBe(true);
    expect(isMapped({ first: 65_530, count: 10 }, '0 100000 65536\n')).toBe(false);
  });
});
