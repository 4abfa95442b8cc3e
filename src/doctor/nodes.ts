/** The service's own nodes, asked what they have: once, for all checks. */
import { hostname } from 'node:os';
import { createSlots } from '../control/client/slots.ts';
import type { ControlClient } from '../control/types.ts';
import { isFault } from '../lease/faults.ts';
import type { Context } from '../platform/context.ts';
import { errorText } from '../platform/errors.ts';
import { newOperationId } from '../platform/ids.ts';
import type { Db } from '../store/db.ts';
import { nodesWithLeases, type NodeAdminRow } from '../store/nodes-admin.ts';
import type { NodeLook } from './types.ts';

/** An agent may have to measure its accelerator first. */
const STATUS_MS = 25_000;
const AT_ONCE = 32;

/** Borrowed nodes have pilots that look after them. */
export async function ownNodes(db: Db): Promise<NodeAdminRow[]> {
  return (await db.query(nodesWithLeases, [null])).filter((n) => n.slot_id === null);
}

export function askNodes(ctx: Context, rows: readonly NodeAdminRow[], control: Pick<ControlClient, 'ask' | 'state'>): Promise<NodeLook[]> {
  const slots = createSlots(AT_ONCE);
  return Promise.all(rows.map((row) => slots.use(async (): Promise<NodeLook> => {
    const { access } = row;
    // Of several services on one database, each has nodes beside it.
    if (access.transport === 'local' && access.machine !== undefined && access.machine !== hostname()) return { row, answer: { missing: `it is on ${access.machine}`, elsewhere: access.machine } };
    try {
      const { result } = await control.ask(row.id, { op: 'status', id: newOperationId(ctx.random), deadlineMs: STATUS_MS });
      const { hello, clockOffsetMs } = control.state(row.id);
      if (!('status' in result)) return { row, answer: { missing: 'it answers something else than its status' } };
      return { row, answer: { status: result.status, version: hello?.version ?? 'unknown', clockOffsetMs } };
    } catch (e) {
      return { row, answer: { missing: isFault(e) ? e.reasons.join('; ').replace(`${row.name}: `, '') || e.message : errorText(e) } };
    }
  })));
}
