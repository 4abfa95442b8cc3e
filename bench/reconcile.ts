/**
 * One reconciliation with 10,000 slots in the table of which 1,000 have changed (target 300 ms, the batch system's own command
 * apart): with changes that are words only (position, reason), and with changes that end 1,000 waiting slots and their
 * leases. Real PostgreSQL and manager. Medians of 7.
 */
import type { JobView } from '../src/pilot/lrm/types.ts';
import { statement } from '../src/store/db.ts';
import { openTestSite, type TestSite } from '../test/support/site.ts';
import { median } from './support/service.ts';
import { wordsLrm } from '../test/manager/slots/site.ts';

const SLOTS = 10_000;
const CHANGED = 1_000;
const ROUNDS = 7;
const TARGET_MS = 300;

const slotId = (i: number): string => `sl-${i.toString(16).padStart(12, '0')}`;

/** Waiting slots of one node with one lease each; those of an earlier round that ended go. */
async function fill(site: TestSite): Promise<void> {
  for (const text of ['DELETE FROM event', 'DELETE FROM usage_record', 'DELETE FROM lease', 'DELETE FROM slot_node', 'DELETE FROM slot', 'DELETE FROM lease_group']) await site.db.query(statement(`bench-${text}`, text));
  await site.db.query(statement('bench-slots', `
    WITH n AS (SELECT i, 'sl-' || lpad(to_hex(i), 12, '0') AS id FROM generate_series(0, ${SLOTS - 1}) AS i),
         g AS (INSERT INTO lease_group (id, account_id, request_hash, created_at) SELECT 'r-' || lpad(to_hex(i), 17, '0'), $1, '', now() FROM n),
         s AS (INSERT INTO slot (id, account_id, state, lrm, job_id, parts, nodes, duration_s, pilot_s, walltime_s, grace_s, secret, nonce, next_at, created_at, submitted_at, native_state, queue_position, queue_reason)
               SELECT id, $1, 'Queued', 'slurm', (i + 1)::text, '[]', 1, 3600, 3660, 3750, 30, '', '', now(), now(), now() - interval '1 minute', 'PENDING', i, 'Priority' FROM n),
         m AS (INSERT INTO slot_node (slot_id, ordinal, part, state, memory_mb, cores) SELECT id, 0, 0, 'Waiting', 128, 1 FROM n RETURNING id, slot_id),
         l AS (INSERT INTO lease (id, group_id, account_id, launch_index, state, generation, zone, image_id, type, memory_mb, cores, disk_mb, nics, created_at, duration_s, slot_node_id)
               SELECT 'i-' || lpad(to_hex(n.i), 17, '0'), 'r-' || lpad(to_hex(n.i), 17, '0'), $1, 0, 'Pending', 0, 'batch', $2, 'm1.small', 128, 1, 0, '[]', now(), 3600, m.id
                 FROM n JOIN m ON m.slot_id = n.id)
    INSERT INTO usage_record (lease_id, account_id, created_at, reserved_s) SELECT 'i-' || lpad(to_hex(i), 17, '0'), $1, now(), 3600 FROM n`), [site.alice.accountId, site.imageId]);
  await site.db.query(statement('bench-analyze', 'ANALYZE'));
}

function jobs(change: (i: number) => Partial<JobView>): JobView[] {
  return Array.from({ length: SLOTS }, (_, i) => ({
    jobId: String(i + 1), slotId: slotId(i), state: 'queued', native: 'PENDING', reason: 'Priority', position: i, expectedStart: null, hosts: [], requeued: false,
    ...(i % (SLOTS / CHANGED) === 0 ? change(i) : {}),
  }));
}

const site = await openTestSite({ lrm: wordsLrm(), nodes: [], config: { scheduler: { mode: 'pilot' }, pilot: { poll: 3600, pending_timeout: '30d' } } });
try {
  const kinds: Readonly<Record<string, (i: number) => Partial<JobView>>> = {
    'other words': (i) => ({ position: i + 1, reason: 'Resources' }),
    'ended, with their leases': () => ({ state: 'cancelled', native: 'CANCELLED' }),
  };
  for (const [name, change] of Object.entries(kinds)) {
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      await fill(site);
      const listing = { kind: 'listing', jobs: jobs(change), ignored: [], tookMs: 0 } as const;
      const began = performance.now();
      const { changed } = await site.manager.work.slots.reconcile(listing, site.ctx.clock.now(), new Set());
      times.push(performance.now() - began);
      if (changed !== CHANGED) throw new Error(`${changed} slots were changed instead of ${CHANGED}`);
    }
    const ms = median(times);
    console.log(`reconcile: ${ms.toFixed(0)} ms median (target ${TARGET_MS} ms): ${SLOTS} slots, ${CHANGED} of them ${name}`);
    if (ms > TARGET_MS) process.exitCode = 1;
  }
} finally {
  await site.close();
}
