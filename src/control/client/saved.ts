/** A saved disk, read from its node piece by piece with several on their way, and given out in order. */
import { PUT_CHUNK } from '../protocol.ts';
import { Fault } from '../../lease/faults.ts';
import type { Context } from '../../platform/context.ts';
import { newOperationId } from '../../platform/ids.ts';
import type { ControlClient } from '../types.ts';

const WINDOW = 4;
const PIECE_MS = 10_000;

/** @throws Fault as `ControlClient.ask`, or NodeRefused when the node says less than it promised, or promises more than `mostBytes` */
export async function* readSaved(ctx: Context, control: Pick<ControlClient, 'ask'>, nodeId: number, lease: string, mostBytes: number): AsyncGenerator<Buffer> {
  const piece = async (offset: number): Promise<{ bytes: Buffer; totalBytes: number }> => {
    const { result } = await control.ask(nodeId, { op: 'read-saved', id: newOperationId(ctx.random), lease, offset, maxBytes: PUT_CHUNK, deadlineMs: PIECE_MS });
    if (!('saved' in result)) throw cut(lease, 'it answered something else');
    return { bytes: Buffer.from(result.saved, 'base64'), totalBytes: result.totalBytes };
  };
  const first = await piece(0);
  const total = first.totalBytes;
  if (total > mostBytes) throw cut(lease, `it is said to have ${total} bytes; a disk as large as the lease’s has at most ${mostBytes}`);
  const coming: Array<ReturnType<typeof piece>> = [];
  let asked = PUT_CHUNK;
  const ask = (): void => {
    if (asked >= total) return;
    const next = piece(asked);
    // Looked at in its turn; until then a failure is nobody's.
    next.catch(() => undefined);
    coming.push(next);
    asked += PUT_CHUNK;
  };
  while (coming.length < WINDOW && asked < total) ask();
  let read = 0;
  for (let now: typeof first | undefined = first; now !== undefined; now = await coming.shift()) {
    if (now.totalBytes !== total || now.bytes.length !== Math.min(PUT_CHUNK, total - read)) throw cut(lease, `byte ${read} of ${total} did not come`);
    read += now.bytes.length;
    ask();
    yield now.bytes;
  }
}

const cut = (lease: string, why: string): Fault => new Fault('NodeRefused', `The disk of ${lease} could not be read.`, [why]);
