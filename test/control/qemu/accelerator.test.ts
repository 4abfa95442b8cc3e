import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { realClock } from '../../../src/control/agent/clock.ts';
import { cachedChoice, chooseAccelerator, kvmLimit, measureWith } from '../../../src/control/agent/drivers/qemu/accelerator.ts';
import type { Choice, Measure } from '../../../src/control/agent/drivers/qemu/accelerator.ts';
import { findPrograms } from '../../../src/control/agent/drivers/qemu/programs.ts';
import { AgentFault } from '../../../src/control/agent/fault.ts';
import { silentLog } from '../../../src/control/agent/log.ts';
import { hasPart } from '../../parts.ts';
import { temporaryDir } from './fixture.ts';

const taking = (tcg: number | null, kvm: number): Measure & { limits: number[] } => {
  const limits: number[] = [];
  return Object.assign((accelerator: string, limit: number) => {
    limits.push(limit);
    return Promise.resolve(accelerator === 'tcg' ? tcg : kvm > limit ? null : kvm);
  }, { limits });
};

describe('choice of accelerator', () => {
  it('takes KVM only when it is faster, and gives it little time to show', async () => {
    expect((await chooseAccelerator(true, taking(150, 60))).accelerator).toBe('kvm');
    expect((await chooseAccelerator(true, taking(150, 400))).accelerator).toBe('tcg');
    const bad = taking(150, 14_000);
    expect(await chooseAccelerator(true, bad)).toEqual({ accelerator: 'tcg', tcgMs: 150, kvmMs: null });
    expect(bad.limits[1]).toBe(kvmLimit(150));
  });

  it('does not try a KVM that cannot be opened, and does with KVM alone when TCG fails', async () => {
    const without = taking(150, 1);
    expect((await chooseAccelerator(false, without)).accelerator).toBe('tcg');
    expect(without.limits.length).toBe(1);
    expect((await chooseAccelerator(true, taking(null, 60))).accelerator).toBe('kvm');
    await expect(chooseAccelerator(false, taking(null, 60))).rejects.toThrow(AgentFault);
  });

  it('is made once per key, and again when the file cannot be read', async () => {
    const file = join(await temporaryDir(), 'accelerator.json');
    let made = 0;
    const choose = (): Promise<Choice> => Promise.resolve({ accelerator: 'kvm', tcgMs: 2, kvmMs: ++made });
    const ask = (key: string): Promise<Choice> => cachedChoice({ file, draft: join(dirname(file), 'draft'), key, log: silentLog }, choose);
    await ask('boot-1 7.2');
    expect((await ask('boot-1 7.2')).accelerator).toBe('kvm');
    expect(made).toBe(1);
    await ask('boot-2 7.2');
    expect(made).toBe(2);
    await writeFile(file, '{"key":');
    await ask('boot-2 7.2');
    expect(made).toBe(3);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ key: 'boot-2 7.2', kvmMs: 3 });
  });

  it.skipIf(!hasPart('qemu'))('boots its sector under TCG, and ends one that takes too long', async () => {
    const measure = measureWith(findPrograms({}).qemu, realClock, await temporaryDir());
    expect(await measure('tcg', 20_000)).toBeGreaterThan(0);
    expect(await measure('tcg', 1)).toBeNull();
  });
});
