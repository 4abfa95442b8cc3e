/**
 * Images on their way to one agent: `put` chunks with a window of unacknowledged ones. Whoever asks for the same digest
 * meanwhile shares the one transfer. Protocol 2 only.
 */
import { PUT_CHUNK, PUT_WINDOW, type AgentError, type AgentLine, type ImageRef, type ServiceLine } from '../protocol.ts';
import type { Clock, Timer } from '../../platform/context.ts';
import { reasonText } from '../../platform/errors.ts';
import type { ImageSource } from '../types.ts';
import { createSlots, type Slots } from './slots.ts';

type PutAnswer = Extract<AgentLine, { put: unknown }>['put'];

export interface Uploads {
  /** null when the node holds the image; else why not. Never rejects. */
  send(image: ImageRef): Promise<AgentError | null>;
  /** True of an answer to a chunk that has none yet. */
  awaits(answer: PutAnswer): boolean;
  /** False when the agent answers a chunk that it was not sent. */
  onPut(answer: PutAnswer): boolean;
  /** The channel is over. */
  end(reason: string): void;
}

export interface UploadsOptions {
  readonly clock: Clock;
  readonly source: ImageSource;
  /** Bounds the transfers of all nodes together. */
  readonly slots: Slots;
  /** An agent that acknowledges nothing for so long has failed. */
  readonly stallMs: number;
  readonly write: (line: ServiceLine) => void;
}

const PAST_TRANSFERS = 256;
/** Of the transfers that run at a time, so many may go to one node: a slow one, or one that pretends to be, leaves the others room. */
const MOST_TO_ONE_NODE = 2;
/** A node that takes less than 1 MiB/s lets those go first who wait; so many slow ones do not keep the others waiting either. */
const TURN_MS = 5_000;
const TURN_CHUNKS = (5 * 2 ** 20) / PUT_CHUNK;

interface Transfer {
  sent: number;
  acknowledged: number;
  readonly over: Promise<AgentError | null>;
  readonly finish: (outcome: AgentError | null) => void;
  finished: boolean;
  wake: () => void;
  progress: () => void;
  /** While it waits for its turn nobody can blame the node. */
  waitsItsTurn: boolean;
}

export function createUploads(options: UploadsOptions): Uploads {
  const running = new Map<string, Transfer>();
  /** Chunks sent of transfers that are over, whose answers may still come. */
  const past = new Map<string, number>();
  const own = createSlots(MOST_TO_ONE_NODE);
  let endReason: string | undefined;

  const begin = (image: ImageRef): Transfer => {
    const transfer = newTransfer(options.clock, options.stallMs);
    running.set(image.sha256, transfer);
    void transfer.over.then(() => {
      running.delete(image.sha256);
      past.set(image.sha256, Math.max(past.get(image.sha256) ?? 0, transfer.sent));
      const [oldest] = past.keys();
      if (past.size > PAST_TRANSFERS && oldest !== undefined) past.delete(oldest);
    });
    void own.use(() => options.slots.use(() => pump(image, transfer, options))).catch((e: unknown) => {
      // The lease's user reads it: where the repository is, `nimbus doctor` says.
      transfer.finish({ code: 'ImageMissing', message: `The repository cannot give image ${image.id}: ${reasonText(e)}.` });
    });
    return transfer;
  };

  return {
    send(image) {
      if (endReason !== undefined) return Promise.resolve({ code: 'Internal', message: endReason });
      return (running.get(image.sha256) ?? begin(image)).over;
    },
    awaits({ sha256, seq }) {
      const transfer = running.get(sha256);
      return transfer !== undefined && seq >= transfer.acknowledged && seq < transfer.sent;
    },
    onPut(answer) {
      const transfer = running.get(answer.sha256);
      if (transfer === undefined) return answer.seq < (past.get(answer.sha256) ?? 0);
      if (answer.seq >= transfer.sent) return false;
      if (answer.seq >= transfer.acknowledged) {
        transfer.acknowledged = answer.seq + 1;
        transfer.progress();
      }
      if (!answer.ok) transfer.finish(answer.error ?? { code: 'Internal', message: 'The node refused the image without a reason.' });
      else if (answer.complete === true) transfer.finish(null);
      transfer.wake();
      return true;
    },
    end(reason) {
      endReason = reason;
      for (const transfer of running.values()) transfer.finish({ code: 'Internal', message: reason });
    },
  };
}

