/** zeep, a client stack that knows the services from their WSDL only, goes through every operation. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasPart } from '../parts.ts';
import { openWsrfSite, type WsrfSite } from './door.ts';

const run = promisify(execFile);
/** What clients offer themselves. */
const OF_CLIENTS = 'NotificationConsumerService';

describe.skipIf(!hasPart('zeep'))('zeep', () => {
  let wsrf: WsrfSite;
  beforeAll(async () => {
    wsrf = await openWsrfSite({ config: { wsrf: { allowed_consumers: ['127.0.0.0/8'] } } });
  });
  afterAll(() => wsrf?.close());

  it('does everything', async () => {
    const { stdout } = await run('/usr/bin/python3', ['-W', 'ignore', join(import.meta.dirname, '..', 'clients', 'zeep', 'every_operation.py'), wsrf.base, 'http://127.0.0.1:9/'], { timeout: 110_000 });
    const { out, seen } = JSON.parse(stdout) as { out: Record<string, unknown>; seen: Record<string, string[]> };
    expect(out).toEqual({
      'epr': `${wsrf.base}WorkspaceService`, 'nic': '192.168.0.10', 'no-group': true, 'running': 'Running', 'query': true, 'unsubscribed': 'ResourceUnknownFault',
      'Pause': 'Paused', 'Reboot': 'Running', 'Normal': 'Propagated', 'Serialize': 'Propagated', 'termination': true, 'destroyed': 'ResourceUnknownFault',
      'times-before': false, 'report': 2, 'done-twice': 'WorkspaceEnsembleFault', 'current': 2, 'reserved': '1:00:00', 'bad-image': 'WorkspaceResourceRequestDeniedFault',
    });
    const all = [...wsrf.descriptions.services.values()].filter((s) => s.name !== OF_CLIENTS).map((s) => [s.name, [...s.operations.keys()].sort()]);
    expect(seen).toEqual(Object.fromEntries(all));
  });
});
