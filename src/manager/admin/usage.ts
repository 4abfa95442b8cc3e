/** The usage report. A live lease is shown with what it would be charged if it ended now. */
import { chargedMinutes, reservedMinutes } from '../../accounting/charge.ts';
import { Fault } from '../../lease/faults.ts';
import { allSubscriptions } from '../../store/subscriptions.ts';
import { allSinks } from '../../store/usage-sinks.ts';
import { usageReport, type UsageReportRow } from '../../store/usage-report.ts';
import type { AdminManager, UsageView } from '../admin-types.ts';
import type { AdminDeps } from './deps.ts';
import { requireKnown } from './known-user.ts';

const MOST_RECORDS = 100_000;

export function usageAdministration({ ctx, db, config }: Pick<AdminDeps, 'ctx' | 'db' | 'config'>): AdminManager['usage'] {
  const granularityS = config.accounting.charge_granularity;

  function view(row: UsageReportRow, now: number): UsageView {
    return {
      lease: row.lease_id, user: row.user_name, createdAt: row.created_at, endedAt: row.closed_at, intervals: row.intervals,
      reservedMinutes: reservedMinutes(row.reserved_s, row.closed_at === null, granularityS),
      chargedMinutes: row.charged_minutes ?? chargedMinutes(row.intervals, now, granularityS),
    };
  }

  return {
    sinks: async () => (await db.query(allSinks)).map((s) => ({
      name: s.name, active: s.active, backlog: s.backlog, next: s.next, delivered: s.delivered, dropped: s.dropped, attempts: s.attempts,
      nextAt: s.next_at, lastDeliveredAt: s.last_delivered_at, lastError: s.last_error, lastErrorAt: s.last_error_at,
    })),

    subscriptions: async () => (await db.query(allSubscriptions, [MOST_RECORDS])).map((s) => ({
      id: s.id, user: s.user, lease: s.lease_id, topic: s.topic, consumer: s.consumer.address, paused: s.paused, endsAt: s.ends_at,
      delivered: s.delivered, attempts: s.attempts, failingSince: s.failing_since, lastError: s.last_error,
    })),

    async list({ user, since }) {
      await requireKnown(db, user);
      const rows = await db.query(usageReport, [user ?? null, since === undefined ? null : new Date(since), MOST_RECORDS + 1]);
      if (rows.length > MOST_RECORDS) throw new Fault('TooMany', `The report would have more than ${MOST_RECORDS} records: narrow it by user or time`);
      const now = ctx.clock.now();
      return rows.map((row) => view(row, now));
    },
  };
}