function newTransfer(clock: Clock, stallMs: number): Transfer {
  let resolve: (outcome: AgentError | null) => void = () => undefined;
  let stall: Timer | undefined;
  const transfer: Transfer = {
    sent: 0,
    acknowledged: 0,
    over: new Promise<AgentError | null>((done) => { resolve = done; }),
    finished: false,
    finish(outcome) {
      transfer.finished = true;
      stall?.cancel();
      resolve(outcome);
      transfer.wake();
    },
    wake: () => undefined,
    waitsItsTurn: false,
    progress() {
      stall?.cancel();
      if (transfer.finished || transfer.waitsItsTurn) return;
      stall = clock.after(stallMs, () => transfer.finish({ code: 'DeadlineExceeded', message: `No progress of the image for ${stallMs} ms.` }));
    },
  };
  return transfer;
}

async function pump(image: ImageRef, transfer: Transfer, { source, write, slots, clock }: UploadsOptions): Promise<void> {
  if (transfer.finished) return;
  transfer.progress();
  const chunks = inChunks(source(image), image.sizeBytes);
  const turns = createTurns(transfer, slots, clock);
  try {
    for (;;) {
      await turns.until(() => transfer.sent - transfer.acknowledged < PUT_WINDOW);
      const next = await Promise.race([chunks.next(), transfer.over]);
      if (next === null || !('value' in next) || next.done === true || transfer.finished) break;
      const { data, last } = next.value;
      const seq = transfer.sent;
      transfer.sent += 1;
      write({ put: { sha256: image.sha256, seq, data: data.toString('base64'), total: image.sizeBytes, last } });
    }
    await turns.until(() => false);
  } finally {
    turns.end();
    // A source that hangs in a read would hang here too; its own deadline ends it.
    void chunks.return(undefined).catch(() => undefined);
  }
}

interface Turns {
  /** Resolves when it is so, or the transfer is over. */
  until(so: () => boolean): Promise<void>;
  end(): void;
}

function createTurns(transfer: Transfer, slots: Slots, clock: Clock): Turns {
  let taken = 0;
  let slow = false;
  let timer: Timer;
  const next = (): void => {
    slow = transfer.acknowledged - taken < TURN_CHUNKS;
    taken = transfer.acknowledged;
    timer = clock.after(TURN_MS, next);
    if (slow) transfer.wake();
  };
  timer = clock.after(TURN_MS, next);
  return {
    async until(so) {
      while (!transfer.finished) {
        if (slow) {
          slow = false;
          if (slots.wanted) await letOthersGo(transfer, slots);
        } else if (so()) return;
        else await new Promise<void>((resolve) => { transfer.wake = resolve; });
      }
    },
    end: () => timer.cancel(),
  };
}

async function letOthersGo(transfer: Transfer, slots: Slots): Promise<void> {
  transfer.waitsItsTurn = true;
  transfer.progress();
  await slots.pass();
  transfer.waitsItsTurn = false;
  transfer.progress();
}

/** Pieces of PUT_CHUNK bytes, of exactly `total` bytes together. */
async function* inChunks(source: AsyncIterable<Buffer>, total: number): AsyncGenerator<{ data: Buffer; last: boolean }, void> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let given = 0;
  for await (const piece of source) {
    held.push(piece);
    heldBytes += piece.length;
    if (given + heldBytes > total) throw new Error(`it has more than the recorded ${total} bytes`);
    if (heldBytes < PUT_CHUNK) continue;
    const all = Buffer.concat(held);
    let from = 0;
    for (; all.length - from >= PUT_CHUNK; from += PUT_CHUNK) {
      given += PUT_CHUNK;
      yield { data: all.subarray(from, from + PUT_CHUNK), last: given === total };
    }
    held = [all.subarray(from)];
    heldBytes = all.length - from;
  }
  if (given + heldBytes < total) throw new Error(`it has ${given + heldBytes} of the recorded ${total} bytes`);
  if (heldBytes > 0 || total === 0) yield { data: Buffer.concat(held), last: true };
}
