/** What happened at the site, in an order that never grows behind one's back. Pages are bounded in what is shown and in what is looked at. */
import { eventsAfter, newestEvents, type SiteEventRow } from '../../store/events.ts';
import type { AdminManager, EventPage, SiteEvent } from '../admin-types.ts';
import type { EventView } from '../types.ts';
import type { AdminDeps } from './deps.ts';
import { requireKnown } from './known-user.ts';

/** Rows that one answer looks at: who wants one lease's of a large site gets empty pages on the way. */
const MOST_LOOKED_AT = 2_000;
const MOST_LOOKED_BACK = 50_000;
/** Before the first event. */
const BEGINNING = '0.0';

export function eventAdministration({ db }: Pick<AdminDeps, 'db'>): AdminManager['events'] {
  return {
    async after({ lease, user, node }, cursor) {
      await requireKnown(db, user);
      const [txid = '0', id = '0'] = cursor.split('.');
      const rows = await db.query(eventsAfter, [lease ?? null, user ?? null, node ?? null, txid, id, MOST_LOOKED_AT]);
      return page(rows, cursor, rows.length === MOST_LOOKED_AT);
    },
    async newest({ lease, user, node }, most) {
      await requireKnown(db, user);
      const rows = await db.query(newestEvents, [lease ?? null, user ?? null, node ?? null, MOST_LOOKED_BACK]);
      const wanted = rows.filter((r) => r.wanted).slice(0, most).reverse();
      return { events: wanted.map(siteEvent), cursor: rows[0] === undefined ? BEGINNING : cursorOf(rows[0]), more: false };
    },
  };
}

function page(rows: readonly SiteEventRow[], before: string, more: boolean): EventPage {
  const last = rows.at(-1);
  return { events: rows.filter((r) => r.wanted).map(siteEvent), cursor: last === undefined ? before : cursorOf(last), more };
}

const cursorOf = (r: SiteEventRow): string => `${r.txid}.${r.id}`;

function siteEvent(r: SiteEventRow): SiteEvent {
  return {
    cursor: cursorOf(r), seq: r.id, lease: r.lease_id, user: r.user, node: r.node, at: r.at, from: r.from_state, to: r.to_state,
    trigger: r.trigger as EventView['trigger'], who: r.who, why: r.why, requestId: r.request_id,
  };
}
