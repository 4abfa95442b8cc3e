/** A refusal or failure that goes back to the service with its code. */
import type { AgentError, AgentErrorCode } from '../protocol.ts';

export class AgentFault extends Error {
  override readonly name = 'AgentFault';
  constructor(readonly code: AgentErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
  }
}

export function asAgentError(e: unknown): AgentError {
  if (e instanceof AgentFault) return { code: e.code, message: e.message };
  const code = (e as NodeJS.ErrnoException | undefined)?.code;
  const message = e instanceof Error ? e.message : String(e);
  return { code: code === 'ENOSPC' || code === 'EDQUOT' ? 'DiskFull' : 'Internal', message };
}
