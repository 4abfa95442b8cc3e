/** Reads request bodies into memory, within a bound for each and one for all together. */
import type { IncomingMessage } from 'node:http';
import { Fault } from '../../lease/faults.ts';

/** The client is gone; nobody waits for an answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

export interface BodyReader {
  /** @throws Fault RequestTooLarge, Busy; ClientGone */
  read(request: IncomingMessage): Promise<Buffer>;
  /** True when the request's own header says that its body is too large. */
  exceeds(request: IncomingMessage): boolean;
  tooLarge(): Fault;
}

/** Too large a body is read on and thrown away up to here, so that a client that only reads after writing gets its answer. */
const DISCARD_BYTES = 16 * 1024 * 1024;
/** Bodies of all requests together. */
const MAX_TOTAL_BYTES = 64 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);

export function createBodyReader(maxBytes: number): BodyReader {
  let held = 0;
  const tooLarge = (): Fault => new Fault('RequestTooLarge', `The request body exceeds ${maxBytes} bytes.`);

  return {
    exceeds: (request) => Number(request.headers['content-length'] ?? 0) > maxBytes,
    tooLarge,
    async read(request) {
      const length = request.headers['content-length'];
      if (length === '0' || (length === undefined && request.headers['transfer-encoding'] === undefined)) return EMPTY;
      if (Number(length) > DISCARD_BYTES) throw tooLarge();
      const chunks: Buffer[] = [];
      let received = 0;
      let kept = 0;
      let refused: Fault | undefined;
      const drop = (why: Fault): void => {
        refused ??= why;
        chunks.length = 0;
        held -= kept;
        kept = 0;
      };
      try {
        await new Promise<void>((resolve, reject) => {
          request.on('data', (chunk: Buffer) => {
            received += chunk.length;
            if (received > DISCARD_BYTES) return reject(tooLarge());
            if (refused !== undefined) return;
            if (received > maxBytes) return drop(tooLarge());
            if (held + chunk.length > MAX_TOTAL_BYTES) return drop(new Fault('Busy', 'Too many large requests are being read; try again shortly.'));
            held += chunk.length;
            kept += chunk.length;
            chunks.push(chunk);
          });
          const gone = (): void => { reject(new ClientGone()); };
          request.once('end', () => { request.off('close', gone); resolve(); });
          request.once('error', gone);
          request.once('close', gone);
        });
        if (refused !== undefined) throw refused;
        return chunks.length === 1 ? chunks[0] as Buffer : Buffer.concat(chunks);
      } finally {
        held -= kept;
      }
    },
  };
}
