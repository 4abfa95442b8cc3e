/** The libvirt mechanism against virsh and its test driver, which forgets at the end of each connection what it was told. */
import { describe, expect, it } from 'vitest';
import { createLibvirt } from '../../../src/pilot/program/memory/libvirt.ts';
import { hasPart } from '../../parts.ts';
import { settingsIn, testContext, within } from './fake-xl.ts';

const mechanism = (given: { uri?: string; domain?: string } = {}): ReturnType<typeof createLibvirt> => {
  const settings = settingsIn('/nowhere');
  return createLibvirt({ ...settings, libvirt: { virsh: 'virsh', uri: 'test:///default', domain: 'test', ...given }, become: [] }, testContext);
};

describe.skipIf(!hasPart('virsh'))('a host with libvirt', () => {
  it('reads what the designated domain and the host have', async () => {
    expect(await mechanism().read(within(20_000))).toEqual({ hostMb: 2048, freeMb: 3 });
  });

  it('does not believe a setmem that has no effect', async () => {
    await expect(mechanism().reduce({ mb: 512, beforeMb: 2048, afterMb: 1536 }, within(1500))).rejects.toThrow('domain test was not brought down to 1536 MB');
    expect(await mechanism().restore({ mb: 512, beforeMb: 2048, afterMb: 1536 }, within(20_000))).toBe(2048);
  });

  it('lists guests without the designated domain, and destroys one', async () => {
    expect(await mechanism().guests(within(20_000))).toEqual([]);
    const other = mechanism({ domain: 'Domain-0' });
    const guests = await other.guests(within(20_000));
    expect(guests).toEqual([{ id: '1', name: 'test', memoryMb: 2048 }]);
    await other.destroy(guests[0] as (typeof guests)[number], within(20_000));
    await expect(other.destroy({ id: '99', name: 'gone', memoryMb: 1 }, within(20_000))).rejects.toThrow('99');
    await expect(other.destroy({ id: 'test', name: 'test', memoryMb: 1 }, within(20_000))).rejects.toThrow('no guest\'s id');
  });

  it('says what is wrong with the configuration', async () => {
    expect((await mechanism().check()).filter((f) => !f.ok)).toEqual([]);
    const wrong = (await mechanism({ domain: 'Domain-0' }).check()).filter((f) => !f.ok);
    expect(wrong).toHaveLength(1);
    expect(wrong[0]?.what).toContain('domain Domain-0 at test:///default cannot be read');
  });
});

describe('a host without virsh', () => {
  it('is told to install it', async () => {
    const settings = settingsIn('/nowhere');
    const absent = createLibvirt({ ...settings, libvirt: { ...settings.libvirt, virsh: '/no/virsh' }, become: [] }, testContext);
    expect((await absent.check()).filter((f) => !f.ok).map((f) => f.what)).toEqual(['/no/virsh cannot be run']);
    await expect(absent.read(within(20_000))).rejects.toMatchObject({ name: 'PilotError', exit: 4 });
  });
});
