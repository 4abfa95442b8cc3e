/** Refusals as SOAP carries them: a plain fault, or one with a detail that derives from WS-BaseFaults' BaseFaultType. */
import type { Clark } from '../names.ts';

/** `Server.generalException` is what grid containers answer with every fault of a service. */
export type FaultCodeName = 'Client' | 'Server' | 'Server.generalException' | 'MustUnderstand' | 'VersionMismatch';

/** A refusal that needs no element of its own: the message could not be understood or is not for this service. */
export class SoapFault extends Error {
  override readonly name = 'SoapFault';
  constructor(readonly faultcode: FaultCodeName, message: string, options?: { cause?: unknown }) {
    super(message, options);
  }
}

export interface FaultCause {
  /** Absent where the original has none. */
  readonly description?: string;
  readonly causes?: readonly FaultCause[];
}

export interface BaseFaultOptions {
  readonly causes?: readonly FaultCause[];
  /** Class name of the original's fault, which stands beside the detail's element; some clients read it. */
  readonly exceptionName?: string;
  readonly cause?: unknown;
}

/** A refusal whose detail is an element of the schema; time and originator are filled in by the dispatcher. */
export class BaseFault extends Error {
  override readonly name = 'BaseFault';
  readonly causes: readonly FaultCause[];
  readonly exceptionName: string | undefined;
  /** `description` may be empty: then the detail has none. */
  constructor(readonly element: Clark, readonly description: string, options: BaseFaultOptions = {}) {
    super(description, options.cause === undefined ? undefined : { cause: options.cause });
    this.causes = options.causes ?? [];
    this.exceptionName = options.exceptionName;
  }
}
