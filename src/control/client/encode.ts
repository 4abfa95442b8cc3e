/** Puts requests into as few lines as the protocol's bounds allow. */
import { MAX_GROUP, MAX_LINE, type AgentRequest, type Protocol } from '../protocol.ts';

/** `{"do":[` + `]}` + line feed */
const FRAME_BYTES = 10;

export interface EncodedGroup {
  /** Lines with their line feeds, to be written in one go. */
  readonly bytes: string;
  /** Requests that fit into no line. */
  readonly tooLong: readonly AgentRequest[];
}

export function encodeGroup(requests: readonly AgentRequest[], protocol: Protocol): EncodedGroup {
  const tooLong: AgentRequest[] = [];
  const lines: string[][] = [];
  let open: string[] = [];
  let openBytes = FRAME_BYTES;
  for (const request of requests) {
    const json = JSON.stringify(request);
    const bytes = Buffer.byteLength(json) + 1;
    if (bytes + FRAME_BYTES > MAX_LINE) {
      tooLong.push(request);
      continue;
    }
    const full = open.length >= (protocol === 1 ? 1 : MAX_GROUP) || openBytes + bytes > MAX_LINE;
    if (open.length === 0 || full) {
      open = [];
      openBytes = FRAME_BYTES;
      lines.push(open);
    }
    open.push(json);
    openBytes += bytes;
  }
  const frame = (line: readonly string[]): string => (protocol === 1 ? `{"do":${line.join()}}\n` : `{"do":[${line.join()}]}\n`);
  return { bytes: lines.map(frame).join(''), tooLong };
}
