/** Intents as requests to agents. */
import type { AgentRequest, VmSpec } from '../control/protocol.ts';
import type { IntentKind } from '../lease/states.ts';
import type { Config } from '../platform/config.ts';
import type { IntentRow } from '../store/intents.ts';

const OPERATION: Readonly<Partial<Record<IntentKind, 'remove' | 'reboot' | 'pause' | 'resume'>>> = {
  remove: 'remove', reboot: 'reboot', pause: 'pause', resume: 'resume',
};

export function agentRequest(row: IntentRow, config: Config['control'], imagePath: (file: string) => string, now: number): AgentRequest {
  const base = {
    id: row.id, lease: row.lease_id, generation: row.generation, ...(row.request_id === null ? {} : { requestId: row.request_id }),
  };
  if (row.kind === 'start') return { ...base, op: 'start', deadlineMs: config.start_deadline_ms, vm: vmSpec(row, imagePath) };
  const op = OPERATION[row.kind];
  if (op === undefined) throw new Error(`no agent operation serves intents of kind ${row.kind}`);
  return { ...base, op, deadlineMs: config.operation_deadline_ms, ...grace(op, row, now) };
}

/** Of what the batch system leaves, so much is the guest’s to power down: less than a pilot waits for the service’s word. */
const GUESTS_SHARE = 0.4;

function grace(op: string, row: IntentRow, now: number): { graceMs?: number } {
  if (op !== 'remove' || row.grace_ends_at === null) return {};
  const left = Math.floor((row.grace_ends_at - now) * GUESTS_SHARE);
  return left > 0 ? { graceMs: left } : {};
}

function vmSpec(row: IntentRow, imagePath: (file: string) => string): VmSpec {
  return {
    memoryMb: row.memory_mb, cores: row.cores, diskMb: row.disk_mb, nics: row.nics,
    image: {
      id: row.image_id, sha256: row.image_sha256, format: row.image_format, sizeBytes: row.image_size,
      // A node elsewhere cannot read this machine's files: it asks for the bytes.
      ...(row.transport === 'local' ? { path: imagePath(row.image_file) } : {}),
    },
    seed: {
      instanceId: row.lease_id, hostname: row.nics[0]?.hostname ?? row.lease_id,
      publicKeys: row.public_key === null ? [] : [row.public_key],
      ...(row.user_data === null ? {} : { userData: row.user_data.toString('base64') }),
    },
  };
}
