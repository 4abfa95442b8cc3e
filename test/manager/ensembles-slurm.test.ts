/** An ensemble of unlike groups as one job of a real Slurm: the adapter, the manager and the slot worker are real, the pilots only say which part they are of. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { commandEnvironment, localRunner } from '../../src/pilot/lrm/runner.ts';
import { realClock } from '../../src/platform/real.ts';
import { hasPart } from '../parts.ts';
import { lrmOf } from '../pilot/lrm/support.ts';
import { expectInvariants } from '../support/invariants.ts';
import { eventually, startTestSlurm, type TestSlurm } from '../support/slurm.ts';
import { openPilotSite, wordsLrm, type PilotSite } from './slots/site.ts';

describe.skipIf(!hasPart('slurm'))('on a real Slurm', () => {
  let slurm: TestSlurm;
  let p: PilotSite | undefined;
  beforeAll(async () => { slurm = await startTestSlurm({ nodes: 4, cpusPerNode: 4, killWaitS: 5 }); });
  afterEach(async () => { await p?.site.close(); });
  afterAll(() => slurm.stop());

  test('two groups of different size are one heterogeneous job; leases land on nodes of their part, and end with it', async () => {
    const said = join(slurm.root, 'said');
    const pilot = join(slurm.root, 'pilot');
    mkdirSync(said);
    writeFileSync(pilot, `#!/bin/sh\ntrap 'exit 5' TERM\necho "$*" > "${said}/$SLURMD_NODENAME"\nwhile :; do sleep 0.05; done\n`);
    chmodSync(pilot, 0o755);
    const lrm = lrmOf(localRunner(realClock, commandEnvironment({ ...process.env, ...slurm.env })), '');
    p = await openPilotSite({ pilot: { poll: 1, program: [pilot] } }, { ...wordsLrm(), ...lrm });
    const { site, slot, states, until, reserved } = p;
    const request = (count: number, cores: number, memoryMb: number) => ({ minCount: count, maxCount: count, image: 'guest', durationS: 600, resources: { memoryMb, cores } });
    await eventually('facts of the batch system', () => site.slots.facts() ?? undefined);
    const groups = await site.manager.leases.createEnsemble(site.alice, [request(2, 1, 64), request(1, 3, 128)]);

    const partOf = (): Map<string, number> => new Map(readdirSync(said).map((host) => [host, Number(/--part (\d+)/.exec(readFileSync(join(said, host), 'utf8'))?.[1] ?? NaN)]));
    await eventually('three pilots', () => ([...partOf().values()].filter((part) => !Number.isNaN(part)).length === 3 ? true : undefined));
    const parts = partOf();
    expect([...parts.values()].sort()).toEqual([0, 0, 1]);
    const asked = (await slurm.run(['squeue', '--noheader', '--Format=HetJobOffset:|,MinCpus:|,NumNodes:|'])).stdout.trim().split('\n').map((l) => l.split('|').slice(0, 3).map(Number));
    expect(asked.sort(), 'offset, cores, nodes of each part').toEqual([[0, 1, 2], [1, 3, 1]]);

    const { id } = await slot();
    for (const [host, part] of parts) await reserved(id, host, part);
    await until(states, (s) => s.every((state) => state === 'Running'));
    const leases = await site.manager.leases.describe(site.alice, {});
    const where = leases.map((l) => [l.groupId, parts.get(l.node?.split('.')[0] ?? '')]);
    expect(where).toEqual([[groups[0]?.id, 0], [groups[0]?.id, 0], [groups[1]?.id, 1]]);
    expect(new Set(leases.map((l) => l.node)).size).toBe(3);
    await expectInvariants(site, 'running');

    expect((await lrm.cancel((await slot()).job_id ?? '')).kind).toBe('cancelled');
    await eventually('the end of every lease', async () => ((await states()).every((s) => s === 'Terminated') ? true : undefined));
    await eventually('the end of the slot', async () => ((await slot()).state === 'Ended' ? true : undefined));
    await expectInvariants(site, 'ended');
  });
});
