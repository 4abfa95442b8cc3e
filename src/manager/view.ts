/** Rows of the lease table as doors see them. */
import { DEFAULT_GROUP_NAME, defaultGroupId } from '../network/mirror.ts';
import type { Queryable, Statement } from '../store/db.ts';
import type { LeaseRow, LeasesJson } from '../store/leases.ts';
import type { LeaseView } from './types.ts';

/** Answers of one of the statements that list leases. */
export async function readLeases(q: Queryable, which: Statement<LeasesJson>, values: readonly unknown[]): Promise<LeaseRow[]> {
  return (await q.query(which, values))[0]?.leases ?? [];
}

export function leaseView(r: Omit<LeaseRow, 'seq'>): LeaseView {
  return {
    id: r.id,
    groupId: r.group_id,
    accountId: r.account_id,
    accountName: r.account_name,
    ownerId: r.owner_id,
    launchIndex: r.launch_index,
    state: r.state,
    generation: r.generation,
    imageId: r.image_id,
    imageName: r.image_name,
    type: r.type,
    memoryMb: r.memory_mb,
    cores: r.cores,
    diskMb: r.disk_mb,
    zone: r.zone,
    node: r.node,
    keyName: r.key_name,
    clientToken: r.client_token,
    nics: r.nics,
    securityGroups: r.security_groups ?? [{ id: defaultGroupId(r.owner_id), name: DEFAULT_GROUP_NAME }],
    reach: r.reach,
    createdAt: r.created_at,
    endsAt: r.ends_at,
    endedAt: r.ended_at,
    runningAt: r.running_at,
    reasonCode: r.reason_code,
    reason: r.reason,
    tags: r.tags ?? {},
    phases: { ...r.slot_phases, ...r.phases },
    slot: r.slot_id,
    waiting: r.state !== 'Pending' ? null : {
      jobId: r.job_id, position: r.queue_position, reason: r.queue_reason ?? (r.job_id === null ? 'not submitted yet' : null),
      state: r.native_state, expectedStart: r.expected_start,
    },
    graceEndsAt: r.grace_ends_at,
    spotRequestId: r.spot_request_id,
  };
}
