/** What the configuration allows at most, agents take: a larger value would fail on every node, and say so of each lease. */
import { expect, test } from 'vitest';
import { readServiceLine } from '../../src/control/agent/requests.ts';
import { ConfigError, parseConfig } from '../../src/platform/config.ts';

const config = (over: { memory?: number; cores?: number; disk?: number; start?: number; operation?: number; grace?: number } = {}) => parseConfig([
  '[types."m1.small"]', `memory_mb = ${over.memory ?? 2 ** 24}`, `cores = ${over.cores ?? 1024}`, `disk_mb = ${over.disk ?? 2 ** 30}`,
  '[control]', `start_deadline_ms = ${over.start ?? 86_400_000}`, `operation_deadline_ms = ${over.operation ?? 43_200_000}`, '[scheduler]', `preemption_grace = ${over.grace ?? 43_200}`,
].join('\n'), 'my.toml');

test('is taken', () => {
  const { types: { 'm1.small': type }, control, scheduler } = config();
  const of = { lease: 'i-0123456789abcdef0', generation: 1 };
  const image = { id: 'ami-00000001', sha256: 'a'.repeat(64), format: 'raw', sizeBytes: 512 };
  const vm = { memoryMb: type?.memory_mb, cores: type?.cores, diskMb: type?.disk_mb, image, nics: [], seed: { instanceId: 'i', hostname: 'h', publicKeys: [] } };
  const graceMs = scheduler.preemption_grace * 1000;
  expect(readServiceLine(JSON.stringify({ do: [
    { ...of, op: 'start', id: 'op-1', deadlineMs: control.start_deadline_ms, vm },
    { ...of, op: 'remove', id: 'op-2', deadlineMs: graceMs + control.operation_deadline_ms, graceMs },
  ] }))).toMatchObject({ requests: [{ id: 'op-1' }, { id: 'op-2' }], unreadable: [] });
});

test.each([
  [{ memory: 2 ** 24 + 1 }, 'types."m1.small".memory_mb: must be <=16777216'], [{ cores: 1025 }, 'types."m1.small".cores: must be <=1024'],
  [{ disk: 2 ** 30 + 1 }, 'types."m1.small".disk_mb: must be <=1073741824'], [{ start: 86_400_001 }, 'control.start_deadline_ms: must be <=86400000'],
  [{ operation: 43_200_001 }, 'control.operation_deadline_ms: must be <=43200000'], [{ grace: 43_201 }, 'scheduler.preemption_grace: must be at most "12h"'],
])('%j is more, and a mistake', (over, said) => {
  expect(() => config(over)).toThrow(new ConfigError('my.toml', [said]));
});
