/** `nimbus processes` on a terminal of 80 columns. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildCli } from '../../src/cli/program.ts';
import type { ProcessView } from '../../src/manager/processes.ts';
import { openFakeSite, type FakeSite } from '../support/admin-fakes.ts';

let site: FakeSite;
beforeEach(async () => { site = await openFakeSite(); });
afterEach(() => site.close());

async function nimbus(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const ran = { code: -1, out: '', err: '' };
  const notHere = (): Promise<never> => Promise.reject(new Error('not here'));
  const cli = buildCli({
    io: { out: (t) => { ran.out += t; }, err: (t) => { ran.err += t; }, width: 80, watched: false, ask: () => Promise.resolve(null) },
    env: { NIMBUS_DATA: site.dataDir }, serve: notHere, withoutService: {} as never,
  });
  ran.code = await cli.run(['node', 'nimbus', ...argv]);
  return ran;
}

const service = (id: number, over: Partial<ProcessView>): ProcessView => ({
  id, self: id === 1, state: 'up', host: `adm${id}`, pid: 26_614, dataDir: '/var/lib/nimbus', version: '0.1.0', ec2: `https://ec2-${id}.grid.example.org:8444`, pilots: null,
  startedAt: 0, endedAt: null, silentMs: 20, operatingKey: null, clockOffsetMs: 0, intents: 0, nodes: 12, duties: [], ...over,
});

test('addresses and data directories are whole', async () => {
  site.on('processes.list', () => [service(1, { duties: ['batch-system'], clockOffsetMs: 2500 }), service(2, { state: 'lost', endedAt: Date.UTC(2026, 10, 22, 18, 24), ec2: null })]);
  expect(await nimbus('processes')).toEqual({
    code: 0, err: "the clock of process 1 on adm1 is 2.5 s off the database's\n",
    out: `ID  STATE     HEARD              VERSION  HOST    PID  NODES  WORK  DUTIES
 1  up, this  now                0.1.0    adm1  26614     12     0  batch-system
 2  lost      2026-11-22 18:24Z  0.1.0    adm2  26614     12     0  -

ID  EC2                                  DATA
 1  https://ec2-1.grid.example.org:8444  /var/lib/nimbus
 2  -                                    /var/lib/nimbus
`,
  });
});

test('--json is one list', async () => {
  site.on('processes.list', () => [service(1, {})]);
  const { out } = await nimbus('processes', '--json');
  expect(JSON.parse(out)).toEqual([expect.objectContaining({ id: 1, ec2: 'https://ec2-1.grid.example.org:8444' })]);
});
