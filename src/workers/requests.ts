/** Intents as requests to agents. */
import { MAX_GENERATION, type AgentRequest, type VmSpec } from '../control/protocol.ts';
import type { IntentKind } from '../lease/states.ts';
import { mayGoAbove } from '../manager/transitions.ts';
import type { Config } from '../platform/config.ts';
import type { IntentRow } from '../store/intents.ts';

const OPERATION: Readonly<Partial<Record<IntentKind, 'remove' | 'reboot' | 'pause' | 'resume' | 'save' | 'copy' | 'shutdown' | 'serialize'>>> = {
  remove: 'remove', reboot: 'reboot', pause: 'pause', resume: 'resume', save: 'save', copy: 'copy', shutdown: 'shutdown', serialize: 'serialize',
};

export function agentRequest(row: IntentRow, config: Config['control'], imagePath: (file: string) => string, now: number): AgentRequest {
  const base = {
    id: row.id, lease: row.lease_id, generation: generationOf(row), ...(row.request_id === null ? {} : { requestId: row.request_id }),
  };
  // An agent knows itself whether the VM boots or goes on with the memory that it keeps.
  if (row.kind === 'unserialize') return { ...base, op: 'start', deadlineMs: config.start_deadline_ms, vm: vmSpec(row, imagePath) };
  if (row.kind === 'start') return { ...base, op: row.target === 'Propagated' ? 'propagate' : 'start', deadlineMs: config.start_deadline_ms, vm: vmSpec(row, imagePath) };
  const op = OPERATION[row.kind];
  if (op === undefined) throw new Error(`no agent operation serves intents of kind ${row.kind}`);
  const left = graceLeft(row, now);
  const notice = op === 'remove' && left === null && row.preempt_ends_at !== null ? row.preempt_ends_at - now : 0;
  // The guest has all of its notice; then it is ended within the time that ending takes.
  if (notice > 0) return { ...base, op, deadlineMs: notice + config.operation_deadline_ms, graceMs: notice, notice: displaced(now + notice) };
  const deadlineMs = op === 'save' && left !== null ? Math.max(1, left) : timeFor(row, config);
  const given = row.hard ? { graceMs: 0 } : grace(op, left ?? (op === 'save' || op === 'shutdown' ? deadlineMs : null));
  const told = row.preempt_ends_at !== null && (op === 'remove' || op === 'save') && (given.graceMs ?? 0) > 0 ? { notice: displaced(now + (given.graceMs ?? 0)) } : {};
  return { ...base, op, deadlineMs, ...given, ...told };
}

/** Nothing comes after a removal: where doubling was not enough, it is said with the highest generation that there is. The row keeps its own. */
const generationOf = (row: IntentRow): number => (row.kind === 'remove' && !mayGoAbove(row.generation) ? MAX_GENERATION : row.generation);

const LONG: ReadonlySet<IntentKind> = new Set(['start', 'unserialize', 'copy', 'serialize', 'save']);

/** ms that a node has for what an intent wants: images, disks and memory take long, unless the batch system is about to take the node. */
export function timeFor({ kind, grace_ends_at: graceEndsAt }: Pick<IntentRow, 'kind' | 'grace_ends_at'>, config: Config['control']): number {
  return LONG.has(kind) && !(kind === 'save' && graceEndsAt !== null) ? config.start_deadline_ms : config.operation_deadline_ms;
}

/** A line for people whose end a program can read: it is what EC2's metadata service answers as `spot/instance-action`. */
const displaced = (at: number): string =>
  `Others need the room of this spot instance. {"action": "terminate", "time": "${new Date(at).toISOString().replace(/\.\d+/, '')}"}`;

/** Of what the batch system leaves, so much is the guest’s to power down: less than a pilot waits for the service’s word. */
const GUESTS_SHARE = 0.4;
/** The rest of that is for making the disk one file and fetching it. */
const SAVED_GUESTS_SHARE = 0.15;

/** A shutdown is for the guest's sake: all but what ending a guest takes that does not obey. */
const SHUT_DOWN_GUESTS_SHARE = 0.7;

/** ms; null = the node is not being taken away */
const graceLeft = (row: IntentRow, now: number): number | null => (row.grace_ends_at === null ? null : row.grace_ends_at - now);

const SHARE: Readonly<Partial<Record<string, number>>> = { remove: GUESTS_SHARE, save: SAVED_GUESTS_SHARE, shutdown: SHUT_DOWN_GUESTS_SHARE };

function grace(op: string, left: number | null): { graceMs?: number } {
  const share = SHARE[op];
  if (share === undefined || left === null) return {};
  const graceMs = Math.floor(left * share);
  return graceMs > 0 ? { graceMs } : {};
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
      publicKeys: row.public_key === null ? [] : row.public_key.split('\n'),
      ...(row.user_data === null ? {} : { userData: row.user_data.toString('base64') }),
    },
  };
}
