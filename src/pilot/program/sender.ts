/** What the notifier needs of a way to the service. */
import type { PilotMessage } from '../protocol.ts';

export interface Delivery {
  /** Ids of messages that the service has stored, or that this way has no form for. */
  readonly acknowledged: readonly string[];
  readonly release: boolean;
}

/** `retry`: it may work next time. `message`: this message never will. `final`: the service wants nothing of this pilot any more. */
export type Trouble = 'retry' | 'message' | 'final';

export class DeliveryError extends Error {
  override readonly name = 'DeliveryError';
  /** `ended` comes with `final`: the slot is over, which is no failure of the pilot. */
  constructor(readonly trouble: Trouble, message: string, readonly ended = false) {
    super(message);
  }
}

export interface Sender {
  /** Messages in one request. */
  readonly batch: number;
  /** @throws DeliveryError, or another Error for what may work next time */
  send(messages: readonly PilotMessage[], deadlineMs: number, signal: AbortSignal): Promise<Delivery>;
  close(): void;
}
